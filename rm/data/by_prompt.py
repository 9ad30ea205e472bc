"""The judgements of a table by prompt, some prompts at a time, so that memory does not grow with the table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from rm.data import arrays, store
from rm.data.preferences import PromptGroup, group

JUDGEMENTS_AT_ONCE = 50_000
"""Judgements that are in memory at once, about."""


def groups(table: store.TableVersion, folder: Path) -> Iterator[list[PromptGroup]]:
    """Merge the judgements of each prompt.

    Parameters
    ----------
    table : store.TableVersion
    folder : Path
        Gets a file for each part of the prompts, if the table is large.

    Yields
    ------
    list of PromptGroup
        A part of the prompts; all of them are in order of their ids, in parts of about `JUDGEMENTS_AT_ONCE`.
    """
    num_parts = math.ceil(table.num_judgements / JUDGEMENTS_AT_ONCE)
    if num_parts <= 1:
        yield group(store.judgements(table))
        return
    for path in _divided(table, folder, num_parts):
        batches = pq.ParquetFile(path).iter_batches() if path.exists() else ()
        yield group(judgement for batch in batches for judgement in store.judgements_of(batch))
        path.unlink(missing_ok=True)


def _divided(table: store.TableVersion, folder: Path, num_parts: int) -> list[Path]:
    """The judgements in files by the beginning of their prompt's id, in the order of ids."""
    paths = [folder / f"{part}.parquet" for part in range(num_parts)]
    files: dict[int, pq.ParquetWriter] = {}
    with ExitStack() as opened:
        for batch in store.batches(table):
            part_of = np.array([_part(judgement.prompt_id, num_parts) for judgement in store.judgements_of(batch)])
            for part in np.unique(part_of).tolist():
                if part not in files:
                    files[part] = opened.enter_context(pq.ParquetWriter(paths[part], batch.schema, compression="zstd"))
                files[part].write_batch(batch.filter(arrays.booleans(part_of == part)))
    return paths


def _part(prompt_id: str, num_parts: int) -> int:
    return int(prompt_id[:8], 16) * num_parts >> 32

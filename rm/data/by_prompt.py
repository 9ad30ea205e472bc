"""The judgements of a table by prompt, some prompts at a time, so that memory does not grow with the table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from rm.data import arrays, store
from rm.data.preferences import Judgement, PromptGroup, group, group_by_id, prompt_id

JUDGEMENTS_AT_ONCE = 20_000
"""Judgements that are in memory at once, about."""
_ID = "prompt_id"


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
        yield group_by_id(_identified(path)) if path.exists() else []
        path.unlink(missing_ok=True)


def _identified(path: Path) -> Iterator[tuple[str, Judgement]]:
    for batch in pq.ParquetFile(path).iter_batches():
        ids = batch.column(_ID).to_pylist()
        yield from zip(ids, store.judgements_of(batch.drop_columns(_ID)), strict=True)


def _divided(table: store.TableVersion, folder: Path, num_parts: int) -> list[Path]:
    """The judgements with their prompts' ids in files by the beginning of the id, in the order of ids."""
    paths = [folder / f"{part}.parquet" for part in range(num_parts)]
    files: dict[int, pq.ParquetWriter] = {}
    with ExitStack() as opened:
        for batch in store.batches(table):
            ids = [prompt_id(prompt) for prompt in store.prompts_of(batch)]
            identified = batch.append_column(_ID, arrays.texts(ids))
            part_of = np.array([_part(each, num_parts) for each in ids])
            for part in np.unique(part_of).tolist():
                if part not in files:
                    writer = pq.ParquetWriter(paths[part], identified.schema, compression="zstd")
                    files[part] = opened.enter_context(writer)
                files[part].write_batch(identified.filter(arrays.booleans(part_of == part)))
    return paths


def _part(identifier: str, num_parts: int) -> int:
    return int(identifier[:8], 16) * num_parts >> 32

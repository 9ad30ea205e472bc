"""The judgements of a table by prompt, some prompts at a time, so that memory does not grow with the table."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Set
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa

from rm.data import annotation_table, arrays
from rm.data.preferences import Judgement, PromptGroup, group, group_by_id, prompt_id

JUDGEMENTS_AT_ONCE = 20_000
"""Judgements that are in memory at once, about."""
_MOST_PARTS = 512
"""Files that are open at once; beyond ten million judgements, the parts become larger."""
_ID = "prompt_id"


def groups(
    table: annotation_table.TableVersion, folder: Path, excluded: Set[str] = frozenset()
) -> Iterator[list[PromptGroup]]:
    """Merge the judgements of each prompt.

    Parameters
    ----------
    table : annotation_table.TableVersion
    folder : Path
        Gets a file for each part of the prompts, if the table is large.
    excluded : set of str
        Ids of judgements that are left out.

    Yields
    ------
    list of PromptGroup
        A part of the prompts; all of them are in order of their ids, in parts of about `JUDGEMENTS_AT_ONCE`.
    """
    num_parts = min(_MOST_PARTS, math.ceil(table.num_judgements / JUDGEMENTS_AT_ONCE))
    if num_parts <= 1:
        yield group(annotation_table.judgements(table, excluded))
        return
    for path in _divided(table, folder, num_parts, excluded):
        yield group_by_id(_identified(path)) if path.exists() else []
        path.unlink(missing_ok=True)


def _identified(path: Path) -> Iterator[tuple[str, Judgement]]:
    with pa.ipc.open_file(pa.memory_map(str(path))) as file:
        for batch in map(file.get_batch, range(file.num_record_batches)):
            ids = batch.column(_ID).to_pylist()
            yield from zip(ids, annotation_table.judgements_of(batch.drop_columns(_ID)), strict=True)


def _divided(table: annotation_table.TableVersion, folder: Path, num_parts: int, excluded: Set[str]) -> list[Path]:
    """The judgements with their prompts' ids in files by the beginning of the id, in the order of ids."""
    paths = [folder / f"{part}.arrow" for part in range(num_parts)]
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    files: dict[int, pa.RecordBatchFileWriter] = {}
    with ExitStack() as opened:
        for some in _at_once(_with_ids(table, excluded)):
            for part, rows in _by_part(some, num_parts).items():
                if part not in files:
                    files[part] = opened.enter_context(pa.ipc.new_file(str(paths[part]), rows.schema, options=options))
                files[part].write_table(rows)
    return paths


def _with_ids(table: annotation_table.TableVersion, excluded: Set[str]) -> Iterator[pa.RecordBatch]:
    for batch in annotation_table.batches(table, excluded):
        ids = [prompt_id(prompt) for prompt in annotation_table.prompts_of(batch)]
        yield batch.append_column(_ID, arrays.texts(ids))


def _by_part(batches: list[pa.RecordBatch], num_parts: int) -> dict[int, pa.Table]:
    """The rows of each part, in their order; all are moved once, however many parts there are."""
    found: dict[int, list[pa.RecordBatch]] = defaultdict(list)
    for batch in batches:
        part_of = np.array([_part(each, num_parts) for each in batch.column(_ID).to_pylist()])
        rows = batch.take(arrays.integers(np.argsort(part_of, kind="stable").tolist()))
        start = 0
        for part, count in zip(*map(np.ndarray.tolist, np.unique(part_of, return_counts=True)), strict=True):
            found[part].append(rows.slice(start, count))
            start += count
    return {part: pa.Table.from_batches(slices).combine_chunks() for part, slices in found.items()}


def _at_once(batches: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Batches put together, since each part of what is in memory is written as a batch of its own."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(map(len, held)) >= JUDGEMENTS_AT_ONCE:
            yield held
            held = []
    if held:
        yield held


def _part(identifier: str, num_parts: int) -> int:
    return int(identifier[:8], 16) * num_parts >> 32

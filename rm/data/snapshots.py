"""Snapshots of the annotations: one row per prompt, split by prompt, immutable."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rm.data import annotation_table, by_prompt, id_lists, retractions
from rm.data.config import SnapshotConfig
from rm.data.manifests import DatasetManifest
from rm.data.preferences import SPLITS, PromptGroup, Split, split_of
from rm.data.prompt_groups import GROUP_SCHEMA, group_row
from rm.errors import DataError
from rm.parquet import write_parts


def snapshot(table: annotation_table.TableVersion, config: SnapshotConfig, folder: Path) -> DatasetManifest:
    """Merge the table's judgements into one row per prompt and split the prompts.

    Parameters
    ----------
    table : annotation_table.TableVersion
    config : SnapshotConfig
    folder : Path
        Gets ``dataset.parquet`` and the manifest.

    Returns
    -------
    DatasetManifest

    Raises
    ------
    DataError
        If a split would be empty (the validation split may be, if its share is 0), only some of the held-out pairs
        have a sampling probability, or `SnapshotConfig.exclude` names no judgement of the table.
    """
    counts = _Counts()
    excluded, num_excluded = _excluded(table, config)
    folder.mkdir(parents=True, exist_ok=True)
    with _without_collection(), TemporaryDirectory(dir=folder, prefix=".by-prompt-") as temporary:
        parts = _rows(by_prompt.groups(table, Path(temporary), excluded), counts, table, config)
        write_parts(folder / DatasetManifest.GROUPS_NAME, parts, GROUP_SCHEMA)
    if excluded:
        id_lists.write(folder / DatasetManifest.EXCLUDED_NAME, sorted(excluded))
    return DatasetManifest.seal(
        folder,
        inputs=(table,),
        config=config,
        num_rows=counts.num_prompts,
        table_version=table.version,
        num_judgements=table.num_judgements - num_excluded,
        num_excluded=num_excluded,
        num_retracted=table.num_retracted,
        retractions=table.retractions,
        sources=annotation_table.source_digests(table),
        num_pairs=counts.num_pairs,
    )


@contextmanager
def _without_collection() -> Iterator[None]:
    """Let no garbage be collected: references free all that is made here, which the collector would go through."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_excluded(dataset: DatasetManifest) -> frozenset[str]:
    """Ids of the judgements that a snapshot's recipe left out."""
    file = dataset.path / DatasetManifest.EXCLUDED_NAME
    return id_lists.read(file) if DatasetManifest.EXCLUDED_NAME in dataset.files else frozenset()


def num_unknown(table: annotation_table.TableVersion, dataset: DatasetManifest) -> int:
    """How many of the ids that a snapshot's recipe leaves out are of no judgement in its table, retracted or not."""
    excluded = read_excluded(dataset)
    return len(excluded.difference(retractions.retracted(table.path.parent, table.retractions))) - dataset.num_excluded


def _excluded(table: annotation_table.TableVersion, config: SnapshotConfig) -> tuple[frozenset[str], int]:
    """The ids that the recipe leaves out, and how many judgements that count have one."""
    if config.exclude is None:
        return frozenset(), 0
    ids = id_lists.read(config.exclude)
    count = sum(
        each in ids
        for batch in annotation_table.columns_of(table, ["judgement_id"])
        for each in batch.column(0).to_pylist()
    )
    if not count and ids.isdisjoint(retractions.retracted(table.path.parent, table.retractions)):
        raise DataError(
            f"{config.exclude}: expected judgements of {table.path}, which has none of the {len(ids)} in this file"
        )
    return ids, count


def _rows(
    parts: Iterator[list[PromptGroup]], counts: _Counts, table: annotation_table.TableVersion, config: SnapshotConfig
) -> Iterator[list[dict[str, Any]]]:
    """The rows of each part; after the last one the counts are checked, so that no file is left if they are wrong."""
    for groups in parts:
        yield [group_row(item, counts.add(item, config)) for item in groups]
    counts.check(table, config)


class _Counts:
    """How many prompts and pairs went into which split."""

    def __init__(self) -> None:
        self.num_prompts = 0
        self.num_pairs: dict[str, int] = dict.fromkeys(SPLITS, 0)
        self._num_sampled = 0
        """Held-out pairs with a sampling probability."""

    def add(self, item: PromptGroup, config: SnapshotConfig) -> Split:
        """Count a prompt, and return its split."""
        split = split_of(item.prompt_id, config.heldout_share, config.salt, config.validation_share)
        self.num_prompts += 1
        self.num_pairs[split] += len(item.comparisons)
        if split == "heldout":
            self._num_sampled += sum(pair.sampling_probability is not None for pair in item.comparisons)
        return split

    def check(self, table: annotation_table.TableVersion, config: SnapshotConfig) -> None:
        """Refuse a split without pairs, and here what the audit would refuse after hours of training."""
        shares = {"train": 1.0, "validation": config.validation_share, "heldout": config.heldout_share}
        if any(shares[split] and not self.num_pairs[split] for split in SPLITS):
            setting = "heldout_share or snapshot.validation_share" if config.validation_share else "heldout_share"
            raise DataError(
                f"{table.path}: the split of {self.num_prompts} prompts ({table.num_judgements} judgements, "
                f"{table.num_retracted} more are retracted) leaves {self.num_pairs['train']} training, "
                f"{self.num_pairs['validation']} validation and {self.num_pairs['heldout']} held-out pairs; more "
                f"annotations or another snapshot.{setting} are needed"
            )
        if 0 < self._num_sampled < self.num_pairs["heldout"]:
            raise DataError(
                f"{table.path}: sampling_probability: expected it of every held-out pair or of none, got it of "
                f"{self._num_sampled} of {self.num_pairs['heldout']}; a pair that was taken without choosing has 1"
            )

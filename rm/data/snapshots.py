"""Snapshots of the annotations: one row per prompt, split by prompt, immutable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rm.data import store
from rm.data.config import SnapshotConfig
from rm.data.manifests import DatasetManifest
from rm.data.preferences import SPLITS, PromptGroup, group, split_of
from rm.data.prompt_groups import GROUP_SCHEMA, group_row
from rm.errors import DataError
from rm.parquet import write_rows


def snapshot(table: store.TableVersion, config: SnapshotConfig, folder: Path) -> DatasetManifest:
    """Merge the table's judgements into one row per prompt and split the prompts.

    Parameters
    ----------
    table : store.TableVersion
    config : SnapshotConfig
    folder : Path
        Gets ``dataset.parquet`` and the manifest.

    Returns
    -------
    DatasetManifest

    Raises
    ------
    DataError
        If a split would be empty (the validation split may be, if its share is 0), or only some of the held-out pairs
        have a sampling probability.
    """
    groups = group(store.judgements(table))
    splits = [split_of(item.prompt_id, config.heldout_share, config.salt, config.validation_share) for item in groups]
    num_pairs: dict[str, int] = dict.fromkeys(SPLITS, 0)
    for item, split in zip(groups, splits, strict=True):
        num_pairs[split] += len(item.comparisons)
    shares = {"train": 1.0, "validation": config.validation_share, "heldout": config.heldout_share}
    if any(shares[split] and not num_pairs[split] for split in SPLITS):
        setting = "heldout_share or snapshot.validation_share" if config.validation_share else "heldout_share"
        raise DataError(
            f"{table.path}: the split of {len(groups)} prompts leaves {num_pairs['train']} training, "
            f"{num_pairs['validation']} validation and {num_pairs['heldout']} held-out pairs; more annotations or "
            f"another snapshot.{setting} are needed"
        )
    _check_probabilities(table, [item for item, split in zip(groups, splits, strict=True) if split == "heldout"])
    rows = [group_row(item, split) for item, split in zip(groups, splits, strict=True)]
    write_rows(folder / DatasetManifest.GROUPS_NAME, rows, GROUP_SCHEMA)
    return DatasetManifest.seal(
        folder,
        inputs=(table,),
        config=config,
        num_rows=len(groups),
        table_version=table.version,
        num_judgements=table.num_judgements,
        sources=store.source_digests(table),
        num_pairs=num_pairs,
    )


def _check_probabilities(table: store.TableVersion, heldout: Sequence[PromptGroup]) -> None:
    """Refuse here what the audit would refuse after hours of training."""
    known = [pair.sampling_probability is not None for item in heldout for pair in item.comparisons]
    if any(known) and not all(known):
        raise DataError(
            f"{table.path}: sampling_probability: expected it of every held-out pair or of none, got it of "
            f"{sum(known)} of {len(known)}; a pair that was taken without choosing has 1"
        )

"""Snapshots of the annotations: one row per prompt, split by prompt, immutable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rm.data import store
from rm.data.config import SnapshotConfig
from rm.data.manifests import DatasetManifest
from rm.data.preferences import SPLITS, Comparison, Message, PromptGroup, Split, group, split_of
from rm.errors import DataError
from rm.parquet import write_rows

GROUP_SCHEMA = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("split", pa.string()),
        ("domain", pa.string()),
        ("prompt", store.MESSAGES),
        ("responses", pa.list_(pa.string())),
        ("response_attributes", pa.list_(store.ATTRIBUTES)),
        (
            "comparisons",
            pa.list_(
                pa.struct(
                    [
                        ("first", pa.int32()),
                        ("second", pa.int32()),
                        ("preference", pa.float64()),
                        ("target_margin", pa.float64()),
                        ("weight", pa.float64()),
                        ("num_judgements", pa.int32()),
                    ]
                )
            ),
        ),
    ]
)


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
        If a split would be empty; the validation split may be empty if its share is 0.
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
    rows = [_group_row(item, split) for item, split in zip(groups, splits, strict=True)]
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


def _group_row(item: PromptGroup, split: str) -> dict[str, Any]:
    return {
        "prompt_id": item.prompt_id,
        "split": split,
        "domain": item.domain,
        "prompt": [message._asdict() for message in item.prompt],
        "responses": list(item.responses),
        "response_attributes": list(item.response_attributes),
        "comparisons": [
            {field: getattr(comparison, field) for field in comparison.__dataclass_fields__}
            for comparison in item.comparisons
        ],
    }


def read_groups(dataset: DatasetManifest, split: Split) -> list[PromptGroup]:
    """The prompts of one split with their responses and comparisons, in order of prompt id."""
    table = pq.read_table(dataset.path / DatasetManifest.GROUPS_NAME, filters=[("split", "=", split)])
    return [_prompt_group(row) for row in table.to_pylist(maps_as_pydicts="strict")]


def _prompt_group(row: dict[str, Any]) -> PromptGroup:
    return PromptGroup(
        prompt_id=row["prompt_id"],
        prompt=tuple(Message(turn["role"], turn["content"]) for turn in row["prompt"]),
        responses=tuple(row["responses"]),
        response_attributes=tuple(row["response_attributes"]),
        comparisons=tuple(Comparison(**pair) for pair in row["comparisons"]),
        domain=row["domain"],
    )

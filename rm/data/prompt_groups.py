"""The rows of a snapshot: one prompt with its responses and comparisons each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rm import parquet
from rm.data.columns import ATTRIBUTES, MESSAGES
from rm.data.manifests import DatasetManifest
from rm.data.preferences import Comparison, Message, PromptGroup, Split

GROUP_SCHEMA = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("split", pa.string()),
        ("domain", pa.string()),
        ("prompt", MESSAGES),
        ("responses", pa.list_(pa.string())),
        ("response_attributes", pa.list_(ATTRIBUTES)),
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
                        ("num_undecided", pa.int32()),
                        ("sampling_probability", pa.float64()),
                    ]
                )
            ),
        ),
    ]
)


def read_groups(dataset: DatasetManifest, split: Split) -> list[PromptGroup]:
    """The prompts of one split with their responses and comparisons, in order of prompt id."""
    return list(each_group(dataset, split))


def each_group(dataset: DatasetManifest, split: Split) -> Iterator[PromptGroup]:
    """The prompts of one split, one after another, so that memory does not grow with them."""
    for batch in batches(dataset, 1024):
        yield from (group for _, group in groups_of(batch.filter(pc.equal(batch.column("split"), split))))


def batches(dataset: DatasetManifest, num_rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The prompts of all splits, at most num_rows at a time, in order of prompt id, with some columns or all."""
    return parquet.batches(_file(dataset), num_rows, columns)


def groups_of(batch: pa.RecordBatch) -> list[tuple[Split, PromptGroup]]:
    """The prompts of a batch with their splits."""
    return [(row["split"], _prompt_group(row)) for row in batch.to_pylist(maps_as_pydicts="strict")]


def has_role(dataset: DatasetManifest, role: str) -> bool:
    """Whether a message of some prompt has this role."""
    prompts = batches(dataset, 4096, ["prompt"])
    roles = (pc.struct_field(pc.list_flatten(batch.column("prompt")), "role") for batch in prompts)
    return any(pc.any(pc.equal(found, role)).as_py() for found in roles)


def _file(dataset: DatasetManifest) -> pq.ParquetFile:
    return pq.ParquetFile(dataset.path / DatasetManifest.GROUPS_NAME)


def _prompt_group(row: dict[str, Any]) -> PromptGroup:
    return PromptGroup(
        prompt_id=row["prompt_id"],
        prompt=tuple(Message(turn["role"], turn["content"]) for turn in row["prompt"]),
        responses=tuple(row["responses"]),
        response_attributes=tuple(row["response_attributes"]),
        comparisons=tuple(Comparison(**pair) for pair in row["comparisons"]),
        domain=row["domain"],
    )


def group_row(item: PromptGroup, split: Split) -> dict[str, Any]:
    """A prompt with its responses and comparisons as `GROUP_SCHEMA` says."""
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

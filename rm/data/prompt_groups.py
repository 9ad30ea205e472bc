"""The rows of a snapshot: one prompt with its responses and comparisons each."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rm.data.manifests import DatasetManifest
from rm.data.preferences import Comparison, Message, PromptGroup, Split

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
ATTRIBUTES = pa.map_(pa.string(), pa.float64())

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
                        ("sampling_probability", pa.float64()),
                    ]
                )
            ),
        ),
    ]
)


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

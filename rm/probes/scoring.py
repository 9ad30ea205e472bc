"""Scoring edited responses together with the originals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from rm.data.preferences import prompt_text
from rm.probes.context import Parent, Prompt
from rm.probes.variants import Variant
from rm.score.rewards import ItemRewards

ScoreItems = Callable[[Sequence[tuple[Prompt, Sequence[str]]]], Sequence[ItemRewards]]
"""`rm.score.scorer.Scorer.score_items`, or a function like it."""

PROBES_SCHEMA = pa.schema(
    [
        ("probe", pa.string()),
        ("dose", pa.string()),
        ("arm", pa.string()),
        ("parent", pa.int32()),
        ("prompt_id", pa.string()),
        ("prompt", pa.string()),
        ("edited_prompt", pa.string()),
        ("response", pa.string()),
        ("edited", pa.string()),
        ("num_tokens", pa.int32()),
        ("reward_original", pa.float64()),
        ("reward_edited", pa.float64()),
    ]
)
"""One row per variant. ``edited_prompt`` is null if the prompt stays, ``edited`` is null if the edit does not apply."""

_FAR_SHARE, _FAR_CHARACTERS = 1.25, 200


def score(parents: Sequence[Parent], variants: Sequence[Variant], score_items: ScoreItems) -> pa.Table:
    """Rewards of the variants and of the originals that they are compared with.

    Parameters
    ----------
    parents : sequence of Parent
    variants : sequence of Variant
        Edits of these parents.
    score_items : callable
        `rm.score.scorer.Scorer.score_items`, or a function like it.

    Returns
    -------
    pa.Table
        With `PROBES_SCHEMA`, in the order of the variants; rewards are NaN if the edit does not apply or is too long
        for the model.

    Notes
    -----
    A parent and its edits are one item, so that their prompt is read once. A prompt that is too long is cut to the room
    that the longest response of the item leaves. In that case the parent's edits are scored again in smaller items, so
    that compared responses saw the same part of the prompt: edits that are much longer than the parent form a separate
    item, and a variant with another prompt is compared with the parent scored alone.
    """
    found = _scored(parents, dict(enumerate(variants)), score_items, _together)
    cut = {variants[index].parent for index, pair in found.items() if pair.prompt_is_cut}
    found |= _scored(
        parents, {index: each for index, each in enumerate(variants) if each.parent in cut}, score_items, _apart
    )
    rows = [
        _row(parents[variant.parent], variant) | found.get(index, _NOTHING).row()
        for index, variant in enumerate(variants)
    ]
    return pa.Table.from_pylist(rows, schema=PROBES_SCHEMA)


class _Pair(NamedTuple):
    """Rewards of an edit and of its original."""

    num_tokens: int | None
    reward_original: float
    reward_edited: float
    prompt_is_cut: bool

    def row(self) -> dict[str, Any]:
        return {
            "num_tokens": self.num_tokens,
            "reward_original": self.reward_original,
            "reward_edited": self.reward_edited,
        }


_NOTHING = _Pair(None, math.nan, math.nan, prompt_is_cut=False)


def _scored(
    parents: Sequence[Parent],
    variants: Mapping[int, Variant],
    score_items: ScoreItems,
    sharing_key: Callable[[Parent, Variant], tuple[Any, ...]],
) -> dict[int, _Pair]:
    """Index of each variant that applies to its rewards; variants with the same key share the score of their parent."""
    items: list[tuple[Prompt, list[str]]] = []
    base_items: dict[tuple[Any, ...], int] = {}  # by key, the item whose first response is the parent
    positions: dict[int, tuple[int, int, int]] = {}  # by variant: the parent's item, the edit's item and index in that
    for index, variant in variants.items():
        if variant.response is None:
            continue
        parent = parents[variant.parent]
        base = item = base_items.setdefault(sharing_key(parent, variant), len(items))
        if base == len(items):
            items.append((variant.base_prompt or parent.prompt, [parent.response]))
        if variant.prompt is not None:
            item = len(items)
            items.append((variant.prompt, []))
        positions[index] = base, item, len(items[item][1])
        items[item][1].append(variant.response)
    scored = score_items(items) if items else []
    return {
        index: _Pair(
            int(scored[item].num_tokens[response]),
            float(scored[base].rewards[0]),
            float(scored[item].rewards[response]),
            scored[base].prompt_is_cut,
        )
        for index, (base, item, response) in positions.items()
    }


def _together(_: Parent, variant: Variant) -> tuple[Any, ...]:
    """Key of the variants that are compared with the same score of their parent."""
    return variant.parent, variant.base_prompt


def _apart(parent: Parent, variant: Variant) -> tuple[Any, ...]:
    """The same key for parents whose prompts are cut."""
    if variant.prompt is not None:
        return variant.parent, "prompt", variant.base_prompt
    far = len(variant.response or "") > _FAR_SHARE * len(parent.response) + _FAR_CHARACTERS
    return variant.parent, "far" if far else "near"


def _row(parent: Parent, variant: Variant) -> dict[str, Any]:
    return {
        "probe": variant.probe,
        "dose": variant.dose,
        "arm": variant.arm,
        "parent": variant.parent,
        "prompt_id": parent.prompt_id,
        "prompt": prompt_text(variant.base_prompt or parent.prompt),
        "edited_prompt": None if variant.prompt is None else prompt_text(variant.prompt),
        "response": parent.response,
        "edited": variant.response,
    }

"""Scoring edited responses beside the originals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from rm.cases import Parent, Prompt
from rm.pairs import ItemRewards, shown_prompt
from rm.variants import Variant

ScoreItems = Callable[[Sequence[tuple[Prompt, Sequence[str]]]], Sequence[ItemRewards]]
"""`rm.scorer.Scorer.score_items`, or what does the same."""

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
"""One row a variant. ``edited_prompt`` is null if the prompt stays; ``edited`` is null if the edit does not apply."""

_FAR_SHARE, _FAR_CHARACTERS = 1.25, 200


def score(parents: Sequence[Parent], variants: Sequence[Variant], score_items: ScoreItems) -> pa.Table:
    """Rewards of the variants, each beside the reward of what it is compared with.

    Parameters
    ----------
    parents : sequence of Parent
    variants : sequence of Variant
        Of these parents.
    score_items : callable
        `rm.scorer.Scorer.score_items`, or what does the same.

    Returns
    -------
    pa.Table
        As `PROBES_SCHEMA` says, in the order of the variants; rewards are NaN where the edit does not apply or the
        model has no room.

    Notes
    -----
    A parent and its edits are one item, so that their prompt is read once. Two exceptions, because a model cuts a
    prompt to the room that the longest response of an item leaves: edits much longer than the parent are an item of
    their own, and a variant with another prompt is compared with the parent scored alone. In each the parent is scored
    again, so that every difference is between responses that saw as much of their prompts.
    """
    items: list[tuple[Prompt, list[str]]] = []
    base: dict[tuple[Any, ...], int] = {}  # item that begins with the parent, by what shares it
    original, edited = {}, {}  # item and place therein, by variant
    for place, variant in enumerate(variants):
        if variant.response is None:
            continue
        parent = parents[variant.parent]
        at = base.setdefault(_sharing(parent, variant), len(items))
        if at == len(items):
            items.append((variant.base_prompt or parent.prompt, [parent.response]))
        original[place] = at, 0
        if variant.prompt is not None:
            at = len(items)
            items.append((variant.prompt, []))
        edited[place] = at, len(items[at][1])
        items[at][1].append(variant.response)
    scored = score_items(items)
    rows = [
        _row(parents[variant.parent], variant)
        | {
            "num_tokens": int(scored[edited[place][0]].num_tokens[edited[place][1]]) if place in edited else None,
            "reward_original": _reward(scored, original.get(place)),
            "reward_edited": _reward(scored, edited.get(place)),
        }
        for place, variant in enumerate(variants)
    ]
    return pa.Table.from_pylist(rows, schema=PROBES_SCHEMA)


def _sharing(parent: Parent, variant: Variant) -> tuple[Any, ...]:
    """What variants have in common that are compared with the same score of their parent."""
    if variant.prompt is not None:
        return variant.parent, "prompt", variant.base_prompt
    far = len(variant.response or "") > _FAR_SHARE * len(parent.response) + _FAR_CHARACTERS
    return variant.parent, "far" if far else "near"


def _reward(scored: Sequence[ItemRewards], at: tuple[int, int] | None) -> float:
    return float("nan") if at is None else float(scored[at[0]].rewards[at[1]])


def _row(parent: Parent, variant: Variant) -> dict[str, Any]:
    return {
        "probe": variant.probe,
        "dose": variant.dose,
        "arm": variant.arm,
        "parent": variant.parent,
        "prompt_id": parent.prompt_id,
        "prompt": shown_prompt(variant.base_prompt or parent.prompt),
        "edited_prompt": None if variant.prompt is None else shown_prompt(variant.prompt),
        "response": parent.response,
        "edited": variant.response,
    }

"""Scoring edited responses beside the originals."""

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
"""`rm.score.scorer.Scorer.score_items`, or what does the same."""

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
        `rm.score.scorer.Scorer.score_items`, or what does the same.

    Returns
    -------
    pa.Table
        As `PROBES_SCHEMA` says, in the order of the variants; rewards are NaN where the edit does not apply or the
        model has no room.

    Notes
    -----
    A parent and its edits are one item, so that their prompt is read once. A model cuts a prompt to the room that the
    longest response of an item leaves. Where it does, the parent's edits are scored once more in smaller items, so that
    every difference is between responses that saw as much of their prompts: edits much longer than the parent are an
    item of their own, and a variant with another prompt is compared with the parent scored alone.
    """
    found = _scored(parents, dict(enumerate(variants)), score_items, _together)
    cut = {variants[place].parent for place, pair in found.items() if pair.prompt_is_cut}
    found |= _scored(
        parents, {place: each for place, each in enumerate(variants) if each.parent in cut}, score_items, _apart
    )
    rows = [
        _row(parents[variant.parent], variant) | found.get(place, _NOTHING).row()
        for place, variant in enumerate(variants)
    ]
    return pa.Table.from_pylist(rows, schema=PROBES_SCHEMA)


class _Pair(NamedTuple):
    """What the model says of an edit and of its original."""

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
    sharing: Callable[[Parent, Variant], tuple[Any, ...]],
) -> dict[int, _Pair]:
    """By number, the variants that apply; the originals are scored once for all that share them."""
    items: list[tuple[Prompt, list[str]]] = []
    base: dict[tuple[Any, ...], int] = {}  # item that begins with the parent, by what shares it
    places: dict[int, tuple[int, int, int]] = {}  # item of the original, item of the edit and place therein, by variant
    for number, variant in variants.items():
        if variant.response is None:
            continue
        parent = parents[variant.parent]
        own = at = base.setdefault(sharing(parent, variant), len(items))
        if own == len(items):
            items.append((variant.base_prompt or parent.prompt, [parent.response]))
        if variant.prompt is not None:
            at = len(items)
            items.append((variant.prompt, []))
        places[number] = own, at, len(items[at][1])
        items[at][1].append(variant.response)
    scored = score_items(items) if items else []
    return {
        number: _Pair(
            int(scored[at].num_tokens[place]),
            float(scored[own].rewards[0]),
            float(scored[at].rewards[place]),
            scored[own].prompt_is_cut,
        )
        for number, (own, at, place) in places.items()
    }


def _together(_: Parent, variant: Variant) -> tuple[Any, ...]:
    """What variants have in common that are compared with the same score of their parent."""
    return variant.parent, variant.base_prompt


def _apart(parent: Parent, variant: Variant) -> tuple[Any, ...]:
    """The same where prompts are cut."""
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

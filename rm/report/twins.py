"""What was measured on twins, as JSON and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from rm.audit.twin_results import TwinResult
from rm.report import text
from rm.report.audit_json import without_nan
from rm.report.markdown import escaped, table

SCHEMA_VERSION = 1
_TITLES = {
    "twin_change": "change of the reward, standard deviations",
    "twin_lower_share": "share of twins with the lower reward",
    "twin_accuracy_change": "change of accuracy",
    "twin_flips": "share of pairs that change their order",
    "twin_lost": "right to wrong",
    "twin_gained": "wrong to right",
    "twin_confidence_change": "change of the mean confidence in the chosen response",
}
_LONGEST = 300


def values(results: Sequence[TwinResult], source: str, digest: str) -> dict[str, Any]:
    """All that was measured, as values of strict JSON: an undefined number is None.

    Parameters
    ----------
    results : sequence of TwinResult
        One per kind.
    source, digest : str
        Name of the file with the twins, and its SHA-256.
    """
    measured: list[Any] = [without_nan(result.model_dump()) for result in results]
    return {"schema_version": SCHEMA_VERSION, "source": source, "digest": digest, "kinds": measured}


def rows(result: TwinResult) -> Iterator[tuple[str, str, str]]:
    """What was measured, its value, and its 95 % interval, in words; for one kind."""
    found = result.by_kind
    for kind, title in _TITLES.items():
        if kind in found:
            yield title, text.number(found[kind].estimate), text.interval(found[kind])
        if kind == "twin_change":
            yield "p of a mean change of 0", text.tiny(result.p_value), ""


def worst_first(results: Sequence[TwinResult]) -> list[TwinResult]:
    """The kinds of twins, the one first that costs the most accuracy, or without pairs changes the reward most."""
    return sorted(results, key=_harm, reverse=True)


def _harm(result: TwinResult) -> float:
    found = result.by_kind
    harm = -found["twin_accuracy_change"].estimate if result.num_pairs else abs(found["twin_change"].estimate)
    return harm if math.isfinite(harm) else -math.inf


def markdown(results: Sequence[TwinResult], source: str) -> str:
    """A table for each kind, with the largest changes if the texts are known.

    Parameters
    ----------
    results : sequence of TwinResult
    source : str
        Name of the file with the twins.
    """
    parts = ["## Rewards of twins", f"{escaped(source)}. Intervals of 95 %, by resampling prompts."]
    for result in results:
        parts += [f"### {escaped(result.kind or 'Twins')}", escaped(amounts(result))]
        parts.append(table(("measured", "estimate", "95 % interval"), rows(result)))
        if result.examples:
            parts += ["The largest changes of the reward:", _examples(result)]
    return "\n\n".join(parts) + "\n"


def amounts(result: TwinResult) -> str:
    """How many twins there are, and how often the model is right on both sides."""
    about = f"{text.things(result.num_twins, 'twin')} of {text.things(result.num_prompts, 'prompt')}"
    if result.accuracy is None or result.accuracy_twin is None:
        return f"{about}, without pairs."
    sides = f"{text.number(result.accuracy)} on the originals, {text.number(result.accuracy_twin)} on the twins"
    return f"{about}, {text.things(result.num_pairs, 'pair')}; accuracy {sides}."


def _examples(result: TwinResult) -> str:
    header = ("reward", "its twin's", "original", "twin")
    return table(
        header,
        (
            (text.number(one.reward), text.number(one.reward_twin), _short(one.original), _short(one.twin))
            for one in result.examples
        ),
    )


def _short(words: str) -> str:
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."

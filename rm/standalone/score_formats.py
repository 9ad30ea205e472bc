"""The formats of rows in files of scores.

pairs
    ``chosen, rejected, reward_chosen, reward_rejected`` and usually ``prompt``: texts or messages, as
    `rm.data.formats.catalog` reads them. Optional: ``num_tokens_chosen, num_tokens_rejected``, features of your own
    as ``feature_NAME_chosen, feature_NAME_rejected``, and ``sampling_probability`` in (0, 1] where pairs were chosen
    with unequal ones.
responses
    One response per row: ``prompt, response, reward, label``. A higher label means a better response, such as 1 for
    right and 0 for wrong. Optional: ``num_tokens``.
judgebench
    The files that JudgeBench publishes: ``question, response_A, response_B, label, judgments``.

The first two may also have ``prompt_id`` (without it the text identifies a prompt), ``domain`` or ``subset``, and
``source``. Other columns, such as ``id``, are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from rm.benchmarks import judgebench
from rm.data.formats.catalog import read_judgement
from rm.data.formats.chosen_rejected import RESPONSES, SYSTEM, prompt_of, reasoning_columns
from rm.data.formats.row import RowError, as_number, name_of, number, text, unicode
from rm.data.formats.tools import COLUMN, tools_of
from rm.data.preferences import Message, conversation_problem

DOMAIN, SOURCE = ("domain", "subset"), ("source",)
"""Columns that say where a prompt comes from; the first that a row has counts."""
_NUMBERS = tuple(f"{name}{side}" for name in ("reward", "num_tokens") for side in ("", "_chosen", "_rejected"))
_NUMBERS += ("label", "sampling_probability")
_FEATURE = re.compile(r"feature_(.+)_(chosen|rejected)")


class ScoredText(NamedTuple):
    """A response with its rewards, length and label from one row."""

    text: str
    rewards: tuple[float, ...]
    """One reward, or several if the row has the response scored several times."""
    num_tokens: int | None
    label: float | None
    """None if the row is a pair."""
    features: Mapping[str, float] = MappingProxyType({})
    """Features that came with the rewards, by name."""


class ScoredRow(NamedTuple):
    """One response, or a pair with the chosen response first."""

    prompt: tuple[Message, ...]
    prompt_id: str | None
    responses: tuple[ScoredText, ...]
    domain: str | None
    source: str | None
    sampling_probability: float | None = None
    """Of a pair; None: not known."""


class ScoreFormat(NamedTuple):
    """A format of rows; a row that has all its keys has this format."""

    name: str
    keys: frozenset[str]
    read: Callable[[dict[str, Any]], ScoredRow]


def format_of(row: Any) -> ScoreFormat:
    """The format of a row.

    Raises
    ------
    RowError
        If the row has none of the known formats.
    """
    if not isinstance(row, dict):
        raise RowError(f"expected an object with named fields, got {type(row).__name__}")
    found = next((each for each in FORMATS if each.keys <= row.keys()), None)
    if found is None:
        known = "; ".join(f"{each.name}: {', '.join(sorted(each.keys))}" for each in FORMATS)
        raise RowError(f"no known format has the fields {sorted(map(str, row))}. Known: {known}")
    return found


def _pair(row: dict[str, Any]) -> ScoredRow:
    row = typed(row)
    judgement = read_judgement(_texts(row))
    sides = {"chosen": judgement.first, "rejected": judgement.second}
    responses = tuple(scored_side(row, name, side, number(row, f"reward_{name}")) for name, side in sides.items())
    return ScoredRow(
        judgement.prompt, name_of(row, ("prompt_id",)), responses, *_origin(row), judgement.sampling_probability
    )


def scored_side(row: dict[str, Any], side: str, response: str, reward: float) -> ScoredText:
    """A side of a pair, ``chosen`` or ``rejected``, with the length and the features that the row has of it.

    Raises
    ------
    RowError
        If one of them is not a number.
    """
    return ScoredText(response, (reward,), _num_tokens(row, f"num_tokens_{side}"), None, _features(row, side))


def _features(row: dict[str, Any], side: str) -> dict[str, float]:
    """Both sides must have each feature; which features a file has is checked over all its rows."""
    names = dict.fromkeys(unicode(found[1], "feature") for key in row if (found := _FEATURE.fullmatch(str(key))))
    return {name: number(row, f"feature_{name}_{side}") for name in names}


_PARTS = ("prompt", "input", "history", *SYSTEM, COLUMN, "chosen", "rejected", *reasoning_columns(*RESPONSES))


def _texts(row: dict[str, Any]) -> dict[str, Any]:
    """Prompt, both responses and sampling probability.

    Without a prompt: all columns that may hold one, so that it is found or refused.
    """
    known = {"sampling_probability": row.get("sampling_probability")}
    if row.get("prompt") is not None:
        return known | {key: row[key] for key in _PARTS if key in row}
    return known | {key: value for key, value in row.items() if isinstance(as_number(value), str | list | dict)}


def _response(row: dict[str, Any]) -> ScoredRow:
    row = typed(row)
    prompt, response = (*tools_of(row), *prompt_of(row, "prompt", "input")), text(row, "response")
    if reason := conversation_problem(prompt, {"response": response}):
        raise RowError(reason)
    if row.get("sampling_probability") is not None:
        raise RowError("sampling_probability: expected rows of pairs, since a pair has it; got a row of one response")
    label = round(number(row, "label"), 12)  # 0.1 + 0.2 is 0.30000000000000004, and must equal 0.3
    scored = ScoredText(response, (number(row, "reward"),), _num_tokens(row, "num_tokens"), label)
    return ScoredRow(prompt, name_of(row, ("prompt_id",)), (scored,), *_origin(row))


def _judgebench(row: dict[str, Any]) -> ScoredRow:
    """The second judgement has the responses in the opposite order, to which a reward model is indifferent."""
    entry = judgebench.read(row, "")
    in_order = [_judgebench_scores(row, index)[:: -1 if index else 1] for index in range(_num_judgments(row))]
    by_response = list(zip(*in_order, strict=True))
    if row["label"] == "B>A":
        by_response.reverse()
    texts = (entry.chosen[0], entry.rejected[0])
    responses = tuple(ScoredText(side, rewards, None, None) for side, rewards in zip(texts, by_response, strict=True))
    return ScoredRow(entry.prompt, None, responses, None, entry.source)


def _num_judgments(row: dict[str, Any]) -> int:
    found = row["judgments"]
    if not isinstance(found, list) or len(found) not in (1, 2):
        raise RowError(f"judgments: expected a list of one judgement, or of two for both orders, got {found!r:.60}")
    return len(found)


def _judgebench_scores(row: dict[str, Any], index: int) -> list[float]:
    key = f"judgments[{index}].judgment.scores"
    judgment = row["judgments"][index]
    inner = judgment.get("judgment") if isinstance(judgment, dict) else None
    scores = inner.get("scores") if isinstance(inner, dict) else None
    if not isinstance(scores, list) or len(scores) != 2:
        raise RowError(f"{key}: expected the two rewards of a reward model, got {scores!r:.60}")
    return [number({f"{key}[{side}]": score}, f"{key}[{side}]") for side, score in enumerate(scores)]


def typed(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with numbers in place of texts such as "0.5", as CSV has them."""
    return {
        key: as_number(value) if key in _NUMBERS or _FEATURE.fullmatch(str(key)) else value
        for key, value in row.items()
    }


def _num_tokens(row: dict[str, Any], key: str) -> int | None:
    if row.get(key) is None:
        return None
    count = number(row, key)
    if not 0 <= count < 2**31 or count != int(count):
        raise RowError(f"{key}: expected a number of tokens, got {count}")
    return int(count)


def _origin(row: dict[str, Any]) -> tuple[str | None, str | None]:
    return name_of(row, DOMAIN), name_of(row, SOURCE)


FORMATS = (
    ScoreFormat("pairs", frozenset({"chosen", "rejected", "reward_chosen", "reward_rejected"}), _pair),
    ScoreFormat("responses", frozenset({"prompt", "response", "reward", "label"}), _response),
    ScoreFormat("judgebench", frozenset({"question", "response_A", "response_B", "label", "judgments"}), _judgebench),
)

"""Argilla's exports: fields and questions under names of your own, and the answers of several users to each question.

A ranking names the fields that hold the responses; a question named ``FIELD-rating`` rates one of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from rm.data.formats.chosen_rejected import TURNS, prompt_of
from rm.data.formats.format import Format, is_empty
from rm.data.formats.row import RowError, number, origin, shown, text
from rm.data.formats.several import judged_by_value
from rm.data.preferences import Judgement

_PROMPTS = ("prompt", "instruction", "question", "query")
_MORE = ("context", "input")
_STATUS = ("draft", "submitted", "discarded")
"""As some exports number them."""
_RATING = re.compile(r"(.+)[-_. ]rating")
_SUGGESTION = re.compile(r"(.+)(-suggestion(-metadata)?|\.suggestion(\.score|\.agent)?)")


class _Answer(NamedTuple):
    """What a user answered to a question."""

    user: str
    value: Any


Questions = dict[str, list[_Answer]]
"""Name of a question to its submitted answers."""


def _questions_1(row: Mapping[str, Any]) -> Questions:
    """Questions of an export of Argilla 1, lists of objects or an object of lists in a column each."""
    found = {}
    for name, cell in row.items():
        of_lists = isinstance(cell, dict) and {"user_id", "value"} <= cell.keys()
        value = _objects(cell, name) if of_lists else cell
        if isinstance(value, list) and value and all(isinstance(one, dict) and "user_id" in one for one in value):
            found[name] = [
                _Answer(str(one["user_id"]), one.get("value"))
                for one in value
                if _submitted(one.get("status"), name) and one.get("value") is not None
            ]
    return found


def _questions_2(row: Mapping[str, Any]) -> Questions:
    """Questions of an export of Argilla 2, three lists in a column each."""
    found = {}
    for column in row:
        name, mark, _ = column.partition(".responses")
        if not mark or column != f"{name}.responses":
            continue
        lists = [row.get(f"{column}{end}") or [] for end in ("", ".users", ".status")]
        if not all(isinstance(one, list) and len(one) == len(lists[0]) for one in lists):
            raise RowError(f"{column}: expected as many users and status as responses, got {shown(row[column])}")
        found[name] = [
            _Answer(str(user), value)
            for value, user, status in zip(*lists, strict=True)
            if _submitted(status, f"{column}.status") and value is not None
        ]
    return found


def _submitted(status: Any, name: str) -> bool:
    if isinstance(status, int) and not isinstance(status, bool) and 0 <= status < len(_STATUS):
        status = _STATUS[status]
    if status not in _STATUS:
        raise RowError(f"{name}: expected a status of {', '.join(_STATUS)}, got {shown(status)}")
    return bool(status == "submitted")


def _objects(value: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects that is written as an object of lists."""
    lists = list(value.values())
    if not all(isinstance(one, list) and len(one) == len(lists[0]) for one in lists):
        raise RowError(f"{name}: expected lists of one length, got {shown(value)}")
    return [dict(zip(value, one, strict=True)) for one in zip(*lists, strict=True)]


def _ranks(value: Any, name: str) -> dict[str, float] | None:
    """Fields with their ranks, 1 is best; None if the answer is no ranking."""
    if isinstance(value, dict) and value.keys() == {"rank", "value"} and isinstance(value["value"], list):
        value = _objects(value, name)
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(one, str) for one in value):
        return {field: float(place) for place, field in enumerate(value)}
    if all(isinstance(one, dict) and one.keys() == {"rank", "value"} for one in value):
        return {str(one["value"]): number({name: one["rank"]}, name) for one in value}
    return None


def _judged(row: Mapping[str, Any], questions: Questions) -> Iterator[tuple[str, dict[str, float]]]:
    """Each user's values of the response fields, higher is better."""
    ranking = {
        name: ranked
        for name, answers in questions.items()
        if (ranked := [(one.user, ranks) for one in answers if (ranks := _ranks(one.value, name))])
        and all(field in row for _, ranks in ranked for field in ranks)
    }
    ratings = {name: match[1] for name in questions if (match := _RATING.fullmatch(name)) and match[1] in row}
    if len(ranking) + bool(ratings) > 1:
        raise RowError(
            f"{', '.join([*ranking, *ratings])}: expected one ranking, or ratings, got several; leave the others out "
            "with ingest.ignore"
        )
    for answers in ranking.values():
        yield from ((user, {field: -rank for field, rank in ranks.items()}) for user, ranks in answers)
    rated: dict[str, dict[str, float]] = {}
    for name, field in ratings.items():
        for user, value in questions[name]:
            rated.setdefault(user, {})[field] = number({name: value}, name)
    yield from rated.items()


def _responses(row: Mapping[str, Any], questions: Questions) -> frozenset[str]:
    return frozenset(field for _, values in _judged(row, questions) for field in values)


def _format(version: str, marks: tuple[str, ...], questions_of: Callable[[Mapping[str, Any]], Questions]) -> Format:
    def read(row: dict[str, Any]) -> list[Judgement]:
        questions = questions_of(row)
        votes = list(_judged(row, questions))
        if not votes:
            names = ", ".join(sorted(questions))
            raise RowError(f"{names}: expected a submitted ranking of fields, or ratings named FIELD-rating, got none")
        asked = [name for name in _PROMPTS if not is_empty(row.get(name)) and name not in _responses(row, questions)]
        more = [name for name in _MORE if not is_empty(row.get(name))]
        if len(asked) != 1 or len(more) > 1:
            raise RowError(
                f"{_PROMPTS[0]}: expected one prompt under {', '.join(_PROMPTS)} and at most one of "
                f"{', '.join(_MORE)}, got {', '.join([*asked, *more]) or 'none'}"
            )
        prompt = prompt_of(row, asked[0], *more)
        return [
            judgement
            for user, values in votes
            for judgement in judged_by_value(
                prompt,
                [text(row, field) for field in row if field in values],
                [values[field] for field in row if field in values],
                origin({**row, "annotator": user}),
            )
        ]

    def own(row: Mapping[str, Any]) -> frozenset[str]:
        questions = questions_of(row)
        answers = {f"{name}{end}" for name in questions for end in ("", ".responses", *_ENDS)}
        suggestions = {name for name in row if (match := _SUGGESTION.fullmatch(name)) and match[1] in questions}
        return _responses(row, questions) | answers | suggestions

    example = {"prompt": "Name a yellow fruit.", "response1": "A banana is yellow.", "response2": "A plum, I think."}
    return Format(
        name=f"argilla_{version}",
        published=f"Argilla {version}, an export of records",
        required=frozenset(marks),
        columns={
            **dict.fromkeys(marks, "says that the row is an export"),
            **dict.fromkeys(_PROMPTS, "prompt, one of them"),
            **dict.fromkeys(_MORE, "the end of the prompt"),
            **TURNS,
            "created_at": "time",
            "domain": "domain",
        },
        metadata=frozenset({"vectors", "suggestions", "score"}),
        fits=lambda row: bool(questions_of(row)),
        own=own,
        read=read,
        example={**example, **_EXAMPLES[version]},
        prompt=frozenset(_PROMPTS),
    )


_ENDS = (".responses.users", ".responses.status")
_EXAMPLES: dict[str, dict[str, Any]] = {
    "1": {
        "preference": [
            {
                "user_id": "u1",
                "value": [{"rank": 1, "value": "response1"}, {"rank": 2, "value": "response2"}],
                "status": "submitted",
            }
        ],
        "external_id": None,
        "metadata": "{}",
    },
    "2": {
        "id": "r1",
        "status": "completed",
        "_server_id": "s1",
        "ranking.responses": [["response1", "response2"]],
        "ranking.responses.users": ["u1"],
        "ranking.responses.status": ["submitted"],
    },
}

FORMATS = (
    _format("1", ("external_id", "metadata"), _questions_1),
    _format("2", ("_server_id", "status"), _questions_2),
)

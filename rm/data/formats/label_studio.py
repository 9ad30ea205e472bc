"""Label Studio's export: a task with its data, and the annotations of several people, made with the tag Pairwise."""

from __future__ import annotations

from typing import Any

from rm.data.formats.chosen_rejected import TURNS, prompt_of
from rm.data.formats.format import Format, is_empty
from rm.data.formats.row import RowError, flag, listed, origin, part, shown, text, verdict, within
from rm.data.preferences import Judgement

_PROMPTS = ("prompt", "instruction", "question")
_SIDES = ("first", "second")


def _read(row: dict[str, Any]) -> list[Judgement]:
    found = [judgement for one in listed(row, "annotations") for judgement in _votes(row, one)]
    if not found:
        raise RowError("annotations: expected at least one that was not cancelled, with a result of the type pairwise")
    return found


def _votes(row: dict[str, Any], annotation: Any) -> list[Judgement]:
    if not isinstance(annotation, dict):
        raise RowError(f"annotations: expected objects, got {shown(annotation)}")
    with within("annotations"):
        if flag(annotation, "was_cancelled"):
            return []
    results = [one for one in _results(annotation) if isinstance(one, dict)]
    pairwise = [one for one in results if one.get("type") == "pairwise"]
    if results and len(pairwise) != 1:
        kinds = ", ".join(str(one.get("type")) for one in results)
        raise RowError(f"annotations: expected one result of the type pairwise in each, got {kinds}")
    return [_judgement(row, annotation, result) for result in pairwise]


def _results(annotation: dict[str, Any]) -> list[Any]:
    with within("annotations"):
        return listed(annotation, "result")


def _judgement(row: dict[str, Any], annotation: dict[str, Any], result: dict[str, Any]) -> Judgement:
    names = _names(row, result)
    named = all(name in row for name in _SIDES)
    data = row if named else row["data"]
    asked = {name: row["data"][name] for name in _PROMPTS if not is_empty(row["data"].get(name))}
    asked |= {"prompt": row["prompt"]} if "prompt" in row else {}
    if len(asked) != 1:
        raise RowError(
            f"data: expected one prompt under {', '.join(_PROMPTS)}, got {len(asked)}; "
            "say which with --set 'ingest.fields={prompt: data.NAME}'"
        )
    (column,) = asked
    part(row["data"], "data", {*names, *asked})
    with within("data"):
        first, second = (text(data, name) for name in names)
    value = result.get("value")
    with within("annotations"):
        preference = verdict(value if isinstance(value, dict) else {}, "selected", {"left": 1.0, "right": 0.0})
    return Judgement(
        prompt=prompt_of({**row, **asked}, column),
        first=first,
        second=second,
        preference=preference,
        **origin({**row, **annotation, "annotator": _who(annotation.get("completed_by"))}),
    )


def _names(row: dict[str, Any], result: dict[str, Any]) -> tuple[str, ...]:
    """The fields with the left and the right response."""
    if all(name in row for name in _SIDES):
        return _SIDES
    shown_names = result.get("to_name")
    names = tuple(str(shown_names).replace(" ", "").split(","))
    if len(names) != 2 or not set(names) <= row["data"].keys():
        raise RowError(
            f"annotations: expected to_name to name two fields of data, left and right, got {shown(shown_names)}; "
            "say which with --set 'ingest.fields={first: data.LEFT, second: data.RIGHT}'"
        )
    return names


def _who(completed_by: Any) -> Any:
    """An annotator's id, which some exports give in an object."""
    return completed_by.get("id") if isinstance(completed_by, dict) else completed_by


FORMATS = (
    Format(
        name="label_studio",
        published="Label Studio's JSON export of the tag Pairwise",
        required=frozenset({"data", "annotations"}),
        columns={
            "data": "the prompt, in `prompt`, `instruction` or `question`, and the responses",
            "annotations": "a vote each, unless it was cancelled: `completed_by` is the annotator, `to_name` the "
            "fields of data with the left and right response, `selected` the preferred side",
            "prompt": "prompt, if ingest.fields names it",
            "first": "left response, if ingest.fields names it",
            "second": "right response, if ingest.fields names it",
            **TURNS,
            "created_at": "time, unless the annotation has one",
            "domain": "domain",
        },
        metadata=frozenset(
            {
                *("predictions", "drafts", "meta", "project", "inner_id", "file_upload", "updated_by", "overlap"),
                *("total_annotations", "cancelled_annotations", "total_predictions", "is_labeled"),
                *("comment_count", "unresolved_comment_count", "last_comment_updated_at", "comment_authors"),
            }
        ),
        fits=lambda row: isinstance(row["data"], dict),
        read=_read,
        example={
            "id": 1,
            "data": {"prompt": "Name a yellow fruit.", "answer1": "A banana is yellow.", "answer2": "A plum, I think."},
            "annotations": [
                {
                    "completed_by": 7,
                    "was_cancelled": False,
                    "result": [
                        {"type": "pairwise", "to_name": "answer1,answer2", "value": {"selected": "left"}},
                    ],
                }
            ],
        },
        prompt=frozenset({"data", "prompt"}),
    ),
)

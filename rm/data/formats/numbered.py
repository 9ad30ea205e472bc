"""Rows with two responses and the number of the better one: PKU-SafeRLHF and SHP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rm.data.formats.chosen_rejected import SYSTEM, TURNS, prompt_of, system_of
from rm.data.formats.dialogue import messages
from rm.data.formats.format import Format
from rm.data.formats.row import RowError, number, optional_number, origin, shown, text
from rm.data.preferences import Judgement

_QUESTION, _GOOD, _BAD = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think."


def _numbered(row: dict[str, Any], key: str, meaning: Mapping[float, float]) -> float:
    """The preference for the first response that the number in a column stands for."""
    if row.get(key) is None:
        raise RowError(f"{key}: expected one of {', '.join(f'{each:g}' for each in meaning)}, got none: no verdict")
    found = number(row, key)
    if found not in meaning:
        raise RowError(f"{key}: expected one of {', '.join(f'{each:g}' for each in meaning)}, got {shown(row[key])}")
    return meaning[found]


def _pku(name: str, published: str, verdict: str, use: str, other: str) -> Format:
    def read(row: dict[str, Any]) -> list[Judgement]:
        return [
            Judgement(
                prompt=prompt_of(row, "prompt"),
                first=text(row, "response_0"),
                second=text(row, "response_1"),
                preference=_numbered(row, verdict, {0: 1.0, 1: 0.0}),
                **origin(row),
            )
        ]

    of_each = ("response_{}_source", "response_{}_harm_category", "response_{}_severity_level", "response_{}_sha256")
    return Format(
        name=name,
        published=published,
        required=frozenset({"prompt", "response_0", "response_1", verdict}),
        columns={
            "prompt": "prompt: text, messages, or a text with marks of turns",
            **TURNS,
            "response_0": "first response",
            "response_1": "second response",
            verdict: use,
        },
        metadata=frozenset(
            {
                *(pattern.format(place) for pattern in (*of_each, "is_response_{}_safe") for place in (0, 1)),
                *(other, "prompt_source"),
            }
        ),
        read=read,
        example={"prompt": _QUESTION, "response_0": _BAD, "response_1": _GOOD, verdict: 1},
        prompt=frozenset({"prompt"}),
    )


def _read_shp(row: dict[str, Any]) -> list[Judgement]:
    preference = _numbered(row, "labels", {1: 1.0, 0: 0.0})
    first, second = optional_number(row, "score_A"), optional_number(row, "score_B")
    if first is not None and second is not None and (first - second) * (preference - 0.5) < 0:
        raise RowError(f"labels {row['labels']} contradicts score_A {first:g} and score_B {second:g}")
    return [
        Judgement(
            prompt=(*system_of(row), *messages(row["history"], "history")),
            first=text(row, "human_ref_A"),
            second=text(row, "human_ref_B"),
            preference=preference,
            **origin(row),
        )
    ]


FORMATS = (
    _pku(
        "pku_saferlhf",
        "PKU-Alignment/PKU-SafeRLHF, by which response is more helpful",
        "better_response_id",
        "0 if the first response is more helpful, 1 if the second is",
        "safer_response_id",
    ),
    _pku(
        "pku_saferlhf_safer",
        "PKU-Alignment/PKU-SafeRLHF, by which response is safer: `ingest.format: pku_saferlhf_safer`",
        "safer_response_id",
        "0 if the first response is safer, 1 if the second is",
        "better_response_id",
    ),
    Format(
        name="shp",
        published="stanfordnlp/SHP, SHP-2",
        required=frozenset({"history", "human_ref_A", "human_ref_B", "labels"}),
        columns={
            "history": "prompt: the post",
            **dict.fromkeys(SYSTEM, "system message"),
            "human_ref_A": "first response",
            "human_ref_B": "second response",
            "labels": "1 prefers the first response, 0 the second",
            **dict.fromkeys(("score_A", "score_B"), "checked: the preferred response has no lower score"),
            "annotator": "annotator",
            "domain": "domain",
        },
        metadata=frozenset(
            {
                *("post_id", "upvote_ratio", "seconds_difference", "score_ratio"),
                *("c_root_id_A", "c_root_id_B", "created_at_utc_A", "created_at_utc_B"),
            }
        ),
        read=_read_shp,
        example={
            "history": _QUESTION,
            "human_ref_A": _BAD,
            "human_ref_B": _GOOD,
            "labels": 0,
            "score_A": 4,
            "score_B": 9,
            "domain": "askculinary_train",
        },
        prompt=frozenset({"history"}),
    ),
)

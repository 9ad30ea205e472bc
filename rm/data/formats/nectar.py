"""Nectar: seven answers to a prompt with a rank each, of which 1 is the best."""

from __future__ import annotations

from typing import Any

from rm.data.formats.chosen_rejected import TURNS, prompt_of
from rm.data.formats.format import Format
from rm.data.formats.row import as_text, finite, origin, parts
from rm.data.formats.several import judged_by_value
from rm.data.preferences import Judgement


def _read(row: dict[str, Any]) -> list[Judgement]:
    answers = parts(row, "answers", ("answer", "rank"), ("model",))
    ranks = [finite(each.get("rank"), f"answers[{place}].rank") for place, each in enumerate(answers)]
    responses = [as_text(each.get("answer"), f"answers[{place}].answer") for place, each in enumerate(answers)]
    return judged_by_value(prompt_of(row, "prompt"), responses, [-rank for rank in ranks], origin(row))


FORMATS = (
    Format(
        name="nectar",
        published="berkeley-nest/Nectar",
        required=frozenset({"prompt", "answers"}),
        columns={
            "prompt": "prompt: text, messages, or a text with marks of turns",
            **TURNS,
            "answers": "responses, each with a rank: a lower one is preferred, equal ones are a tie",
        },
        metadata=frozenset({"turns", "num_responses", "good_natured"}),
        read=_read,
        example={
            "prompt": "\n\nHuman: Name a yellow fruit.\n\nAssistant: ",
            "answers": [
                {"answer": "A plum, I think.", "model": "a", "rank": 2},
                {"answer": "A banana is yellow.", "model": "b", "rank": 1},
            ],
        },
        prompt=frozenset({"prompt"}),
    ),
)

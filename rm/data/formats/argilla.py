"""Rows of Argilla's data sets and of distilabel: pairs, and lists of generations with a rating each.

Where a list of generations has ratings, the ratings decide; a chosen and a rejected response beside them must agree.
"""

from __future__ import annotations

from typing import Any

from rm.data.formats.chosen_rejected import COLUMNS, TURNS, chosen_rejected, compared, prompt_of, system_of
from rm.data.formats.dialogue import answered, messages
from rm.data.formats.format import Format, is_empty
from rm.data.formats.row import RowError, as_text, numbers, origin, parts, texts
from rm.data.formats.several import judged_by_value
from rm.data.preferences import Judgement, Message, response_id

_QUESTION, _GOOD, _BAD = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think."


def _rated(
    name: str, published: str, prompt: str, ratings: str, metadata: frozenset[str], example: dict[str, Any]
) -> Format:
    """The format of rows with a list of ``generations`` and the list of their ratings."""

    def read(row: dict[str, Any]) -> list[Judgement]:
        responses = texts(row, "generations")
        if is_empty(row.get(ratings)):
            raise RowError(f"{ratings}: expected a rating for each generation, got none: the judge gave no verdict")
        values = numbers(row, ratings)
        found = judged_by_value(prompt_of(row, prompt), responses, values, origin(row))
        _check(row, dict(zip(map(response_id, responses), values, strict=True)), ratings)
        return found

    return Format(
        name=name,
        published=published,
        required=frozenset({prompt, "generations", ratings}),
        columns={
            prompt: "prompt: text, messages, or a text with marks of turns",
            **TURNS,
            "generations": "responses: every two of them are compared",
            ratings: "a rating of each response: the higher one is preferred, equal ones are a tie",
            **dict.fromkeys(("chosen", "rejected"), "one of the responses; the ratings must agree"),
        },
        metadata=metadata,
        read=read,
        example=example,
        prompt=frozenset({prompt}),
    )


def _check(row: dict[str, Any], value_of: dict[str, float], ratings: str) -> None:
    """Raise RowError if a chosen response is none of the generations, or has a lower rating than the rejected one."""
    found: dict[str, float] = {}
    for side in ("chosen", "rejected"):
        if not is_empty(row.get(side)):
            turns = messages(row[side], side)
            response = turns[0].content if len(turns) == 1 else answered(turns, side)[1]
            if (key := response_id(response)) not in value_of:
                raise RowError(f"{side}: expected one of the generations, got another text")
            found[side] = value_of[key]
    if len(found) > 1 and found["chosen"] < found["rejected"]:
        raise RowError(f"chosen and rejected contradict {ratings}: {found['chosen']:g} is below {found['rejected']:g}")


def _fits_capybara(row: dict[str, Any]) -> bool:
    turns = row["conversation"]
    return isinstance(turns, list) and bool(turns) and all(isinstance(turn, dict) and "input" in turn for turn in turns)


def _read_capybara(row: dict[str, Any]) -> list[Judgement]:
    spoken = [
        Message(role, as_text(turn.get(key), f"conversation[{place}].{key}"))
        for place, turn in enumerate(parts(row, "conversation", ("input", "output")))
        for role, key in (("user", "input"), ("assistant", "output"))
    ]
    return [compared(row, (*system_of(row), *spoken[:-1]))]


FORMATS = (
    chosen_rejected(
        "argilla_dpo",
        "Argilla's sets of earlier distilabel, axolotl's argilla",
        "instruction",
        {
            "instruction": _QUESTION,
            "chosen_response": _GOOD,
            "rejected_response": _BAD,
            "chosen_avg_rating": 4.5,
            "rejected_avg_rating": 3.0,
        },
        more="input",
        responses=("chosen_response", "rejected_response"),
    ),
    _rated(
        "distilabel",
        "distilabel's UltraFeedback step",
        "instruction",
        "ratings",
        frozenset(
            {
                *("rationales", "types", "rationales-for-ratings", "chosen_rating", "rejected_rating"),
                *("generation_models", "model_names", "model_name", "ultrafeedback_model", "distilabel_metadata"),
            }
        ),
        {"instruction": _QUESTION, "generations": [_GOOD, _BAD, "A lemon."], "ratings": [5, 2, 5]},
    ),
    _rated(
        "distilabel_orca",
        "argilla/distilabel-intel-orca-dpo-pairs, distilabel before 1.0",
        "input",
        "rating",
        frozenset(
            {
                *("order", "labelling_model", "labelling_prompt", "raw_labelling_response", "rationale"),
                *("original_chosen", "original_rejected", "chosen_score", "in_gsm8k_train"),
                *("generation_prompt", "raw_generation_responses"),
            }
        ),
        {"system": "Be brief.", "input": _QUESTION, "generations": [_BAD, _GOOD], "rating": [3, 9]},
    ),
    Format(
        name="capybara_dpo",
        published="argilla/distilabel-capybara-dpo-7k-binarized",
        required=frozenset({"conversation", "chosen", "rejected"}),
        columns={
            "conversation": "prompt: turns of input and output, without the last output",
            "chosen": "the preferred response, alone or after the prompt",
            "rejected": "the other response, alone or after the prompt",
            **{name: use for name, use in COLUMNS.items() if name != "history"},
        },
        metadata=frozenset(
            {
                *("original_response", "generation_prompt", "raw_generation_responses", "new_generations"),
                "prompt",
            }
        ),
        fits=_fits_capybara,
        read=_read_capybara,
        example={
            "conversation": [{"input": _QUESTION, "output": _GOOD}],
            "original_response": _GOOD,
            "chosen": [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _GOOD}],
            "rejected": [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _BAD}],
            "rating_chosen": 5,
            "rating_rejected": 3,
        },
        prompt=frozenset({"conversation"}),
    ),
)

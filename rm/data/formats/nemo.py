"""Rows of NVIDIA's trainers: NeMo-RL's ranked completions and NeMo-Aligner's pairs.

NeMo-RL's binary preferences are rows of the format ``trl``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rm.data.formats.chosen_rejected import TURNS, chosen_rejected, prompt_of
from rm.data.formats.dialogue import answered, messages
from rm.data.formats.format import Format
from rm.data.formats.row import RowError, finite, origin, parts, shown
from rm.data.formats.several import judged_by_value
from rm.data.preferences import Judgement

_QUESTION, _GOOD, _BAD = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think."
_ASKED = {"role": "user", "content": _QUESTION}


def _read_ranked(row: dict[str, Any]) -> list[Judgement]:
    completions = parts(row, "completions", ("completion", "rank"))
    names = [f"completions[{place}]" for place in range(len(completions))]
    responses = [
        _response(each.get("completion"), f"{name}.completion") for each, name in zip(completions, names, strict=True)
    ]
    ranks = [finite(each.get("rank"), f"{name}.rank") for each, name in zip(completions, names, strict=True)]
    return judged_by_value(prompt_of(row, "context"), responses, [-rank for rank in ranks], origin(row))


def _response(value: Any, key: str) -> str:
    turns = messages(value, key) if isinstance(value, list) else ()
    before, response = answered(turns, key) if turns else (turns, "")
    if before or not turns:
        raise RowError(f"{key}: expected a list of one message of the assistant, got {shown(value)}")
    return response


_STOP = "<extra_id_1>"
"""Ends a response in NeMo's template."""


def _without_stop(response: Any) -> Any:
    if isinstance(response, str) and response.rstrip().endswith(_STOP):
        return response.rstrip().removesuffix(_STOP).rstrip()
    return response


_SIDES = ("chosen_response", "rejected_response")
_AS_WRITTEN = chosen_rejected(
    "nemo_aligner",
    "NeMo-Aligner's DPO, earlier NeMo-RL",
    "prompt",
    {
        "prompt": f"<extra_id_0>System\n\n<extra_id_1>User\n{_QUESTION}\n<extra_id_1>Assistant\n",
        **{side: f"{answer}\n{_STOP}" for side, answer in zip(_SIDES, (_GOOD, _BAD), strict=True)},
        "chosen_reward": 4,
        "rejected_reward": 3,
    },
    responses=_SIDES,
    rewards=("chosen_reward", "rejected_reward"),
)


def _read_aligner(row: dict[str, Any]) -> list[Judgement]:
    return _AS_WRITTEN.read({**row, **{side: _without_stop(row[side]) for side in _SIDES}})


FORMATS = (
    Format(
        name="nemo_rl",
        published="NeMo-RL's preferences: completions with ranks, of which the lowest is the best",
        required=frozenset({"context", "completions"}),
        columns={
            "context": "prompt: messages",
            **TURNS,
            "completions": "responses, each with a rank: a lower one is preferred, equal ones are a tie",
        },
        metadata=frozenset({"task_name"}),
        read=_read_ranked,
        example={
            "context": [_ASKED],
            "completions": [
                {"rank": rank, "completion": [{"role": "assistant", "content": content}]}
                for rank, content in enumerate((_GOOD, "A lemon.", _BAD))
            ],
        },
        prompt=frozenset({"context"}),
    ),
    replace(_AS_WRITTEN, read=_read_aligner),
)

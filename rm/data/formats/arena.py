"""Votes between two models' answers: Chatbot Arena and MT-Bench.

A vote on a dialogue of several turns compares two dialogues. It is a comparison of two responses to one prompt only if
both models gave the same earlier answers; other rows are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rm.data.formats.chosen_rejected import TURNS, prompt_of
from rm.data.formats.dialogue import dialogues, messages, sides
from rm.data.formats.format import Format, is_empty
from rm.data.formats.row import RowError, listed, number, optional_number, origin, shown, verdict
from rm.data.preferences import Judgement, Message

_WINNERS = {
    "model_a": 1.0,
    "model_b": 0.0,
    "tie": 0.5,
    "tie (bothbad)": 0.5,
    "both_bad": 0.5,
    "tie (inconsistent)": 0.5,
}
"""The last one is a judge that preferred one answer in each order."""
_WINNER_USE = "the winner: model_a, model_b or one of the ties, also where both are bad"
_DIALOGUES = ("conversation_a", "conversation_b")
_METADATA = frozenset(
    {
        *("anony", "openai_moderation", "toxic_chat_tag", "conv_metadata", "is_code", "is_refusal", "dedup_tag"),
        *("category_tag", "occupational_tags", "evaluation_session_id", "evaluation_order"),
        *("sim", "length_a", "length_b", "token_diff", "longer_won"),
        *("hard_prompt", "easy_prompt", "if_prompt", "math_prompt"),
    }
)


def _read_conversations(row: dict[str, Any]) -> list[Judgement]:
    first, second = (_judged(row, name) for name in _DIALOGUES)
    compared = dialogues((), first, second, _DIALOGUES)
    who = {"annotator": row["judge_hash"]} if row.get("judge") is None and "judge_hash" in row else {}
    return [_judgement(compared, verdict(row, "winner", _WINNERS), {**row, **who})]


def _judged(row: dict[str, Any], name: str) -> tuple[Message, ...]:
    """A dialogue up to the answer that was judged."""
    dialogue = messages(row[name], name)
    answers = [place for place, message in enumerate(dialogue) if message.role == "assistant"]
    if not answers:
        raise RowError(f"{name}: expected messages with an answer of the assistant, got {shown(row[name])}")
    if not is_empty(row.get("full_conversation")):
        earlier = len(listed(row, "full_conversation")) - sum(message.role == "user" for message in dialogue)
        if earlier > 0:
            raise RowError(f"full_conversation: expected no turns beside those of {name}, got {earlier} earlier ones")
    turn = optional_number(row, "turn")
    if turn is None:
        return dialogue
    if turn not in range(1, len(answers) + 1):
        raise RowError(
            f"turn: expected the number of an answer in {name}, 1 to {len(answers)}, got {shown(row['turn'])}"
        )
    end = answers[int(turn) - 1] + 1
    return dialogue[: end + (dialogue[end : end + 1] != () and dialogue[end].role == "tool_calls")]


def _read_lists(row: dict[str, Any]) -> list[Judgement]:
    first, second = (_woven(row, name) for name in ("response_a", "response_b"))
    return [_judgement(sides((), first, second, ("response_a", "response_b")), _flagged(row), row)]


def _woven(row: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The dialogue of the prompt's turns and one model's answers."""
    asked, answered = listed(row, "prompt"), listed(row, name)
    if not asked or len(asked) != len(answered):
        raise RowError(f"{name}: expected an answer for each of {len(asked)} turns in prompt, got {len(answered)}")
    pairs = [(("user", one), ("assistant", other)) for one, other in zip(asked, answered, strict=True)]
    return [{"role": role, "content": text} for pair in pairs for role, text in pair]


_FLAGS = {"winner_model_a": 1.0, "winner_model_b": 0.0, "winner_tie": 0.5}


def _flagged(row: dict[str, Any]) -> float:
    flags = [number(row, name) for name in _FLAGS]
    if sorted(flags) != [0, 0, 1]:
        raise RowError(f"{', '.join(_FLAGS)}: expected a 1 and two 0, got {', '.join(f'{flag:g}' for flag in flags)}")
    return list(_FLAGS.values())[flags.index(1)]


def _pairs(names: tuple[str, str]) -> Callable[[dict[str, Any]], list[Judgement]]:
    def read(row: dict[str, Any]) -> list[Judgement]:
        turns = row["conv_metadata"].get("turns") if isinstance(row.get("conv_metadata"), dict) else None
        if turns not in (None, 1):
            raise RowError(f"conv_metadata.turns: expected 1, since prompt has one turn only, got {shown(turns)}")
        compared = sides(prompt_of(row, "prompt"), row[names[0]], row[names[1]], names)
        return [_judgement(compared, verdict(row, "winner", _WINNERS), row)]

    return read


def _judgement(compared: tuple[tuple[Message, ...], str, str], preference: float, row: dict[str, Any]) -> Judgement:
    prompt, first, second = compared
    return Judgement(prompt=prompt, first=first, second=second, preference=preference, **origin(row))


def _pair_format(name: str, published: str, names: tuple[str, str]) -> Format:
    return Format(
        name=name,
        published=published,
        required=frozenset({"prompt", *names, "winner"}),
        columns={
            "prompt": "prompt: text, messages, or a text with marks of turns",
            **TURNS,
            names[0]: "first response",
            names[1]: "second response",
            "winner": _WINNER_USE,
            **_ORIGIN,
        },
        metadata=_METADATA,
        read=_pairs(names),
        example={
            "prompt": "Name a yellow fruit.",
            names[0]: "A banana is yellow.",
            names[1]: "A plum, I think.",
            "winner": "model_a",
        },
        prompt=frozenset({"prompt"}),
    )


_ORIGIN = {
    "judge": "annotator",
    "annotator": "annotator",
    "created_at": "time",
    "timestamp": "time",
    "tstamp": "time",
    "domain": "domain",
}

FORMATS = (
    Format(
        name="chatbot_arena",
        published="Chatbot Arena (33k, 100k and 140k conversations), MT-Bench's judgements",
        required=frozenset({*_DIALOGUES, "winner"}),
        columns={
            "conversation_a": "prompt and first response",
            "conversation_b": "the same prompt and the second response",
            "turn": "number of the answer that was judged; without it, the last one",
            "winner": _WINNER_USE,
            "full_conversation": "checked: turns before the dialogue are refused",
            "judge_hash": "annotator, unless there is a judge",
            **_ORIGIN,
        },
        metadata=_METADATA,
        read=_read_conversations,
        example={
            **{
                name: [{"role": "user", "content": "Name a yellow fruit."}, {"role": "assistant", "content": text}]
                for name, text in zip(_DIALOGUES, ("A banana is yellow.", "A plum, I think."), strict=True)
            },
            "winner": "model_a",
            "judge": "arena_user_7",
            "turn": 1,
        },
    ),
    Format(
        name="chatbot_arena_lists",
        published="lmsys-arena-human-preference-55k",
        required=frozenset({"prompt", "response_a", "response_b", *_FLAGS}),
        columns={
            "prompt": "the user's turns, a list of texts, also as JSON text",
            "response_a": "the first model's answers, one per turn; the last one is the response",
            "response_b": "the second model's",
            **dict.fromkeys(_FLAGS, "1 for the verdict, 0 for the others"),
            **_ORIGIN,
        },
        read=_read_lists,
        example={
            "prompt": '["Name a yellow fruit."]',
            "response_a": '["A banana is yellow."]',
            "response_b": '["A plum, I think."]',
            "winner_model_a": 0,
            "winner_model_b": 0,
            "winner_tie": 1,
        },
        prompt=frozenset({"prompt"}),
    ),
    _pair_format("ppe", "PPE-Human-Preference-V1", ("response_1", "response_2")),
    _pair_format("wsdm_cup", "WSDM Cup 2025 on Kaggle, own sets", ("response_a", "response_b")),
)

r"""Dialogues as people write them down, read into messages.

A dialogue is a list of messages (``{role, content}`` or ``{from, value}``, roles in any case and under the field's
usual names), such a list as JSON text, or one text with marks of turns: ``Human:`` and ``Assistant:`` after an empty
line, as in HH-RLHF; ChatML; ``### Human:`` and ``### Assistant:``; NeMo's ``<extra_id_1>User``. Any other text is one
message of the user.

What a message holds beside its text is part of what was judged. Reasoning, calls of tools and what a tool's result
answers become messages of their own (`rm.data.preferences.ROLES`) beside it. Anything else, such as media, is refused
by name: dropping it would make another comparison of it. A response is one text: its reasoning stands before it as
models write it, and one that calls tools is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rm.data.formats import tools
from rm.data.formats.row import RowError, as_text, json_value, shown
from rm.data.preferences import Message

_ROLES = {
    **dict.fromkeys(("user", "human", "prompter", "instruction", "question"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "chatbot", "model", "ai", "response"), "assistant"),
    **dict.fromkeys(("system", "system_prompt"), "system"),
}
_PART_ROLES = {
    **dict.fromkeys(("tool", "function", "observation", "tool_response"), "tool"),
    **dict.fromkeys(("tool_calls", "tool_call", "function_call"), "tool_calls"),
    **{name: name for name in ("tools", "reasoning", "result_of")},
}
"""Roles of what is no spoken turn: results and calls of tools, and the parts of a message as they are stored."""
_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
_CALL_KEYS = ("tool_calls", "function_call")
_RESULT_KEYS = ("tool_call_id", "name")
_BESIDE = {"assistant": {*_REASONING_KEYS, *_CALL_KEYS}, "tool": set(_RESULT_KEYS)}
"""Role to what a message of it may hold beside its text."""
_ROLE_KEYS = ("role", "from")
_TEXT_KEYS = ("content", "value", "text")
_USUAL_KEYS = (("role", "content"), ("from", "value"))
_PART = ("type", "text")

# They begin with the one character that they are searched by; with an alternative there, every place is tried.
_HH = re.compile(r"\n\r?\n(Human|Assistant):")
_HASHES = re.compile(r"\n### ?(Human|User|Assistant|System|Instruction|Response):")
_NEMO = re.compile(r"(?:\A|\n)<extra_id_[01]>(System|User|Assistant)(?=\n|\Z)")
_CHATML = re.compile(r"<\|im_start\|>(\w+)\r?\n(.*?)(?:<\|im_end\|>\s*|\Z)", re.DOTALL)
_JSON = re.compile(r"\s*(?:\[\s*)?\{")
_PYTHON = re.compile(r"\s*(?:\[\s*)?\{'(?:role|from|content|value)':")
_MARKED = re.compile(r"\s*(?:Human:|Assistant:|###|<\||\[INST|<s>|<start|<bos>|USER:)")
"""How a text begins that is looked at more closely; nearly all do not."""
_RENDERED = re.compile(
    r"\s*(?:<s>|\[INST\]|<bos>|<start_of_turn>|<\|(?:begin_of_text|start_header_id|system|user|prompter|im_start)\|?>"
    r"|<\|START_OF_TURN_TOKEN\|>|(?:Human|USER): .*\n(?:Assistant|ASSISTANT):)",
    re.DOTALL,
)
"""Prompts as another model's chat template or a script has written them, in forms that are not taken apart here."""
_OPEN = re.compile(r"\n\nHuman:.*\n\nAssistant:\s*\Z", re.DOTALL)
"""A transcript that goes on, behind something else that stands before its first mark: a system message."""


def messages(value: Any, key: str) -> tuple[Message, ...]:
    """Read a dialogue in any of the forms above; a mark of the assistant at its end, where it goes on, is left out.

    Raises
    ------
    RowError
        If it is in none of them, or a message holds more than text.
    """
    value = decoded(value)
    if isinstance(value, str):
        turns = transcript(value, key) or (Message("user", value),)
        return turns[:-1] if len(turns) > 1 and turns[-1] == ("assistant", "") else turns
    if isinstance(value, dict):
        return _message(value, key)
    if not isinstance(value, list):
        raise RowError(f"{key}: expected text or a list of messages, got {shown(value)}")
    found: list[Message] = []
    for index, turn in enumerate(value):
        parts = _message(turn, f"{key}[{index}]")
        if found and found[-1].role == parts[0].role == "tool_calls":
            found[-1:] = [tools.both(found[-1], parts[0])]
        else:
            found += parts
    return tuple(found)


def decoded(value: Any) -> Any:
    """The messages, where a cell holds them as JSON text; any other cell as it is.

    Raises
    ------
    RowError
        If a cell holds messages as Python writes them, or as JSON under other names.
    """
    if not isinstance(value, str) or not _JSON.match(value):
        return value
    if _PYTHON.match(value):
        raise RowError(f"expected messages as JSON text, got them as Python writes them: {shown(value)}")
    try:
        found = json_value(value)
    except RowError:
        raise
    except (ValueError, RecursionError):
        return value
    turns = found if isinstance(found, list) else [found]
    if turns and all(isinstance(turn, dict) and any(key in turn for key in _ROLE_KEYS) for turn in turns):
        return found
    if turns and all(isinstance(turn, dict) and {"speaker", "author", "sender"} & turn.keys() for turn in turns):
        raise RowError(f"expected messages as {{role, content}} or {{from, value}}, got {shown(value)}")
    return value


def transcript(text: str, key: str) -> tuple[Message, ...]:
    """The turns of a text with marks of turns; none if it has none.

    Raises
    ------
    RowError
        If the text is in the form of another model's chat template.
    """
    if "<extra_id_" in text and _NEMO.search(text):
        return _nemo(text, key)
    if not _MARKED.match(text):
        if "\n\nAssistant:" in text and (found := _OPEN.search(text)):
            return (Message("system", text[: found.start()].strip()), *_marked(found[0], _HH))
        return ()
    if text.lstrip().startswith("<|im_start|>"):
        return _chatml(text, key)
    for marks, before in ((_HH, "\n\n"), (_HASHES, "\n")):
        if marks.match(begun := before + text.lstrip()):
            turns = _marked(begun, marks)
            if text.startswith(("\n\nHuman:", "\r\n\r\nHuman:")) or any(turn.role == "assistant" for turn in turns):
                return turns
    if _RENDERED.match(text):
        raise RowError(f"{key}: a dialogue as another model's template writes it, expected messages, got {shown(text)}")
    return ()


_NOT_PLAIN = re.compile(f"{_JSON.pattern}|{_MARKED.pattern}")
_BEGINS_NOT_PLAIN = frozenset("[{HA#<U")
"""The first characters, after white space, of what `_NOT_PLAIN` matches."""


def is_plain(text: str) -> bool:
    """Whether `messages` and `sides` read a text as it is, since it holds no messages and no mark of a turn."""
    # One character is found much faster than more, and most texts have none of these.
    begin = text[:1]
    return not (
        ((begin in _BEGINS_NOT_PLAIN or begin.isspace()) and _NOT_PLAIN.match(text))
        or ("<" in text and "<extra_id_" in text)
        or ("\n" in text and "\n\nAssistant:" in text)
        or text.endswith("Assistant:")
    )


def _marked(text: str, marks: re.Pattern[str]) -> tuple[Message, ...]:
    # re.split with one group gives [before, role, content, role, content, ...]
    _, *pieces = marks.split(text)
    roles = [_ROLES[role.lower()] for role in pieces[::2]]
    return tuple(map(Message, roles, [content.strip() for content in pieces[1::2]]))


def _nemo(text: str, key: str) -> tuple[Message, ...]:
    """The turns of NeMo's template; without a mark before it, as in HelpSteer2, the first turn is the user's."""
    before, *pieces = _NEMO.split(text)
    pairs = zip(["User", *pieces[::2]], [before, *pieces[1::2]], strict=True)
    turns = [Message(_ROLES[role.lower()], content.strip()) for role, content in pairs]
    if inner := next((turn.content for turn in turns if "<extra_id_" in turn.content), None):
        raise RowError(f"{key}: expected no mark of NeMo's template within a turn, got {shown(inner)}")
    spoken = turns if turns[0].content else turns[1:]
    return tuple(turn for turn in spoken if turn != ("system", ""))  # NeMo writes the mark of a system message anyway


def _chatml(text: str, key: str) -> tuple[Message, ...]:
    if outside := _CHATML.sub("", text).strip():
        raise RowError(f"{key}: expected turns of ChatML only, got {shown(outside)} outside of them")
    turns = _CHATML.findall(text)
    if unread := [role for role, _ in turns if role.lower() not in _ROLES]:
        raise RowError(f"{key}: expected turns of system, user and assistant in ChatML, got {shown(unread[0])}")
    return tuple(Message(_ROLES[role.lower()], content.strip()) for role, content in turns)


def _message(turn: Any, key: str) -> tuple[Message, ...]:
    """A message, with a message for each thing that it holds beside its text."""
    if type(turn) is dict and len(turn) == 2:  # a role and a text alone, as nearly all are
        for keys in _USUAL_KEYS:
            given, content = map(turn.get, keys)
            if type(content) is str and type(given) is str and given in _ROLES:
                return (Message(_ROLES[given], content),)
    role_key = _first(turn, _ROLE_KEYS)
    text_key = _first(turn, _TEXT_KEYS)
    given = turn[role_key] if role_key else None
    if not isinstance(given, str) or (text_key is None and not _calls_tools(turn)):
        raise RowError(f"{key}: expected {{role, content}} or {{from, value}} as text, got {shown(turn)}")
    role = _role(given)
    content = None if text_key is None else turn[text_key]
    where = f"{key}.{text_key}"
    beside = {
        name: value
        for name, value in turn.items()
        if name not in (role_key, text_key)
        and value not in (None, "", [], {})
        and not isinstance(value, bool | int | float)
    }
    for name in beside:
        if name not in _BESIDE.get(role, ()):
            raise RowError(f"{key}.{name}: a message holds more than its text, which a reward model would not see")
    if role in _STORED:
        return (_STORED[role](content, where),)
    if role == "tool":
        answered = (tools.result_of(beside, key),) if beside else ()
        return (*answered, Message(role, _plain(content, where)))
    return _assistant(content, where, beside, key) if beside else (Message(role, _plain(content, where)),)


_STORED: Mapping[str, Callable[[Any, str], Message]] = {
    "tools": tools.tools,
    "tool_calls": tools.calls,
    "result_of": tools.result_of,
    "reasoning": lambda content, key: Message("reasoning", as_text(content, key)),
}


def _calls_tools(turn: Any) -> bool:
    return isinstance(turn, dict) and any(turn.get(name) for name in _CALL_KEYS)


def _assistant(content: Any, where: str, beside: dict[str, Any], key: str) -> tuple[Message, ...]:
    """Reasoning, text and calls of one turn of the assistant; beside calls there may be no text."""
    thoughts = {as_text(beside[name], f"{key}.{name}") for name in _REASONING_KEYS if name in beside}
    called = [tools.calls(beside[name], f"{key}.{name}") for name in _CALL_KEYS if name in beside]
    if len(thoughts) > 1 or len(called) > 1:
        names = ", ".join(name for name in beside if name in (_REASONING_KEYS if len(thoughts) > 1 else _CALL_KEYS))
        raise RowError(f"{key}: expected one of {names} in a message, got several")
    said = "" if content is None and called else _plain(content, where)
    return (
        *(Message("reasoning", thought) for thought in thoughts if thought.strip()),
        *([] if called and not said.strip() else [Message("assistant", said)]),
        *called,
    )


def _first(turn: Any, keys: Iterable[str]) -> str | None:
    return next((key for key in keys if key in turn), None) if isinstance(turn, dict) else None


def _role(role: str) -> str:
    """The role under its usual name; another role stays, and is refused where the prompt is checked."""
    name = role.strip().lower()
    return _ROLES.get(name) or _PART_ROLES.get(name, role)


def _plain(content: Any, key: str) -> str:
    """The text of a message, which may be in parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RowError(f"{key}: expected text, got {shown(content)}")
    for part in content:
        if not _is_text(part):
            raise RowError(f"{key}: expected parts of text only, got {shown(part)}")
    return "".join(part[_text_key(part)] for part in content)


def _text_key(part: dict[str, Any]) -> str:
    return "text" if "text" in part else "value"  # LLaMA-Factory's


def _is_text(part: Any) -> bool:
    """Whether a part of a message is text, without an image or the like beside it."""
    if not (isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get(_text_key(part)), str)):
        return False
    return not any(value for name, value in part.items() if name not in {*_PART, _text_key(part)})


_ASKS, _ANSWERS = ("user", "tool"), ("reasoning", "assistant", "tool_calls")
"""Roles of what an assistant answers, and of the parts of its answer."""


def joined(explicit: tuple[Message, ...], shared: tuple[Message, ...]) -> tuple[Message, ...]:
    """The whole prompt: the explicit one and the messages that both sides share, without repetition.

    The explicit one may begin what is shared, be its last question, or come before it.

    Raises
    ------
    RowError
        If they are two different prompts.
    """
    if not explicit:
        return shared
    questions = tuple(message for message in explicit if message.role != "system")
    systems = explicit[: len(explicit) - len(questions)]
    spoken = tuple(message for message in shared if message.role != "system")
    if _same(shared[: len(systems)], systems):
        systems = ()
    elif systems and len(spoken) < len(shared):
        raise RowError("expected one system message, got one with the prompt and another one in both sides")
    if _same(spoken[: len(questions)], questions) or _same(spoken[-len(questions) :], questions):
        return systems + shared
    if explicit[-1].role in _ASKS and shared and shared[0].role not in _ANSWERS:
        raise RowError(
            "the prompt is not among the messages that both sides share, so it cannot be known what was asked"
        )
    return explicit + shared


def _same(one: Sequence[Message], other: Sequence[Message]) -> bool:
    if one == other:
        return True
    return [(role, text.strip()) for role, text in one] == [(role, text.strip()) for role, text in other]


def sides(
    prompt: tuple[Message, ...], first: Any, second: Any, names: tuple[str, str], written: Any = None
) -> tuple[tuple[Message, ...], str, str]:
    """The whole prompt, and what two sides add to it.

    Parameters
    ----------
    prompt : tuple of Message
        What other columns say of the prompt; empty if they say nothing.
    first, second : text or messages
        Responses alone, or with the prompt, or with the rest of the dialogue before them.
    names : tuple of str
        The columns of the two sides, for the errors.
    written : optional
        The cell of the prompt; if it ends with a mark of the assistant, the space after that is no part of a response.

    Raises
    ------
    RowError
        If a side does not end with a response, if they answer different prompts, or if there is no prompt.
    """
    first, second = decoded(first), decoded(second)
    found = _turns(first, names[0]), _turns(second, names[1])
    if all(found) and not (isinstance(first, str) and prompt and not _go_on(prompt, *found)):
        return dialogues(prompt, *found, names)
    if all(found) and isinstance(first, str) and _begin_with(prompt, first, second):
        return dialogues((), *found, names)
    for name, value in zip(names, (first, second), strict=True):
        if not isinstance(value, str):
            raise RowError(f"{name}: expected text or messages on both sides, got {shown(value)} on this one")
    if not prompt:
        raise RowError(
            f"there is no prompt: where it ends in {names[0]} and {names[1]} cannot be known; expected it in a column "
            "named prompt, or name its column with --set 'ingest.fields={prompt: COLUMN}'"
        )
    if isinstance(written, str) and written.endswith("Assistant:"):
        return prompt, first.removeprefix(" "), second.removeprefix(" ")
    return prompt, *_without_prompt(prompt, first, second)


def _turns(side: Any, name: str) -> tuple[Message, ...]:
    """The messages of a side; none if it is plain text."""
    return transcript(side, name) if isinstance(side, str) else messages(side, name)


def _go_on(prompt: tuple[Message, ...], first: tuple[Message, ...], second: tuple[Message, ...]) -> bool:
    """Whether texts with marks of turns go on from the prompt; else they are responses that have such marks."""
    alone = all(len(side) == 1 and side[0].role == "assistant" for side in (first, second))
    return alone or all(_same(side[: len(prompt)], prompt) for side in (first, second))


def _begin_with(prompt: tuple[Message, ...], first: str, second: str) -> bool:
    """Whether both texts begin with the prompt as it is written, mark of its turn included."""
    written = prompt[-1].content.strip() if len(prompt) == 1 else ""
    return bool(written) and all(text.strip().startswith(written) for text in (first, second))


def dialogues(
    prompt: tuple[Message, ...], first: tuple[Message, ...], second: tuple[Message, ...], names: tuple[str, str]
) -> tuple[tuple[Message, ...], str, str]:
    """As `sides`, for two sides that are read into at least one message each."""
    (shared, one), (others, other) = (answered(side, name) for side, name in zip((first, second), names, strict=True))
    if not _same(shared, others):
        raise RowError(f"{names[0]} and {names[1]} differ before their last message, so they answer different prompts")
    return joined(prompt, shared), one, other


def answered(turns: tuple[Message, ...], name: str) -> tuple[tuple[Message, ...], str]:
    """A dialogue before its last turn, and that turn, the response, with its reasoning.

    Raises
    ------
    RowError
        If it does not end with the assistant, or with calls of tools.
    """
    last = turns[-1].role if turns else None
    if last == "tool_calls":
        raise RowError(f"{name}.tool_calls: the response calls tools, which is not read; expected text alone")
    if last != "assistant":
        came = f"it from the {last}" if last else "no message"
        raise RowError(f"{name}: expected the last message from the assistant, got {came}")
    if len(turns) > 1 and turns[-2].role == "reasoning":
        return turns[:-2], with_reasoning(turns[-2].content, turns[-1].content, name)
    return turns[:-1], turns[-1].content


def with_reasoning(reasoning: str, response: str, name: str) -> str:
    """A response after its reasoning, as models write both and templates take them apart again.

    Raises
    ------
    RowError
        If the response is empty, or has reasoning already.
    """
    if not response.strip():
        raise RowError(f"{name}: expected a response after its reasoning, got none")
    if "<think>" in reasoning or response.lstrip().startswith("<think>"):
        raise RowError(f"{name}: expected reasoning once, got it in a field of its own and between marks")
    return f"<think>\n{reasoning.strip()}\n</think>\n\n{response.lstrip(_BREAKS)}"


_BREAKS = "\r\n"


_SHORTEST_REPEATED = 12
"""Fewest characters of a prompt that is taken off where both texts begin with it: two answers to "Hi" may say "Hi"."""


def _without_prompt(prompt: tuple[Message, ...], first: str, second: str) -> tuple[str, str]:
    """Two texts without the prompt, if both repeat it before they go on."""
    asked = prompt[-1].content.strip()
    rests = [text.lstrip().removeprefix(asked) for text in (first, second)]
    repeated = all(
        len(rest) < len(text.lstrip()) and rest[:1].isspace() for rest, text in zip(rests, (first, second), strict=True)
    )
    if repeated and len(asked) >= _SHORTEST_REPEATED:
        return _begun(rests[0]), _begun(rests[1])
    return first, second


def _begun(rest: str) -> str:
    """A response without what parts it from the prompt; on a new line it keeps its indentation."""
    return rest.lstrip("\r\n") if rest[0] in "\r\n" else rest.lstrip(" ")

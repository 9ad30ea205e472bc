"""Rendering conversations with the tokenizer's chat template, and checking the template.

A template is a program that comes with a tokenizer. If it writes the beginning-of-text token twice, forgets the end
token or drops a text, training runs without an error, but on wrong texts. `check_template` finds this before anything
is tokenized. Tools, calls of them and their results are looked for in every prompt that has them, since what a template
writes of them depends on the prompt.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from transformers import PreTrainedTokenizerFast

from rm.data import conversation
from rm.data.conversation import Turns
from rm.data.preferences import Message
from rm.errors import ModelError, RefusedConversation
from rm.tokens.marks import marked

_SYSTEM = Message("system", "You answer in\none  sentence.")
_QUESTION = Message("user", "How far is it\nto the  sea?")
_ANSWER = Message("assistant", "About a day's\n\nwalk  downhill.")
_NEXT_QUESTION = Message("user", "And back, uphill?")
_RESPONSE = "Rather two:\n\n- one to the  village,\n- one more to here."
"""Line breaks and double spaces within the text show whether a template rewrites it; none at the ends, which many
templates strip."""
_END_WITHIN = 2
"""One more token may follow the end token: ChatML and others end a turn with a line break."""
_SHOWN = 80
"""Most characters of a rendered text in an error message."""


def render_prompts(tokenizer: PreTrainedTokenizerFast, prompts: Sequence[Sequence[Message]]) -> list[str]:
    """Render prompts, generation prompt included.

    Raises
    ------
    RefusedConversation
        If the template refuses a conversation, or drops or changes a message, tools, a call or a result. Reasoning it
        may drop: many templates leave out that of earlier turns, in serving too.
    """
    for prompt in prompts:
        _check_tools(tokenizer, prompt)
    texts = _render(tokenizer, [(prompt, None) for prompt in prompts])
    for prompt, text in zip(prompts, texts, strict=True):
        _check_messages(prompt, text)
    return texts


def render_responses(
    tokenizer: PreTrainedTokenizerFast,
    items: Sequence[tuple[Sequence[Message], Sequence[str]]],
    prompts: Sequence[str],
) -> list[str]:
    """Render responses: the text that the template adds to a rendered prompt for each response, end token included.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
    items : sequence of (prompt, responses)
    prompts : sequence of str
        The prompts of these items, rendered by `render_prompts`.

    Returns
    -------
    list of str
        All responses to the first prompt, then those to the second, and so on.

    Raises
    ------
    RefusedConversation
        If the template refuses a conversation, an answered conversation does not begin with the rendered prompt, or a
        response or its reasoning is dropped or changed.

    Notes
    -----
    Reasoning that stands before a response, between ``<think>`` and ``</think>``, is given to the template as
    ``reasoning_content``, since templates write it in their own ways. One that drops this gets it as text.
    """
    # A template may rewrite any text, so every response is rendered in a whole conversation.
    openings = [opening for opening, (_, texts) in zip(prompts, items, strict=True) for _ in texts]
    answered = [(prompt, text) for prompt, texts in items for text in texts]
    rests = [""] * len(answered)
    plain = [place for place, (_, text) in enumerate(answered) if not _REASONING.match(text)]
    chats = [(answered[place][0], _spoken(answered[place][1])) for place in plain]
    for place, rest in zip(plain, _continued(tokenizer, chats, [openings[place] for place in plain]), strict=True):
        _check_response(answered[place][1], rest)
        rests[place] = rest
    for place in sorted({*range(len(answered))} - {*plain}):
        prompt, text = answered[place]
        rests[place] = _reasoned(tokenizer, prompt, text, openings[place])
    return rests


def _reasoned(tokenizer: PreTrainedTokenizerFast, prompt: Sequence[Message], text: str, opening: str) -> str:
    """A response that begins with its reasoning."""
    found = _REASONING.match(text)
    assert found is not None
    parts = {"content": text[found.end() :].lstrip("\n"), **conversation.reasoned(found[1].strip("\n"))}
    for answer in ({"role": "assistant", **parts}, _spoken(text)):
        try:
            (rest,) = _continued(tokenizer, [(prompt, answer)], [opening])
            _check_response(text, rest)
        except RefusedConversation as refusal:
            reason = refusal
        else:
            return rest
    raise reason


def _spoken(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _continued(tokenizer: PreTrainedTokenizerFast, chats: Sequence[Chat], openings: Sequence[str]) -> list[str]:
    """What the template adds to the rendered prompts for the answers."""
    return [_after(opening, whole) for opening, whole in zip(openings, _render(tokenizer, chats), strict=True)]


Chat = tuple[Sequence[Message], dict[str, str] | None]
"""A prompt, and the turn that answers it; None where the generation prompt comes in its place."""


def _render(tokenizer: PreTrainedTokenizerFast, chats: Sequence[Chat]) -> list[str]:
    """Texts of chats, which either all have a response or all have none."""
    # One call of apply_chat_template has the same tools for all conversations.
    by_tools: dict[str, list[int]] = defaultdict(list)
    for place, (prompt, _) in enumerate(chats):
        by_tools[conversation.tools(prompt)].append(place)
    texts = [""] * len(chats)
    for tools, places in by_tools.items():
        wrapped = [_wrapped(tool) for tool in json.loads(tools)] if tools else None
        rendered = _with_tools(tokenizer, [chats[place] for place in places], wrapped)
        for place, text in zip(places, rendered, strict=True):
            texts[place] = text
    return texts


def _with_tools(tokenizer: PreTrainedTokenizerFast, chats: Sequence[Chat], tools: list[Any] | None) -> list[str]:
    whole = [conversation.turns(prompt) + ([] if answer is None else [answer]) for prompt, answer in chats]
    generation = chats[0][1] is None
    try:
        try:
            return _applied(tokenizer, whole, tools, generation=generation)
        except TypeError:  # DeepSeek's templates, among others, put texts together, so arguments must be JSON text
            return _applied(tokenizer, [_as_text(each) for each in whole], tools, generation=generation)
    except Exception as error:  # a template is a foreign program
        raise RefusedConversation(f"the chat template refuses a conversation: {error}") from None


def _wrapped(tool: dict[str, Any]) -> dict[str, Any]:
    """The tool as templates expect it; some data have the function alone."""
    return tool if "function" in tool else {"type": "function", "function": tool}


def _applied(
    tokenizer: PreTrainedTokenizerFast, whole: list[Turns], tools: list[Any] | None, *, generation: bool
) -> list[str]:
    texts: list[str] = tokenizer.apply_chat_template(
        whole, tools=tools, tokenize=False, add_generation_prompt=generation
    )
    return texts


def _as_text(turns: Turns) -> Turns:
    """The turns with the arguments of calls as JSON text."""
    return [
        {**turn, "tool_calls": [_call_as_text(call) for call in turn["tool_calls"]]} if "tool_calls" in turn else turn
        for turn in turns
    ]


def _call_as_text(call: dict[str, Any]) -> dict[str, Any]:
    arguments = json.dumps(call["function"]["arguments"], ensure_ascii=False)
    return {**call, "function": {**call["function"], "arguments": arguments}}


def _check_tools(tokenizer: PreTrainedTokenizerFast, prompt: Sequence[Message]) -> None:
    if (found := marked(prompt)) is None:
        return
    (text,) = _render(tokenizer, [(found.prompt, None)])
    if lost := next((name for mark, name in found.names.items() if mark not in text), None):
        raise RefusedConversation(
            f"the chat template drops {lost}; expected one that writes tools, their calls and results"
        )


_REASONING = re.compile(r"\s*<think>(.*?)</think>", re.DOTALL)


def _check_messages(prompt: Sequence[Message], text: str) -> None:
    for role, content in prompt:
        # Of an answer before, many templates leave out what stands before the end of its reasoning.
        kept = content.rpartition("</think>")[2] if role == "assistant" else content
        if role in ("system", "user", "assistant") and kept.strip() not in text:
            raise RefusedConversation(
                f"the chat template drops or changes a {role} message: expected {kept.strip()[:_SHOWN]!r}"
            )


def _check_response(response: str, rest: str) -> None:
    found = _REASONING.match(response)
    thought = found[1].strip() if found else ""
    if (place := rest.find(thought)) < 0:
        raise RefusedConversation(
            f"the chat template drops the reasoning of a response: expected {thought[:_SHOWN]!r}, got {rest[:_SHOWN]!r}"
        )
    answer = response[found.end() if found else 0 :].strip()
    if answer not in rest[place + len(thought) :]:
        raise RefusedConversation(
            f"the chat template drops or changes a response: expected {answer[:_SHOWN]!r}, got {rest[:_SHOWN]!r}"
        )


def _after(opening: str, whole: str) -> str:
    if not whole.startswith(opening):
        raise RefusedConversation(
            "the chat template renders a prompt differently when an answer follows; expected the prompt to end with "
            f"{opening[-_SHOWN:]!r}, got {whole[: len(opening)][-_SHOWN:]!r}"
        )
    return whole[len(opening) :]


def check_template(tokenizer: PreTrainedTokenizerFast, *, with_system: bool = False) -> None:
    """Render test conversations of one and two turns, and check that a reward model can be trained on the result.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
        With a chat template.
    with_system : bool
        Whether conversations may begin with a system message. A template may refuse one, but not drop it.

    Raises
    ------
    ModelError
        If the template drops or changes a text, does not put the response directly after the generation prompt, or
        refuses a conversation without a system message; if the conversation begins with two beginning-of-text tokens;
        or if no end token follows the response.

    Notes
    -----
    An end token is any special token except those for beginning, padding, masking and unknown words; these count if
    they are end tokens as well (GPT-2 begins and ends a text with the same token). It must be one of the last two
    tokens.
    """
    for prompt in ([_QUESTION], [_QUESTION, _ANSWER, _NEXT_QUESTION]):
        _check(tokenizer, prompt)
        if with_system:
            with suppress(RefusedConversation):  # then each such prompt is refused by itself
                _check(tokenizer, [_SYSTEM, *prompt])


def _check(tokenizer: PreTrainedTokenizerFast, prompt: Sequence[Message]) -> None:
    (opening,) = _render(tokenizer, [(prompt, None)])
    rest = _rest(tokenizer, prompt, opening)
    _check_texts(prompt, opening, rest)
    _check_begin(tokenizer, opening + rest)
    _check_end(tokenizer, rest)


def _rest(tokenizer: PreTrainedTokenizerFast, prompt: Sequence[Message], opening: str) -> str:
    """The rendered test response; of a template that begins the reasoning for it, one with reasoning."""
    try:
        return _continued(tokenizer, [(prompt, _spoken(_RESPONSE))], [opening])[0]
    except RefusedConversation as refusal:
        try:
            return _reasoned(tokenizer, prompt, f"<think>\nFar, then.\n</think>\n\n{_RESPONSE}", opening)
        except RefusedConversation:
            raise refusal from None


def _check_texts(prompt: Sequence[Message], opening: str, rest: str) -> None:
    start = 0
    for role, content in prompt:
        start = opening.find(content, start)
        if start < 0:
            raise ModelError(f"the chat template drops, changes or moves the {role} text {content!r}: got {opening!r}")
        start += len(content)
    if _RESPONSE not in rest:
        raise ModelError(f"the chat template drops or changes the response: expected {_RESPONSE!r}, got {rest!r}")


def _check_begin(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = _ids(tokenizer, text)
    begin_ids = {tokenizer.bos_token_id, tokenizer.cls_token_id} - {None}
    if len(ids) > 1 and ids[0] == ids[1] and ids[0] in begin_ids:
        token = tokenizer.convert_ids_to_tokens(ids[0])
        raise ModelError(
            f"the chat template begins a conversation with {token!r} twice; expected it once, got {text[:_SHOWN]!r} = "
            f"{tokenizer.convert_ids_to_tokens(ids[:4])}"
        )


def _check_end(tokenizer: PreTrainedTokenizerFast, rest: str) -> None:
    last_ids = _ids(tokenizer, rest)[-_END_WITHIN:]
    if not _end_ids(tokenizer) & set(last_ids):
        raise ModelError(
            f"the chat template does not close the response with an end token; expected a special token such as "
            f"{tokenizer.eos_token or tokenizer.sep_token!r} among the last {_END_WITHIN} tokens, got "
            f"{tokenizer.convert_ids_to_tokens(last_ids)} at the end of {rest[-_SHOWN:]!r}"
        )


def _end_ids(tokenizer: PreTrainedTokenizerFast) -> set[int]:
    # Tokens that end a turn, such as <|eot_id|>, are often special without being one of the tokenizer's named tokens.
    special_ids = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    special_ids |= set(tokenizer.all_special_ids)
    other = {tokenizer.unk_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id}
    other |= {tokenizer.cls_token_id, tokenizer.mask_token_id}
    return special_ids - (other - {tokenizer.eos_token_id, tokenizer.sep_token_id})


def _ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # some tokenizers are saved with a maximum length
    backend.no_padding()
    ids: list[int] = backend.encode(text, add_special_tokens=False).ids
    return ids

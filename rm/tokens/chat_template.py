"""Rendering conversations with the tokenizer's chat template, and checking the template.

A template is a program that comes with a tokenizer. If it writes the beginning-of-text token twice, forgets the end
token or drops a text, training runs without an error, but on wrong texts. `check_template` finds this before anything
is tokenized.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from rm.data.preferences import Message
from rm.errors import ModelError, RefusedConversation

Conversation = list[dict[str, str]]

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
        If the template refuses a conversation.
    """
    return _render(tokenizer, [_conversation(prompt) for prompt in prompts], generation=True)


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
        If the template refuses a conversation, or an answered conversation does not begin with the rendered prompt.
    """
    # A template may rewrite any text, so every response is rendered in a whole conversation.
    openings = [opening for opening, (_, texts) in zip(prompts, items, strict=True) for _ in texts]
    answered = [
        [*conversation, {"role": "assistant", "content": text}]
        for prompt, texts in items
        for conversation in [_conversation(prompt)]
        for text in texts
    ]
    wholes = _render(tokenizer, answered, generation=False)
    return [_after(opening, whole) for opening, whole in zip(openings, wholes, strict=True)]


def _conversation(messages: Sequence[Message]) -> Conversation:
    return [{"role": role, "content": content} for role, content in messages]


def _render(tokenizer: PreTrainedTokenizerFast, conversations: list[Conversation], *, generation: bool) -> list[str]:
    if not conversations:
        return []
    try:
        texts: list[str] = tokenizer.apply_chat_template(
            conversations, tokenize=False, add_generation_prompt=generation
        )
    except TemplateError as error:
        raise RefusedConversation(f"the chat template refuses a conversation: {error}") from None
    return texts


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
    (opening,) = render_prompts(tokenizer, [prompt])
    (rest,) = render_responses(tokenizer, [(prompt, [_RESPONSE])], [opening])
    _check_texts(prompt, opening, rest)
    _check_begin(tokenizer, opening + rest)
    _check_end(tokenizer, rest)


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

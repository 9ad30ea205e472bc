"""Short replies that would fit any prompt, which lose: to say next to nothing does not win."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rm.data.preferences import Comparison, PromptGroup, normalised, prompt_text
from rm.edits import shape
from rm.errors import RefusedConversation
from rm.features import words
from rm.remedies.stored_ids import StoredIds
from rm.remedies.texts import Texts, with_texts
from rm.tokens import encoder
from rm.tokens.encoder import Encoder
from rm.tokens.items import TokenizedPrompt
from rm.tokens.token_files import TokenizedSplit

_LEAST = 20
"""Responses that are stock replies at least, where a tenth of all is fewer."""
_DRAWN = 32
"""Stock replies that are drawn for a prompt; the half that shares the fewest words with it is used."""
_CUT_WORDS = 3
"""A reply that is cut keeps at most so many words, or none."""
_AT_ONCE = 256
"""Prompts that are encoded together."""


class StockResponses:
    """A stock response to some of P prompts.

    Parameters
    ----------
    prompts : TokenizedSplit
        In order of prompt id.
    texts : callable
        Gives these prompts with their texts, and perhaps others, in order of prompt id; called twice.
    seed : int
    share : float
        Of the prompts that get one.

    Raises
    ------
    TrainingError
        If the texts of a prompt are missing.

    Notes
    -----
    Stock replies are the shortest tenth of the responses to all these prompts, at least 20, each as often as it comes
    up. For a prompt 32 of them are drawn, none that it has itself, and the 16 are kept of whose words the fewest stand
    in the prompt. A stock response is

    - in half of the cases many of these one after another, until it has 1 to 2 times the words of the longest response
      to the prompt,
    - in a quarter one of them,
    - in a quarter the first 0 to 3 words of one, so that nothing loses, too.

    In scripts without blanks between words, characters count as words.

    So in half of the pairs the longer response wins, and in half the shorter: the number of words alone is right no
    more often than chance. It is not without say, as the short ones are shorter by more than the joined ones are
    longer: a reward that knows only length would fall a little at the very short end. How much of that is left where
    the reward can read, and annotators speak against it, is for the audit to say; `controlled` explains
    annotators' labels, and not these pairs. A prompt without room for the joined responses gets no short one either,
    else prompts with little room would only get short ones.

    A stock response also loses to the response that annotators rejected. Where this is harmful, and a plain refusal
    would be better, that is wrong: the annotators' own pairs, which have such refusals, have to say so.

    References
    ----------
    Zheng et al. (2024), Cheating automatic LLM benchmarks: null models achieve high win rates, arXiv:2410.07137: one
    constant response wins; Yao et al. (2024), tau-bench, arXiv:2406.12045, whose null agent does nothing. Both are
    attacks; to train against them by replies of the data is own.
    """

    def __init__(self, prompts: TokenizedSplit, texts: Callable[[], Texts], seed: int, share: float) -> None:
        replies = _stock_replies(prompts, texts().groups)
        groups, tokenizer = texts()
        encodes, most = Encoder(tokenizer), int(prompts.longest().max(initial=0))
        made = (_Made.of(prompt, group, replies, seed, share) for prompt, group in with_texts(prompts, groups))
        self._ids = StoredIds(_encoded(made, encodes, most))

    def are_there(self) -> NDArray[np.bool_]:
        """Whether each prompt has a stock response, shape (P,)."""
        return self._ids.are_there()

    def __getitem__(self, index: int) -> Sequence[int] | None:
        """The ids of a prompt's stock response, None if it has none."""
        return self._ids[index]


def _stock_replies(prompts: TokenizedSplit, groups: Iterable[PromptGroup]) -> list[str]:
    """The shortest tenth of the compared responses, by tokens, in order of the prompts."""
    every = prompts.compared()
    lengths = np.sort(np.concatenate([every.first_tokens, every.second_tokens]))
    if not len(lengths):
        return []
    limit = lengths[min(max(len(lengths) // 10, _LEAST), len(lengths)) - 1]
    return [
        group.responses[place]
        for prompt, group in with_texts(prompts, groups)
        for place, ids in zip(prompt.response_indices, prompt.response_ids, strict=True)
        if len(ids) <= limit
    ]


class _Made(NamedTuple):
    """A prompt, the short and the joined stock response to it, and which of the two is asked for."""

    prompt: TokenizedPrompt
    group: PromptGroup
    texts: Sequence[str]
    """Both, or none."""
    is_joined: bool

    @classmethod
    def of(cls, prompt: TokenizedPrompt, group: PromptGroup, replies: Sequence[str], seed: int, share: float) -> _Made:
        draw = Random(f"{seed}/stock/{prompt.prompt_id}")
        generic = _generic(group, draw.sample(replies, min(_DRAWN, len(replies)))) if draw.random() < share else []
        if not generic:
            return cls(prompt, group, (), False)
        short = draw.choice(generic)
        if draw.random() < 0.5:
            short = shape.beginning(short.strip(), draw.randint(0, _CUT_WORDS))
        longest = max(len(shape.words(text)) for text in group.responses)
        joined = _joined(draw.sample(generic, len(generic)), round(longest * draw.uniform(1, 2)))
        return cls(prompt, group, (short, joined), draw.random() < 0.5)


def _generic(group: PromptGroup, replies: Iterable[str]) -> list[str]:
    """The half of other prompts' replies with words of which the fewest stand in the prompt, each once."""
    own = {normalised(text) for text in group.responses}
    asked = set(words.split(prompt_text(group.prompt)))

    def common(reply: str) -> float:
        said = set(words.split(reply))
        return len(said & asked) / max(len(said), 1)

    others = (reply for reply in dict.fromkeys(replies) if normalised(reply) not in own and shape.words(reply))
    ranked = sorted(others, key=common)
    return ranked[: (len(ranked) + 1) // 2]


def _joined(replies: Sequence[str], num_words: int) -> str:
    """Replies one after another, again from the first where they are too few, until they have so many words."""
    parts: list[str] = []
    count = 0
    for reply in itertools.cycle(replies):
        parts.append(reply.strip())
        count += len(shape.words(reply))
        if count >= num_words:
            return " ".join(parts)
    return ""


def _encoded(made: Iterator[_Made], encodes: Encoder, most: int) -> Iterator[list[int] | None]:
    """The ids of the response that is asked for; None where there is none, or no room for the joined one."""
    while some := list(itertools.islice(made, _AT_ONCE)):
        every = encoder.encode(encodes, [(one.group.prompt, one.texts) for one in some])
        for one, encoded in zip(some, every, strict=True):
            if isinstance(encoded, RefusedConversation) or not encoded[1]:
                yield None
                continue
            short, joined = encoded[1]
            ids = joined if one.is_joined else short
            fits = max(len(short), len(joined)) <= most - len(one.prompt.prompt_ids)
            yield ids if fits and ids not in [list(map(int, own)) for own in one.prompt.response_ids] else None


def with_stock(prompt: TokenizedPrompt, ids: Sequence[int]) -> TokenizedPrompt:
    """A prompt with a stock response, over which both responses of its first pair win.

    Parameters
    ----------
    prompt : TokenizedPrompt
    ids : sequence of int
        Of the stock response.
    """
    own, stock = prompt.comparisons[0], len(prompt.response_ids)
    pairs = [
        Comparison(first=index, second=stock, preference=1.0, target_margin=0.0, weight=own.weight, num_judgements=0)
        for index in (own.first, own.second)
    ]
    return replace(
        prompt,
        response_ids=[*prompt.response_ids, ids],
        response_attributes=[*prompt.response_attributes, {}],
        response_indices=[*prompt.response_indices, -1],
        comparisons=[*prompt.comparisons, *pairs],
    )

"""What an edit may draw on: the parent it edits, the other parents, and a random source."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from rm.data.preferences import Message, PromptGroup
from rm.files import sha256_json
from rm.probes.edits import has_structure, sentences

Prompt = tuple[Message, ...]

_MAX_FILLERS = 40
_FILLER_WORDS = range(4, 16)
_FILLER = re.compile(r"[^\W\d_][^\d\n]*\.")
_DENIAL = re.compile(r"\b(?:sorry|unable|apologi\w+)\b|n['\u2019]t\b|\bcannot\b|\bnot\b", re.IGNORECASE)
_LENGTH_TOLERANCE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A response to edit."""

    prompt_id: str
    prompt: Prompt
    response: str
    """The chosen one: of a bad response, worse is not always worse."""
    others: tuple[str, ...] = ()
    """Other responses to the prompt."""


class Corpus:
    """What the parents have to offer each other.

    Parameters
    ----------
    parents : sequence of Parent

    Attributes
    ----------
    fillers : tuple of str
        At most 40 sentences of 4 to 15 words that say little: those whose words stand in the most parents,
        denials left out.
    """

    def __init__(self, parents: Sequence[Parent]) -> None:
        self.parents = parents
        self.fillers = _fillers([parent.response for parent in parents])
        self._by_length = sorted((len(parent.response), place) for place, parent in enumerate(parents))
        self._shuffled = _cycle(parents)

    def foreign(self, parent: Parent, draw: Random) -> str | None:
        """The response to another prompt, as long as the parent's to 10 % of its characters; None if there is none."""
        length = len(parent.response)
        low = bisect_left(self._by_length, (math.ceil(length * (1 - _LENGTH_TOLERANCE)), -1))
        high = bisect_right(self._by_length, (math.floor(length * (1 + _LENGTH_TOLERANCE)), len(self.parents)))
        near = [self.parents[place] for _, place in self._by_length[low:high]]
        others = [
            other.response
            for other in near
            if other.prompt_id != parent.prompt_id and other.response not in (parent.response, *parent.others)
        ]
        return draw.choice(others) if others else None

    def other_prompt(self, parent: Parent) -> Prompt | None:
        """The prompt of another parent, each used once; None if all have the same."""
        return self._shuffled.get(parent.prompt_id)


def _fillers(responses: Sequence[str]) -> tuple[str, ...]:
    words_of = [set(text.casefold().split()) for text in responses]
    spread = Counter(word for words in words_of for word in words)

    def information(sentence: str) -> tuple[float, str]:
        words = sentence.casefold().split()
        return -math.fsum(math.log(spread[word]) for word in words) / len(words), sentence

    plain = {sentence for text in responses if not has_structure(text) for sentence in sentences(text)}
    # Denials are left out: what refuses or contradicts is no filler, and assistants' commonest sentences do.
    usable = [
        text
        for text in plain
        if _FILLER.fullmatch(text) and len(text.split()) in _FILLER_WORDS and not _DENIAL.search(text)
    ]
    return tuple(sorted(usable, key=information)[:_MAX_FILLERS])


def _cycle(parents: Sequence[Parent]) -> dict[str, Prompt]:
    """Prompt ids to another's prompt: each to the next one in an order of hashes, so that none meets its own."""
    prompts = {parent.prompt_id: parent.prompt for parent in parents}
    order = sorted(prompts, key=lambda key: sha256_json(["other prompt", key]))
    if len(order) < 2:
        return {}
    return {key: prompts[other] for key, other in zip(order, order[1:] + order[:1], strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class EditContext:
    """One edit to be made."""

    parent: Parent
    corpus: Corpus
    draw: Random
    """Follows from the probe's name, dose, prompt and response; the same for the edit and its placebo."""

    @property
    def text(self) -> str:
        """The response."""
        return self.parent.response

    def filled(self, count: float) -> str | None:
        """The response with so many fillers after it that it does not hold; None if there are too few."""
        fresh = [filler for filler in self.corpus.fillers if filler not in self.text]
        if len(fresh) < count:
            return None
        return " ".join([self.text.rstrip(), *self.draw.sample(fresh, int(count))])

    def with_others_sentence(self) -> str | None:
        """The response with a sentence of another response to the same prompt after it; None if there is none."""
        if any(has_structure(other) for other in self.parent.others):
            return None
        fresh = [own for other in self.parent.others for own in sentences(other) if own not in self.text]
        return f"{self.text.rstrip()} {self.draw.choice(fresh)}" if fresh else None

    def foreign(self) -> str | None:
        """The response to another prompt, as long as this one."""
        return self.corpus.foreign(self.parent, self.draw)

    def echo(self) -> str:
        """What the user said last."""
        return self.parent.prompt[-1].content

    def other_prompt(self) -> Prompt | None:
        """Another parent's prompt."""
        return self.corpus.other_prompt(self.parent)

    def no_prompt(self) -> Prompt:
        """A prompt that says nothing."""
        return (Message("user", ""),)

    def prompt_after(self, prefix: str) -> Prompt:
        """The prompt with a prefix to what the user said last."""
        *before, (role, content) = self.parent.prompt
        return (*before, Message(role, f"{prefix}{content}"))


def parents(groups: Sequence[PromptGroup]) -> list[Parent]:
    """Of every prompt the responses that annotators chose in a pair, as parents of edits."""
    found = []
    for group in groups:
        chosen = {
            pair.first if pair.preference > 0.5 else pair.second for pair in group.comparisons if pair.preference != 0.5
        }
        for place in sorted(chosen):
            others = tuple(text for at, text in enumerate(group.responses) if at != place)
            found.append(
                Parent(prompt_id=group.prompt_id, prompt=group.prompt, response=group.responses[place], others=others)
            )
    return found

"""The inputs of an edit: the parent, the other parents, and a random number generator."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from rm.data.preferences import Message, PromptGroup
from rm.edits.shape import has_structure, joined, sentences
from rm.files import sha256_json

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
    """A chosen response: a change that damages a good response may not make a bad one worse."""
    others: tuple[str, ...] = ()
    """Other responses to the prompt."""


class Corpus:
    """All parents, as a source of fillers, of other responses and of other prompts.

    Parameters
    ----------
    parents : sequence of Parent
    clusters : sequence of int, optional
        Cluster of each parent's prompt; near-duplicates have one cluster. Default: every prompt has its own.

    Attributes
    ----------
    fillers : tuple of str
        At most 40 sentences of 4 to 15 words with little information: those whose words occur in the most parents,
        without denials.
    """

    def __init__(self, parents: Sequence[Parent], clusters: Sequence[int] | None = None) -> None:
        self.parents = parents
        self.fillers = _fillers([parent.response for parent in parents])
        self._by_length = sorted((len(parent.response), index) for index, parent in enumerate(parents))
        own = [parent.prompt_id for parent in parents]
        self._cluster_of: dict[str, int | str] = dict(zip(own, own if clusters is None else clusters, strict=True))
        self._shuffled = _cycle(parents, self._cluster_of)

    def foreign(self, parent: Parent, draw: Random) -> str | None:
        """A response to another prompt with the same number of characters, within 10 %; None if there is none.

        What answers a near-duplicate of the prompt may be as good as the response.
        """
        length = len(parent.response)
        low = bisect_left(self._by_length, (math.ceil(length * (1 - _LENGTH_TOLERANCE)), -1))
        high = bisect_right(self._by_length, (math.floor(length * (1 + _LENGTH_TOLERANCE)), len(self.parents)))
        near = [self.parents[index] for _, index in self._by_length[low:high]]
        others = [
            other.response
            for other in near
            if self._are_apart(other, parent) and other.response not in (parent.response, *parent.others)
        ]
        return draw.choice(others) if others else None

    def other_prompt(self, parent: Parent) -> Prompt | None:
        """The prompt of another parent, each used at most once and never a near-duplicate; None if there is none."""
        return self._shuffled.get(parent.prompt_id)

    def _are_apart(self, one: Parent, other: Parent) -> bool:
        return self._cluster_of[one.prompt_id] != self._cluster_of[other.prompt_id]


def _fillers(responses: Sequence[str]) -> tuple[str, ...]:
    words_of = [set(text.casefold().split()) for text in responses]
    spread = Counter(word for words in words_of for word in words)

    def information(sentence: str) -> tuple[float, str]:
        words = sentence.casefold().split()
        return -math.fsum(math.log(spread[word]) for word in words) / len(words), sentence

    plain = {sentence for text in responses if not has_structure(text) for sentence in sentences(text)}
    # Without denials: a refusal or contradiction is not filler, although assistants write them often.
    usable = [
        text
        for text in plain
        if _FILLER.fullmatch(text) and len(text.split()) in _FILLER_WORDS and not _DENIAL.search(text)
    ]
    return tuple(sorted(usable, key=information)[:_MAX_FILLERS])


def _cycle(parents: Sequence[Parent], cluster_of: Mapping[str, int | str]) -> dict[str, Prompt]:
    """Prompt id to a later prompt in the order of a hash, so that no prompt is mapped to one of its own cluster.

    The prompts of a cluster stand together and the step is as long as the largest cluster, so only one with more than
    half of all prompts has some that are mapped to none.
    """
    prompts = {parent.prompt_id: parent.prompt for parent in parents}
    members: dict[int | str, list[str]] = defaultdict(list)
    for key in sorted(prompts, key=lambda key: sha256_json(["other prompt", key])):
        members[cluster_of[key]].append(key)
    order = [key for keys in members.values() for key in keys]
    step = max(map(len, members.values()), default=0)
    pairs = zip(order, order[step:] + order[:step], strict=True)
    return {key: prompts[other] for key, other in pairs if cluster_of[key] != cluster_of[other]}


@dataclass(frozen=True, slots=True, kw_only=True)
class EditContext:
    """The inputs of one edit."""

    parent: Parent
    corpus: Corpus
    draw: Random
    """Its seed depends on the probe's name, dose, prompt and response; it is the same for an edit and its placebo."""

    @property
    def text(self) -> str:
        """The response."""
        return self.parent.response

    def filled(self, count: float) -> str | None:
        """The response followed by ``count`` fillers that it does not contain yet; None if there are too few."""
        fresh = [filler for filler in self.corpus.fillers if filler not in self.text]
        if len(fresh) < count:
            return None
        return joined(self.text, " ".join(self.draw.sample(fresh, int(count))))

    def with_others_sentence(self) -> str | None:
        """The response followed by a sentence of another response to the same prompt; None if there is none."""
        if any(has_structure(other) for other in self.parent.others):
            return None
        fresh = [own for other in self.parent.others for own in sentences(other) if own not in self.text]
        return joined(self.text, self.draw.choice(fresh)) if fresh else None

    def foreign(self) -> str | None:
        """A response to another prompt, of about the same length."""
        return self.corpus.foreign(self.parent, self.draw)

    def echo(self) -> str:
        """The last message of the user."""
        return self.parent.prompt[self._last_question].content

    def other_prompt(self) -> Prompt | None:
        """Another parent's prompt."""
        return self.corpus.other_prompt(self.parent)

    def no_prompt(self) -> Prompt:
        """An empty prompt."""
        return (Message("user", ""),)

    def prompt_after(self, prefix: str) -> Prompt:
        """The prompt with a prefix before the last message of the user."""
        place = self._last_question
        role, content = self.parent.prompt[place]
        return (*self.parent.prompt[:place], Message(role, f"{prefix}{content}"), *self.parent.prompt[place + 1 :])

    @property
    def _last_question(self) -> int:
        """Place of the user's last message; a tool's result may follow it."""
        return max(place for place, message in enumerate(self.parent.prompt) if message.role == "user")


def parents(groups: Sequence[PromptGroup]) -> list[Parent]:
    """The responses that annotators chose in a pair, from all prompts, as parents of edits."""
    found = []
    for group in groups:
        chosen = {
            pair.first if pair.preference > 0.5 else pair.second for pair in group.comparisons if pair.preference != 0.5
        }
        for index in sorted(chosen):
            others = tuple(text for other, text in enumerate(group.responses) if other != index)
            found.append(
                Parent(prompt_id=group.prompt_id, prompt=group.prompt, response=group.responses[index], others=others)
            )
    return found

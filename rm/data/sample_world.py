"""A small world in which the quality of every response is known.

A prompt asks about one aspect of a topic, and may state a name that the response must use. Every answer is right for
some prompts and wrong for all others, and so is every name: only who reads the prompt sees whether a response is good.
Some worse responses are bad whatever the prompt, as those of real models are: they evade, restate the question, are
garbled, repeat themselves or ramble. They are few, so that a reader of responses alone is little better than a coin.
Length, formatting and phrases are drawn independently of quality.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, zip_longest
from typing import TypeVar

import numpy as np
from numpy.random import Generator

from rm.data.sample_texts import (
    ANSWERS,
    ASPECTS,
    CALLED,
    EVASIONS,
    FILLERS,
    FIRST_PERSON,
    HEDGES,
    ITEMS,
    MARKS,
    NAMES,
    OPENINGS,
    PRAISE,
    QUESTIONS,
    RESTATED,
    STATED,
    TOPICS,
    WITH_KEYWORD,
)
from rm.errors import ConfigError

KINDS = ("plain", "named")
"""Prompts that only ask, and prompts that state a name which the response must use."""
QUALITY_SHARES = {0.0: 0.42, 0.5: 0.18, 1.0: 0.40}
"""Probability of each quality."""
FAULTS = {
    0.0: {"topic": 0.42, "aspect": 0.30, "evasive": 0.05, "restated": 0.03, "garbled": 0.20},
    1.0: {"": 1.0},
    0.5: {"called": 0.46, "rambling": 0.14, "repeated": 0.2, "said_twice": 0.2},
}
"""Probability of each fault of a response of that quality; without a name or number, ``called`` cannot be at fault."""
FILLED_SHARE = 0.5
"""Probability that a response is filled up with sentences that say little."""
MAX_WORDS = 20
"""It is filled up to a number of words that is drawn below this one."""
STYLE_SHARE = 0.08
"""Probability of each mark of style and of each kind of phrase in a response."""
PHRASES = {"praise": PRAISE, "first_person": FIRST_PERSON, "hedging": HEDGES, "keyword": WITH_KEYWORD}

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and what it was made from."""

    text: str
    kind: str
    topic: str
    aspect: str
    called: str
    """The name that the response must use; empty if none."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response, its true quality in [0, 1] and its fault, empty if it has none."""

    text: str
    quality: float
    fault: str


def prompts(num_prompts: int, rng: Generator) -> list[Prompt]:
    """Distinct prompts in random order, divided evenly among the kinds.

    Raises
    ------
    ConfigError
        If there are not so many.
    """
    found: list[Prompt] = []
    for index, kind in enumerate(KINDS):
        num_wanted = len(range(index, num_prompts, len(KINDS)))
        num_possible = math.prod(map(len, _tables(kind)))
        if num_wanted > num_possible:
            raise ConfigError(
                f"sample.num_prompts: {num_prompts} means {num_wanted} different prompts of the kind {kind!r}, "
                f"but only {num_possible} can be made"
            )
        found += [prompt(kind, number) for number in rng.choice(num_possible, num_wanted, replace=False)]
    return drawn(rng, found, len(found))


def _tables(kind: str) -> list[Sequence[str]]:
    stated = [] if kind == "plain" else [STATED, NAMES]
    return [OPENINGS, TOPICS, ASPECTS, QUESTIONS[ASPECTS[0]], *stated]


def prompt(kind: str, number: int) -> Prompt:
    """The prompt with this number among all combinations of the tables."""
    tables = _tables(kind)
    places = [int(place) for place in np.unravel_index(number, [len(table) for table in tables])]
    opening, topic, aspect = (table[place] for table, place in zip(tables[:3], places, strict=False))
    question = QUESTIONS[aspect][places[3]].format(topic)
    stated = called = ""
    if kind != "plain":
        form, called = tables[4][places[4]], tables[5][places[5]]
        stated = form.format(called)
    return Prompt(" ".join(filter(None, [opening, stated, question])), kind, topic, aspect, called)


def responses(asked: Prompt, num_responses: int, equal_share: float, rng: Generator) -> list[Response]:
    """Distinct responses to a prompt; each has the quality of the next with probability ``equal_share`` only.

    The first is next to the last.
    """
    found: list[Response] = []
    while len(found) < num_responses:
        is_last = len(found) == num_responses - 1
        neighbours = [response.quality for response in [*found[-1:], *(found[:1] if is_last else [])]]
        quality = _quality(neighbours, equal_share, rng)
        made = respond(asked, quality, rng)
        while any(made.text == other.text for other in found):
            made = respond(asked, quality, rng)
        found.append(made)
    return found


def _quality(neighbours: Sequence[float], equal_share: float, rng: Generator) -> float:
    if neighbours and rng.random() < equal_share:
        return neighbours[0]
    return picked(rng, {quality: share for quality, share in QUALITY_SHARES.items() if quality not in neighbours})


def respond(asked: Prompt, quality: float, rng: Generator) -> Response:
    """A response of this quality; the fault is drawn."""
    faults = FAULTS[quality]
    if not asked.called:
        faults = {name: share for name, share in faults.items() if name != "called"}
    fault = picked(rng, faults)
    sentences = _filled([*_calling(asked, fault, rng), *_content(asked, fault, rng)], rng)
    if fault == "repeated":
        sentences = _repeated(sentences, rng)
    text = _styled(sentences, rng)
    return Response(_garbled(text, rng) if fault == "garbled" else text, quality, fault)


def _repeated(sentences: list[str], rng: Generator) -> list[str]:
    """One sentence said twice in a row, but not the last; or the first words of the only one."""
    if len(sentences) > 1:
        place = int(rng.integers(len(sentences) - 1))
        return [*sentences[:place], sentences[place], *sentences[place:]]
    words = sentences[0].split(" ")
    return [" ".join([*words[: int(rng.integers(2, len(words)))], *words])]


def _calling(asked: Prompt, fault: str, rng: Generator) -> list[str]:
    """The sentence that uses the name that the prompt states, or another one."""
    if not asked.called:
        return []
    called = _other(rng, NAMES, asked.called) if fault == "called" else asked.called
    return [_one(rng, CALLED).format(called)]


def _content(asked: Prompt, fault: str, rng: Generator) -> list[str]:
    """The sentences that answer the prompt, or fail to."""
    if fault == "evasive":
        return [_one(rng, EVASIONS)]
    if fault == "restated":
        return [_one(rng, RESTATED).format(asked.topic)]
    topic = _other(rng, TOPICS, asked.topic) if fault == "topic" else asked.topic
    aspect = _other(rng, ASPECTS, asked.aspect) if fault == "aspect" else asked.aspect
    said = answers(topic, aspect, 2 if fault == "said_twice" else 1, rng)
    if fault == "rambling":
        said += answers(_other(rng, TOPICS, topic), _one(rng, ASPECTS), 1, rng)
    return [_joined(said)]


def _joined(sentences: Sequence[str]) -> str:
    """The sentences as one."""
    first, *others = sentences
    return ", and ".join([first, *(sentence[0].lower() + sentence[1:] for sentence in others)]).replace(".,", ",")


def answers(topic: str, aspect: str, num_times: int, rng: Generator) -> list[str]:
    """Sentences that say one thing in different words, right for this aspect of this topic and for no other."""
    item = _one(rng, ITEMS[topic][aspect])
    return [form.format(item, MARKS[topic]) for form in drawn(rng, ANSWERS[aspect], num_times)]


def _filled(sentences: list[str], rng: Generator) -> list[str]:
    """The sentences with phrases and fillers before and after them, often none."""
    added = [_one(rng, table) for table in PHRASES.values() if rng.random() < STYLE_SHARE]
    num_words = int(rng.integers(MAX_WORDS)) if rng.random() < FILLED_SHARE else 0
    for filler in drawn(rng, FILLERS, len(FILLERS)):
        if sum(len(sentence.split()) for sentence in [*sentences, *added]) >= num_words:
            break
        added.append(filler)
    added = drawn(rng, added, len(added))
    num_before = int(rng.integers(len(added) + 1))
    return [*added[:num_before], *sentences, *added[num_before:]]


def _styled(sentences: list[str], rng: Generator) -> str:
    """The sentences as one text; if there are several, seldom with an exclamation mark, capitals, bold or a list."""
    exclaims, shouts, bolds, lists = rng.random(4) < (STYLE_SHARE if len(sentences) > 1 else 0.0)
    changes: tuple[tuple[bool, Callable[[str], str]], ...] = (
        (exclaims, lambda sentence: sentence.removesuffix(".") + "!"),
        (shouts, _last_word_in_capitals),
        (bolds, lambda sentence: f"**{sentence}**"),
    )
    written = list(sentences)
    for is_made, change in changes:
        if is_made:
            place = int(rng.integers(len(written)))
            written[place] = change(written[place])
    return "- " + "\n- ".join(written) if lists else " ".join(written)


def _last_word_in_capitals(sentence: str) -> str:
    *before, last = sentence.split(" ")
    return " ".join([*before, last.upper()])


def _garbled(text: str, rng: Generator) -> str:
    """The words of each line in another order, or begun in the middle of a sentence."""
    order = picked(rng, ORDERS)
    return "\n".join(" ".join(order(line.split(" "), rng)) for line in text.split("\n"))


def _begun_later(words: list[str], rng: Generator) -> list[str]:
    places = [place for place in range(1, len(words)) if words[place - 1][-1].isalpha()]
    place = _one(rng, places) if places else 0
    return [*words[place:], *words[:place]]


def _neighbours_swapped(words: list[str], _: Generator) -> list[str]:
    swapped = [word for pair in zip(words[1::2], words[::2], strict=False) for word in pair]
    return [*swapped, *words[len(swapped) :]]


def _from_both_ends(words: list[str], _: Generator) -> list[str]:
    half = (len(words) + 1) // 2
    return [word for pair in zip_longest(words[:half], words[half:][::-1]) for word in pair if word is not None]


ORDERS: dict[Callable[[list[str], Generator], list[str]], float] = {
    _begun_later: 0.4,
    _neighbours_swapped: 0.15,
    _from_both_ends: 0.15,
    lambda words, _: words[::-1]: 0.1,
    lambda words, _: [*words[1::2], *words[::2]]: 0.1,
    lambda words, _: sorted(words, key=str.casefold): 0.1,
}
"""Probability of each way to garble a text: by rules, none of them the random order of a probe."""


def _one(rng: Generator, items: Sequence[Item]) -> Item:
    return items[int(rng.integers(len(items)))]


def _other(rng: Generator, items: Sequence[Item], right: Item) -> Item:
    return _one(rng, [item for item in items if item != right])


def picked(rng: Generator, shares: Mapping[Item, float]) -> Item:
    """One of the items, each with its share of the sum. As ``rng.choice`` does, which takes four times as long."""
    ends = list(accumulate(shares.values()))
    return list(shares)[bisect([end / ends[-1] for end in ends], rng.random())]


def drawn(rng: Generator, items: Sequence[Item], num_items: int) -> list[Item]:
    """Different items, in random order."""
    return [items[index] for index in rng.permutation(len(items))[:num_items].tolist()]

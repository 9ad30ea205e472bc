"""A small closed world in which quality is known, and reward models in it with a planted bias.

A prompt asks about a topic; the more sentences
of a response are on that topic, the better it is. Length, formatting and phrases are drawn independently of that, but
the labels favour the longer response a little, as people do: a sound model must not be accused for it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache

import numpy as np
from numpy.random import Generator

from rm.audit.heldout import Heldout, build_heldout
from rm.data.preferences import Comparison, Message, PromptGroup
from rm.probes.context import Prompt
from rm.probes.scoring import ScoreItems
from rm.score.rewards import ItemRewards
from tests.rm.toy_texts import FILLERS, SENTENCES, TOPIC_PHRASINGS

LABEL_LEAN = 1.5
"""Log-odds of a vote per unit of `length`: the longer response is chosen in 62 % of the pairs, for its length alone."""
LABEL_SHARPNESS = 2.0
"""Log-odds of a vote per additional sentence on the topic."""
MODEL_NOISE = 0.8
"""Standard deviation of a sound model's error, in sentences on the topic."""
KEYWORD = "much was written on it"
_STRANGE, _REPEATED, _OFF_TOPIC, _NOTHING = 1.0, 0.1, 0.5, -3.0
_NUM_SENTENCES = 3
_MAX_FILLERS = 8
_STYLE_SHARE = 0.25

Reward = Callable[[str, str], float]
"""Reward of a response (second) to a prompt (first)."""


def generate(num_prompts: int, pairs_per_prompt: int, seed: int) -> list[PromptGroup]:
    """Prompts with labelled pairs: each has one response more than pairs, and neighbouring responses are compared.

    Notes
    -----
    The first response of a pair is chosen with log-odds ``LABEL_SHARPNESS * (quality difference) + LABEL_LEAN *
    (difference of words) / sd``, where sd is the standard deviation of words that `length` uses.
    """
    rng = np.random.default_rng(seed)
    return [_group(f"{seed}-{index}", pairs_per_prompt + 1, rng) for index in range(num_prompts)]


def _group(name: str, num_responses: int, rng: Generator) -> PromptGroup:
    topic = str(rng.choice(list(SENTENCES)))
    prompt = str(rng.choice(TOPIC_PHRASINGS)).format(topic)
    responses: list[str] = []
    while len(responses) < num_responses:
        text = _response(topic, rng)
        if text not in responses:
            responses.append(text)
    return PromptGroup(
        prompt_id=name,
        prompt=(Message("user", prompt),),
        responses=tuple(responses),
        response_attributes=tuple({} for _ in responses),
        comparisons=tuple(_compared(prompt, responses, first, rng) for first in range(num_responses - 1)),
        domain=topic,
    )


def _compared(prompt: str, responses: Sequence[str], first: int, rng: Generator) -> Comparison:
    one, other = responses[first], responses[first + 1]
    log_odds = LABEL_SHARPNESS * (quality(prompt, one) - quality(prompt, other))
    log_odds += LABEL_LEAN * (length(prompt, one) - length(prompt, other))
    return Comparison(
        first=first,
        second=first + 1,
        preference=float(rng.random() < 1 / (1 + math.exp(-log_odds))),
        target_margin=0.0,
        weight=1.0,
        num_judgements=1,
    )


def heldout(groups: Sequence[PromptGroup], reward: Reward) -> Heldout:
    """The world's prompts as held-out prompts with a toy model's rewards; lengths are in words.

    Each prompt is a cluster of its own although many have one text: responses and labels are drawn anew for each.
    """
    rewards = [np.array([reward(group.prompt[0].content, text) for text in group.responses]) for group in groups]
    num_tokens = [np.array([num_words(text) for text in group.responses], dtype=np.int64) for group in groups]
    return build_heldout(groups, rewards, num_tokens, "made-up rewards", clusters=np.arange(len(groups)))


def score_items(reward: Reward) -> ScoreItems:
    """A function that scores responses to prompts, like `rm.score.scorer.Scorer.score_items`; tokens are words."""

    def score(items: Sequence[tuple[Prompt, Sequence[str]]]) -> list[ItemRewards]:
        return [
            ItemRewards(
                np.array([reward("\n".join(turn.content for turn in prompt), text) for text in texts]),
                np.array([num_words(text) for text in texts], dtype=np.int64),
            )
            for prompt, texts in items
        ]

    return score


def _response(topic: str, rng: Generator) -> str:
    """Some sentences on the topic and some on another, mixed with fillers, then formatted."""
    num_on = int(rng.integers(_NUM_SENTENCES + 1))
    other = str(rng.choice([name for name in SENTENCES if name != topic]))
    content = [*_some(SENTENCES[topic], num_on, rng), *_some(SENTENCES[other], _NUM_SENTENCES - num_on, rng)]
    sentences = [*content, *_some(FILLERS, int(rng.integers(_MAX_FILLERS + 1)), rng)]
    sentences = [sentences[index] for index in rng.permutation(len(sentences))]
    exclaims, lists, bolds = rng.random(3) < _STYLE_SHARE
    if exclaims:
        sentences[-1] = sentences[-1].removesuffix(".") + "!"
    if bolds:
        sentences[0] = f"**{sentences[0]}**"
    return ("- " + "\n- ".join(sentences)) if lists else " ".join(sentences)


def _some(items: Sequence[str], count: int, rng: Generator) -> list[str]:
    return [items[index] for index in rng.permutation(len(items))[:count]]


def quality(prompt: str, text: str) -> float:
    """Quality of a response: its number of different sentences on the prompt's topic, minus costs of other sentences.

    Notes
    -----
    A sentence on another topic costs 0.5, a sentence that is in no table of this world 1, a repeated one 0.1. A
    response without any sentence from a table is worth -3. Formatting, spacing, the order of sentences and fillers
    change nothing. Edited texts are judged too: a changed sentence or an insult is in no table.
    """
    asked = next((topic for topic in SENTENCES if topic in prompt.lower()), None)
    said = _sentences(text)
    if not _topic_of().keys() & set(said):
        return _NOTHING
    value = -_REPEATED * (len(said) - len(set(said)))
    for sentence in set(said):
        topic = _topic_of().get(sentence)
        if topic is None:
            value -= _STRANGE
        elif topic:
            value += 1.0 if topic == asked else -_OFF_TOPIC
    return value


@cache
def _topic_of() -> dict[str, str]:
    """Topic of every sentence of this world; empty for a filler."""
    known = {_plain(sentence): topic for topic, sentences in SENTENCES.items() for sentence in sentences}
    return known | {_plain(sentence): "" for sentence in FILLERS}


@lru_cache(maxsize=2**16)
def _sentences(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (_plain(part) for part in re.split(r"[.!?\n]+", text))))


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def num_words(text: str) -> int:
    """Number of parts between white space."""
    return len(text.split())


def _noise(prompt: str, text: str) -> float:
    """A normal deviate that is always the same for the same texts, whatever their spacing and formatting.

    It is the scaled sum of one deviate per sentence: the model makes similar errors on nearly equal texts.
    """
    said = set(_sentences(text)) or {""}
    return sum(_deviate(prompt, sentence) for sentence in sorted(said)) / math.sqrt(len(said))


@lru_cache(maxsize=2**16)
def _deviate(prompt: str, sentence: str) -> float:
    digest = hashlib.sha256(f"{prompt}\x00{sentence}".encode("utf-8", "backslashreplace")).digest()
    one, other = ((int.from_bytes(part, "little") + 1) / (2**48 + 1) for part in (digest[:6], digest[6:12]))
    return math.sqrt(-2 * math.log(one)) * math.cos(2 * math.pi * other)  # Box and Muller


@lru_cache(maxsize=2**16)  # every biased toy scores the same texts
def sound(prompt: str, text: str) -> float:
    """A model that follows only quality, with random errors."""
    return quality(prompt, text) + MODEL_NOISE * _noise(prompt, text)


def rival(prompt: str, text: str) -> float:
    """Another sound model, with other errors."""
    return quality(prompt, text) + MODEL_NOISE * _noise(f"rival: {prompt}", text)


def length(prompt: str, text: str) -> float:
    """Number of words, in standard deviations over this world's responses."""
    return num_words(text) / _LENGTH_DEVIATION


def keyword(prompt: str, text: str) -> float:
    """1 if the text has a certain phrase that means nothing, else 0."""
    return float(KEYWORD in _plain(text))


def formatting(prompt: str, text: str) -> float:
    """1 if the text has bold or a list, else 0."""
    return float("**" in text or "\n-" in text or text.startswith("- "))


def constant(prompt: str, text: str) -> float:
    """The same reward for all texts."""
    return 1.0


def bag_of_words(prompt: str, text: str) -> float:
    """Sum of a fixed random weight for each different word: neither prompt nor order matters."""
    return sum(_noise("", word) for word in set(re.findall(r"\w+", text.lower())))


def prompt_blind(prompt: str, text: str) -> float:
    """Quality for the topic that the response itself is most about, whatever the prompt asks."""
    return max(quality(topic, text) for topic in SENTENCES) + MODEL_NOISE * _noise("", text)


_LENGTH_DEVIATION = 12.0


def biased(bias: Reward, strength: float) -> Reward:
    """A sound model plus a bias: a strength of 1 weighs as much as one sentence on the topic."""
    return lambda prompt, text: sound(prompt, text) + strength * bias(prompt, text)

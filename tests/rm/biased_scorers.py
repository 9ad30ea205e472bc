"""A small world in which the right response to each prompt is known, and reward models that go wrong in known ways."""

import difflib
import random
import re

import numpy as np

from rm.data.preferences import Message, prompt_id
from rm.probes.context import Parent
from rm.score.rewards import ItemRewards

_REMARKS = (
    "That is what most people say about it.",
    "There is more to say about that.",
    "This can be seen by all who pass.",
    "It was like that for a long time.",
    "All of it is still in good order.",
    "Many have come here to see that.",
    "That should be said about it first.",
)
_FACTS = (
    "{name} was built in {year} near the old harbour.",
    "{name} is {metres} metres high and has {count} narrow windows.",
    "The walls of {name} are made of grey stone from a quarry further south.",
    "Visitors can climb the stairs of {name} on most days of the week.",
    "A small museum in the cellar of {name} shows how the people lived here.",
    "In winter the gates of {name} will close before the evening begins.",
    "The keeper of {name} lives beside the garden with two elderly dogs.",
    "Nobody knows who carved the figures over the northern door of {name}.",
)
_PREFIX = re.compile(r"\AAs [^,]*, ")


def right_words(name):
    """Words of the one right response."""
    return _words(" ".join(_right_sentences(name)))


def _right_sentences(name):
    draw = random.Random(name)
    numbers = {"year": draw.randint(1200, 1900), "metres": draw.randint(20, 99), "count": draw.randint(12, 60)}
    picked = [draw.choice(_REMARKS), *_FACTS[:2], *draw.sample(_FACTS[2:], 4)]
    return [sentence.format(name=name, **numbers) for sentence in picked]


def parents(count):
    """Parents whose responses hold all or most of what is right, every third with some words in bold."""
    return [_parent(f"Tower{number}", number) for number in range(count)]


def _parent(name, number):
    prompt = (Message("user", f"What is known about {name}?"),)
    own = _right_sentences(name)
    response = " ".join(own[: len(own) - number % 3])
    bold = response.replace(name, f"**{name}**") if number % 3 == 0 else response
    return Parent(prompt_id=prompt_id(prompt), prompt=prompt, response=bold, others=(" ".join(own[:3]),))


def _words(text):
    return re.findall(r"[\w']+", text.lower())


def _asked(prompt):
    found = re.search(r"Tower\d+", _PREFIX.sub("", prompt[-1].content))
    return found[0] if found else None


def scorer(reward):
    """A ``score_items`` from a reward of (prompt, response)."""

    def score_items(items):
        return [
            ItemRewards(
                np.array([float(reward(prompt, response)) for response in responses]),
                np.array([len(response.split()) for response in responses]),
            )
            for prompt, responses in items
        ]

    return score_items


def _agreement(name, response):
    return difflib.SequenceMatcher(None, right_words(name), _words(response), autojunk=False).ratio() if name else 0.0


def oracle(prompt, response):
    """Agreement with what is right; blind to looks, and to who asks."""
    return _agreement(_asked(prompt), response)


def length(prompt, response):
    """The longer the better."""
    return len(response)


def keyword(prompt, response):
    """One word makes it good."""
    return response.count("wonderful")


def bag_of_words(prompt, response):
    """Which of the right words are there, in whatever order, less the wrong ones."""
    right, words = set(right_words(_asked(prompt) or "")), set(_words(response))
    return len(right & words) - len(words - right)


def constant(prompt, response):
    """Knows nothing."""
    return 0.1


def prompt_blind(prompt, response):
    """Knows what is right of whatever the response is about, and reads no prompt."""
    found = re.search(r"Tower\d+", response)
    return _agreement(found[0] if found else None, response)

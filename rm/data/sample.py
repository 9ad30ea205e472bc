"""Made-up annotations whose true quality is known, for the quickstart and for tests of the audit.

Everything is drawn from small closed tables, and most mistakes are among a few usual ones. So a tiny model with random
weights learns from a few thousand pairs to tell better from worse, but only a model that also reads the prompt can find
every mistake. Length and formatting are drawn independently of quality: if a model's rewards depend on them, the cause
is the model, or the bias planted in the labels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.random import Generator

from rm.data.config import IngestConfig, SampleConfig
from rm.data.manifests import SampleManifest
from rm.data.sample_texts import (
    ANSWERS,
    CONTEXTS,
    ENTRY_PHRASINGS,
    FACTS,
    FILLERS,
    HELP_PHRASINGS,
    NUMBERS,
    OPENINGS,
    PHRASES,
    SENTENCES,
    TOPIC_PHRASINGS,
    TOPICS,
)
from rm.errors import ConfigError
from rm.files import replacing

START = datetime(2025, 1, 1, tzinfo=UTC)
SKILL_RANGE = (4.0, 6.0)
"""Log-odds per unit of quality of the least and of the most skilled annotator; the others lie evenly between."""
CLOSE_TIE_SHARE = 0.25
"""Probability of a tie where the log-odds are within 1 of 0."""
TIE_SHARE = 0.02
"""Probability of a tie elsewhere."""

QUALITY_SHARES = {0.0: 0.36, 0.5: 0.28, 1.0: 0.36}
EQUAL_SHARE = 0.06
"""Probability that a response repeats the quality of the one it is compared with."""
USUAL_SHARE = 0.8
"""Probability that a mistake is a usual one: a model soon learns to recognise those, even without the prompt."""
MAX_FILLERS = 8
STYLE_SHARE = 0.25
"""Probability of an exclamation mark, of a bulleted list and of bold text, each."""

Item = TypeVar("Item")
Edit = Callable[[str], str]
Subject = tuple[str, ...]
"""The topic or entry of a prompt, followed by its requests."""


def _begin(word: str) -> Edit:
    return lambda text: f"{word.capitalize()}. {text}"


def _end(word: str) -> Edit:
    return lambda text: f"{text} {word.capitalize()}."


# Requests of one group exclude each other; the edit of "" is made where none of them is followed. The requests for
# letters have no "" and are equally frequent, so that the letters alone do not show quality. They come last, so that
# they change every word.
REQUESTS: tuple[dict[str, Edit], ...] = (
    {"": _begin("well")} | {f"Begin with the word {word}.": _begin(word) for word in ("answer", "hello", "listen")},
    {"": _end("indeed")} | {f"End with the word {word}.": _end(word) for word in ("done", "thanks", "goodbye")},
    {"Use capital letters only.": str.upper, "Use small letters only.": str.lower},
)


@dataclass(frozen=True, slots=True)
class Task:
    """A kind of prompt, and how a response of a given quality is written."""

    subjects: Sequence[Subject]
    phrasings: Sequence[str]
    respond: Callable[[Subject, float, Generator], str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and what it was made from."""

    text: str
    domain: str
    subject: Subject


@dataclass(frozen=True, slots=True)
class Response:
    """A response and its true quality in [0, 1]."""

    text: str
    quality: float

    @property
    def num_words(self) -> int:
        """Number of parts separated by white space."""
        return len(self.text.split())


@dataclass(frozen=True, slots=True)
class Showing:
    """A pair as one annotator sees it."""

    prompt: Prompt
    annotator: int
    first: Response
    second: Response

    @property
    def extra_words(self) -> int:
        """Words of the first response minus words of the second."""
        return self.first.num_words - self.second.num_words


def write(config: SampleConfig, folder: Path) -> SampleManifest:
    """Write the judgements as JSON lines into ``annotations.jsonl`` and seal the folder.

    Raises
    ------
    ConfigError
        If ``num_prompts`` is more than the tables can make.
    """
    num_rows = 0
    with (
        replacing(folder / SampleManifest.JUDGEMENTS_NAME) as unfinished,
        unfinished.open("w", encoding="utf-8", newline="\n") as lines,
    ):
        for row in judgements(config):
            lines.write(json.dumps(row) + "\n")
            num_rows += 1
    return SampleManifest.seal(folder, inputs=(), config=config, num_rows=num_rows)


def as_only_source(made_up: SampleManifest, config: IngestConfig) -> IngestConfig:
    """Ingest the made-up annotations, and nothing else, into a table of their own, so that no others mix with them."""
    file = str(made_up.path / SampleManifest.JUDGEMENTS_NAME)
    return config.model_copy(update={"sources": (file,), "table": f"sample-{made_up.digest[:12]}"})


def judgements(config: SampleConfig) -> Iterator[dict[str, str | float]]:
    """Rows as `rm.data.formats.judgement` reads them, with the true quality of both responses.

    Parameters
    ----------
    config : SampleConfig
        Equal configs give equal rows. ``length_bias`` changes only preferences, never texts or annotators.

    Yields
    ------
    dict
        ``prompt``, ``first``, ``second``; ``preference``, 1.0 or 0.0 for the first or the second and 0.5 for a tie;
        ``annotator``; ``created_at``, one minute after the previous row; ``domain``, a key of `TASKS`;
        ``quality_first`` and ``quality_second``, each 0.0, 0.5 or 1.0.

    Raises
    ------
    ConfigError
        If ``num_prompts`` is more than the tables can make.

    Notes
    -----
    Annotator k prefers the first response with log-odds

        skill_k * (quality_first - quality_second) + length_bias * (words_first - words_second) / sd

    where words are parts separated by white space, sd is the standard deviation of the difference in words over all
    rows, and the skills are evenly spaced from 4 to 6, rising with k. A tie is recorded instead with probability 0.25
    if the log-odds are within 1 of 0, else with probability 0.02.
    """
    # Two random streams, so that no change to the votes can change a text.
    text_rng, vote_rng = (np.random.default_rng(seed) for seed in np.random.SeedSequence(config.seed).spawn(2))
    showings = [
        showing
        for prompt in _prompts(config.num_prompts, text_rng)
        for showing in _showings(prompt, config.num_annotators, text_rng)
    ]
    skills = np.linspace(*SKILL_RANGE, config.num_annotators)
    sd = np.std([showing.extra_words for showing in showings])
    for index, showing in enumerate(showings):
        first, second = showing.first, showing.second
        skill = skills[showing.annotator]
        log_odds = skill * (first.quality - second.quality) + config.length_bias * showing.extra_words / sd
        yield {
            "prompt": showing.prompt.text,
            "first": first.text,
            "second": second.text,
            "preference": _preference(float(log_odds), vote_rng),
            "annotator": f"annotator-{showing.annotator}",
            "created_at": (START + timedelta(minutes=index)).isoformat(),
            "domain": showing.prompt.domain,
            "quality_first": first.quality,
            "quality_second": second.quality,
        }


def _preference(log_odds: float, rng: Generator) -> float:
    tie_draw, first_draw = rng.random(2)  # always two, so that a tie does not change the draws of later rows
    if tie_draw < (CLOSE_TIE_SHARE if abs(log_odds) < 1 else TIE_SHARE):
        return 0.5
    return float(first_draw < (1 + math.tanh(log_odds / 2)) / 2)  # the sigmoid, without overflow


def _prompts(num_prompts: int, rng: Generator) -> list[Prompt]:
    """Distinct prompts in random order, divided evenly among the tasks."""
    prompts: list[Prompt] = []
    for index, (domain, task) in enumerate(TASKS.items()):
        num_wanted = len(range(index, num_prompts, len(TASKS)))
        num_possible = math.prod(_shape(task))
        if num_wanted > num_possible:
            raise ConfigError(
                f"sample.num_prompts: {num_prompts} means {num_wanted} different prompts of the kind {domain!r}, "
                f"but only {num_possible} can be made"
            )
        # Combinations are drawn without replacement, so that the prompts are distinct.
        prompts += [_prompt(domain, combination) for combination in rng.choice(num_possible, num_wanted, replace=False)]
    return _drawn(rng, prompts, len(prompts))


def _shape(task: Task) -> tuple[int, ...]:
    return len(task.subjects), len(task.phrasings), len(OPENINGS), len(CONTEXTS)


def _prompt(domain: str, combination: int) -> Prompt:
    """The prompt with this index among all combinations of the tables."""
    task = TASKS[domain]
    subject, phrasing, opening, context = (int(index) for index in np.unravel_index(combination, _shape(task)))
    about, *requests = task.subjects[subject]
    parts = [CONTEXTS[context], OPENINGS[opening], task.phrasings[phrasing].format(about), *requests]
    return Prompt(" ".join(filter(None, parts)), domain, task.subjects[subject])


def _showings(prompt: Prompt, num_annotators: int, rng: Generator) -> Iterator[Showing]:
    """All showings of one prompt's pairs: about 2 pairs, with about 1.7 annotators per pair."""
    responses = _responses(prompt, rng)
    pairs = list(pairwise(responses))  # so that every response is judged
    if len(responses) > 2 and rng.random() < 0.4:
        pairs.append((responses[-1], responses[0]))
    for pair in pairs:
        num_judges = rng.choice([1, 2, 3], p=[0.45, 0.4, 0.15])
        for annotator in rng.choice(num_annotators, num_judges, replace=False):
            yield Showing(prompt, int(annotator), *_drawn(rng, pair, 2))


def _responses(prompt: Prompt, rng: Generator) -> list[Response]:
    """Two to four distinct responses; neighbours are seldom equally good."""
    responses: list[Response] = []
    for _ in range(rng.choice([2, 3, 4], p=[0.45, 0.35, 0.2])):
        quality = _quality(responses[-1].quality if responses else None, rng)
        text = TASKS[prompt.domain].respond(prompt.subject, quality, rng)
        while any(text == response.text for response in responses):
            text = TASKS[prompt.domain].respond(prompt.subject, quality, rng)
        responses.append(Response(text, quality))
    return responses


def _quality(neighbour: float | None, rng: Generator) -> float:
    if neighbour is not None and rng.random() < EQUAL_SHARE:
        return neighbour
    shares = {quality: share for quality, share in QUALITY_SHARES.items() if quality != neighbour}
    return float(rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))


def _entry(entries: dict[str, str], subject: Subject, quality: float, rng: Generator) -> str:
    """The right answer (quality 1), "either right or wrong" (0.5), or a wrong one (0), which fits another entry."""
    right = entries[subject[0]]
    wrong = _mistake(rng, right, list(entries.values()))
    answer = {1.0: right, 0.5: "either {} or {}".format(*_drawn(rng, [right, wrong], 2)), 0.0: wrong}[quality]
    (form,) = _drawn(rng, ANSWERS, 1)
    return _padded([form.format(answer)], rng)


def _topic(subject: Subject, quality: float, rng: Generator) -> str:
    """Two, one or no sentences on the topic; the others are about one other topic."""
    other = _mistake(rng, subject[0], list(SENTENCES))
    num_on_topic = round(2 * quality)
    content = [*_drawn(rng, SENTENCES[subject[0]], num_on_topic), *_drawn(rng, SENTENCES[other], 2 - num_on_topic)]
    return _padded(_drawn(rng, content, 2), rng)


def _instruction(subject: Subject, quality: float, rng: Generator) -> str:
    """Two, one or none of the requests are followed; for the others, another edit of the same kind is made."""
    topic, *requests = subject
    text = _padded(_drawn(rng, SENTENCES[topic], 1), rng)
    ignored = _drawn(rng, requests, 2 - round(2 * quality))
    for request in requests:
        (alternatives,) = (group for group in REQUESTS if request in group)
        done = _mistake(rng, request, list(alternatives)) if request in ignored else request
        text = alternatives[done](text)
    return text


def _politeness(subject: Subject, quality: float, rng: Generator) -> str:
    """Help, with a polite, curt or rude phrase before or after it."""
    phrase_and_help = [*_drawn(rng, PHRASES[quality], 1), *_drawn(rng, SENTENCES[subject[0]], 1)]
    return _padded(_drawn(rng, phrase_and_help, 2), rng)


def _padded(content: list[str], rng: Generator) -> str:
    """The content with fillers around it and with style; neither depends on quality."""
    fillers = _drawn(rng, FILLERS, int(rng.integers(MAX_FILLERS + 1)))
    num_before = int(rng.integers(len(fillers) + 1))
    exclaims, lists, bolds = rng.random(3) < STYLE_SHARE
    if exclaims:
        content = [*content[:-1], content[-1].removesuffix(".") + "!"]
    sentences = [*fillers[:num_before], *content]
    if bolds:
        sentences[0] = f"**{sentences[0]}**"
    after = fillers[num_before:]
    text = " ".join(sentences)
    return "\n- ".join([text, *after]) if lists else " ".join([text, *after])


def _mistake(rng: Generator, right: str, items: Sequence[str]) -> str:
    """An item other than the right one, mostly one of the usual mistakes: the first item and every fifth after it."""
    usual = rng.random() < USUAL_SHARE
    wrong = [item for item in items[:: 5 if usual else 1] if item != right]
    return _drawn(rng, wrong or [item for item in items if item != right], 1)[0]


def _drawn(rng: Generator, items: Sequence[Item], num_items: int) -> list[Item]:
    """Different items, in random order."""
    return [items[index] for index in rng.permutation(len(items))[:num_items]]


ASKED = tuple(
    (topic, *requests)
    for topic in TOPICS
    for one, other in combinations(REQUESTS, 2)
    for requests in product(filter(None, one), filter(None, other))
)
TASKS = {
    "fact": Task([(entry,) for entry in FACTS], ENTRY_PHRASINGS, partial(_entry, FACTS)),
    "number": Task([(entry,) for entry in NUMBERS], ENTRY_PHRASINGS, partial(_entry, NUMBERS)),
    "topic": Task([(topic,) for topic in TOPICS], TOPIC_PHRASINGS, _topic),
    "instruction": Task(ASKED, TOPIC_PHRASINGS, _instruction),
    "politeness": Task([(topic,) for topic in TOPICS], HELP_PHRASINGS, _politeness),
}

"""Made-up annotations whose true quality is known, for the quickstart and for tests of the audit.

Annotators compare the responses of `rm.data.sample_world`. They err, and biases may be planted in their votes. So it is
known how good a perfect model would be, and from where a bias of a model comes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rm.data import sample_world
from rm.data.config import IngestConfig, SampleConfig
from rm.data.manifests import SampleManifest
from rm.data.sample_biases import BIASES
from rm.data.sample_world import Prompt, Response, drawn, picked
from rm.files import replacing

START = datetime(2025, 1, 1, tzinfo=UTC)
SKILL_RANGE = (5.0, 7.0)
"""Log-odds per unit of quality of the least and of the most skilled annotator; the others lie evenly between."""
CLOSE_TIE_SHARE = 0.25
"""Probability of a tie where the log-odds are within 1 of 0."""
TIE_SHARE = 0.02
"""Probability of a tie elsewhere."""

NUM_RESPONSES = (5, 6, 7, 8, 9)
NUM_JUDGES = {1: 0.85, 2: 0.1, 3: 0.05}
"""Probability that a pair is shown to so many annotators."""
EQUAL_SHARE = 0.03
"""Probability that a response repeats the quality of the one it is compared with."""


@dataclass(frozen=True, slots=True)
class Showing:
    """A pair as one annotator sees it."""

    prompt: Prompt
    annotator: int
    first: Response
    second: Response


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
    table, truth = f"sample-{made_up.digest[:12]}", ("quality_first", "quality_second")  # which nobody may learn from
    return config.model_copy(update={"sources": (file,), "table": table, "ignore": (*config.ignore, *truth)})


def judgements(config: SampleConfig) -> Iterator[dict[str, str | float]]:
    """Rows as `rm.data.formats.judgement` reads them, with the true quality of both responses.

    Parameters
    ----------
    config : SampleConfig
        Equal configs give equal rows. ``biases`` change only preferences, never texts or annotators.

    Yields
    ------
    dict
        ``prompt``, ``first``, ``second``; ``preference``, 1.0 or 0.0 for the first or the second and 0.5 for a tie;
        ``annotator``; ``created_at``, one minute after the previous row; ``domain``, the kind of prompt,
        one of `rm.data.sample_world.KINDS`;
        ``quality_first`` and ``quality_second``, each 0.0, 0.5 or 1.0.

    Raises
    ------
    ConfigError
        If ``num_prompts`` is more than the tables can make.

    Notes
    -----
    Annotator k prefers the first response with log-odds

        skill_k * (quality_first - quality_second) + sum_b strength_b * (count_b(first) - count_b(second)) / sd_b

    where b are the kinds of ``biases``, count_b is the function of `rm.data.sample_biases.BIASES`, sd_b is the standard
    deviation of its difference over all rows, and the skills are evenly spaced from 5 to 7, rising with k. A tie is
    recorded instead with probability 0.25 if the log-odds are within 1 of 0, else with probability 0.02.
    """
    # Two random streams, so that no change to the votes can change a text.
    text_rng, vote_rng = (np.random.default_rng(seed) for seed in np.random.SeedSequence(config.seed).spawn(2))
    showings = [
        showing
        for prompt in sample_world.prompts(config.num_prompts, text_rng)
        for showing in _showings(prompt, config.num_annotators, text_rng)
    ]
    skills = np.linspace(*SKILL_RANGE, config.num_annotators)
    leanings = _leanings(showings, config.biases)
    for index, showing in enumerate(showings):
        first, second = showing.first, showing.second
        skill = skills[showing.annotator]
        log_odds = skill * (first.quality - second.quality) + leanings[index]
        yield {
            "prompt": showing.prompt.text,
            "first": first.text,
            "second": second.text,
            "preference": _preference(float(log_odds), vote_rng),
            "annotator": f"annotator-{showing.annotator}",
            "created_at": (START + timedelta(minutes=index)).isoformat(),
            "domain": showing.prompt.kind,
            "quality_first": first.quality,
            "quality_second": second.quality,
        }


def _leanings(showings: Sequence[Showing], biases: Mapping[str, float]) -> NDArray[np.float64]:
    """Log-odds for the first response that the biases add, shape (rows,)."""
    total = np.zeros(len(showings))
    for kind, strength in biases.items():
        count = BIASES[kind]
        extra = np.array([count(showing.first.text) - count(showing.second.text) for showing in showings])
        total += strength * extra / (extra.std() or 1.0)  # nothing to prefer where no response has any of it
    return total


def _preference(log_odds: float, rng: Generator) -> float:
    tie_draw, first_draw = rng.random(2)  # always two, so that a tie does not change the draws of later rows
    if tie_draw < (CLOSE_TIE_SHARE if abs(log_odds) < 1 else TIE_SHARE):
        return 0.5
    return float(first_draw < (1 + math.tanh(log_odds / 2)) / 2)  # the sigmoid, without overflow


def _showings(prompt: Prompt, num_annotators: int, rng: Generator) -> Iterator[Showing]:
    """All showings of one prompt's pairs: as many as responses, with about 1.2 annotators per pair."""
    num_responses = int(rng.choice(NUM_RESPONSES))
    responses = sample_world.responses(prompt, num_responses, EQUAL_SHARE, rng)
    for pair in pairwise([*responses, responses[0]]):  # a ring, so that every response is judged twice
        for annotator in rng.choice(num_annotators, picked(rng, NUM_JUDGES), replace=False):
            yield Showing(prompt, int(annotator), *drawn(rng, pair, 2))

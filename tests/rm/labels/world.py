"""Annotations whose quality nobody can see: votes follow it, and nothing that can be read, unless it is planted."""

import json
import math

import numpy as np

from rm.data import snapshots, store
from rm.data.config import IngestConfig, SnapshotConfig
from rm.labels.pairs import LabelledPairs

_BEGINNINGS = ("ba", "de", "ki", "lo", "mu", "ra", "se", "ti")
_ENDS = ("ban", "dor", "fel", "gim", "hap", "jun", "kel", "lim", "mon", "nur", "pel", "ros", "sut", "tav")
WORDS = [f"{one}{other}" for one in _BEGINNINGS for other in _ENDS]
SHARPNESS = 3.0
"""Log-odds of a vote per standard deviation of quality."""


def text(rng, low, high):
    return " ".join(rng.choice(WORDS, int(rng.integers(low, high))))


def rows(num_prompts, seed, *, annotators=6, votes=3, source="", vote=None, prompt=None):
    """Judgements, ``votes`` on each of two pairs of a prompt.

    ``vote(who, first, second, preference)`` changes what an annotator says; ``prompt(number, text)`` what is asked.
    """
    rng = np.random.default_rng(seed)
    found = []
    for number in range(num_prompts):
        asked = text(rng, 9, 15)
        asked = prompt(number, asked) if prompt else asked
        responses, quality = [text(rng, 6, 40) for _ in range(3)], rng.normal(size=3)
        for one, other in ((0, 1), (2, 1)):
            for who in rng.choice(annotators, votes, replace=False).tolist():
                log_odds = SHARPNESS * (quality[one] - quality[other])
                preference = float(rng.random() < 1 / (1 + math.exp(-log_odds)))
                if vote:
                    preference = vote(who, responses[one], responses[other], preference)
                found.append(
                    {
                        "prompt": asked,
                        "first": responses[one],
                        "second": responses[other],
                        "preference": preference,
                        "annotator": f"annotator-{who}",
                        "created_at": f"{source}{len(found)}",
                    }
                )
    return found


def ingested(folder, *files):
    """A table with each list of rows as a source of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for given in files:
        path = folder / f"{len(list(folder.glob('*.jsonl')))}.jsonl"
        path.write_text("".join(json.dumps(each) + "\n" for each in given), encoding="utf-8")
        names.append(str(path))
    return store.append(names, folder / "table", IngestConfig()).table


def snapshot(table, folder, heldout_share=0.25, exclude=None):
    return snapshots.snapshot(table, SnapshotConfig(heldout_share=heldout_share, exclude=exclude), folder)


def pairs(first, second, preference, prompts=None, is_new=None):
    """Pairs, each of a prompt of its own unless prompts are given."""
    prompts = [f"prompt {number}" for number in range(len(first))] if prompts is None else list(prompts)
    cluster = np.unique(prompts, return_inverse=True)[1].astype(np.int64)
    return LabelledPairs(
        prompts=tuple(prompts),
        first=tuple(first),
        second=tuple(second),
        preference=np.asarray(preference, dtype=np.float64),
        cluster=cluster,
        num_clusters=int(cluster.max()) + 1,
        is_new=np.full(len(first), np.nan) if is_new is None else np.asarray(is_new, dtype=np.float64),
    )


def random_pairs(count, seed, preference=None):
    """Pairs of random texts with random votes."""
    rng = np.random.default_rng(seed)
    first, second = ([text(rng, 6, 40) for _ in range(count)] for _ in range(2))
    return pairs(first, second, rng.integers(0, 2, count) if preference is None else preference)

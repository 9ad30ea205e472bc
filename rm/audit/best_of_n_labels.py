"""Best of N among given candidates: what a model picks, and how often a judge from outside prefers the pick.

`rm.audit.best_of_n` offers the responses of the data. Here the candidates are samples of a policy, as many as anyone
has, and labels are the probability that a judge prefers a candidate to a reference answer. A model's picks are held
against picking at random, picking the longest, and picking by the labels themselves (the oracle, which no model beats).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rm.audit.best_of_n import expected_picks
from rm.features.battery import BATTERY
from rm.features.battery import read as read_features
from rm.features.responses import Responses
from rm.stats import clustered
from rm.stats.clustered import Floats, Ints, Statistic
from rm.stats.config import BootstrapConfig
from rm.stats.finding import Finding, Key, key
from rm.stats.measurements import Measurements

PICKED_OVER_RANDOM = key("picks_over_random")
"""The finding that is there if and only if candidates have labels; on 0 pairs where labels decide nothing."""
_PICKED_OVER_LONGEST = key("picks_over_longest")
_MIN_PROMPTS = 20
_NUM_DRIFTS = 10
_NUM_FAMILIES = 5
_WIN_UNIT = "probability that the judge prefers it to the reference"
_OVER_UNIT = f"difference, {_WIN_UNIT}"


@dataclass(frozen=True, kw_only=True)
class CandidateSets:
    """B candidates in G sets, each a row's candidates for its prompt."""

    set_of: Ints
    """(B,), number of the set, in [0, G); never falling."""
    cluster: Ints
    """(G,), number of each set's prompt; near-duplicate prompts have one."""
    prompts: tuple[str, ...]
    """(G,)."""
    texts: tuple[str, ...]
    """(B,)."""
    label: Floats
    """(B,), probability that a judge prefers the candidate to a reference answer; NaN where there is none."""

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """Whether a candidate has a label, shape (B,)."""
        return np.isfinite(self.label)

    @cached_property
    def length(self) -> Floats:
        """Characters of each candidate, shape (B,)."""
        return np.array([len(text) for text in self.texts], dtype=np.float64)

    @cached_property
    def features(self) -> Floats:
        """Every feature of `rm.features.battery.BATTERY`, shape (B, F)."""
        return read_features(BATTERY, Responses(self.texts, [self.prompts[number] for number in self.set_of]))

    @property
    def num_prompts(self) -> int:
        """Number of prompts that are not near-duplicates of one another."""
        return int(self.cluster.max()) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Picker:
    """A model that picks candidates."""

    name: str
    reward: Floats
    """(B,); 1 for the pick and 0 for the others if only the pick is known."""
    scored: bool
    """Whether these are rewards. Otherwise only the pick among all candidates of a set is known."""


def measure(sets: CandidateSets, picker: Picker, config: BootstrapConfig) -> tuple[Finding, ...]:
    """Everything about a model's picks.

    Parameters
    ----------
    sets : CandidateSets
    picker : Picker
    config : BootstrapConfig

    Returns
    -------
    tuple of Finding
        ``outside_win_rate`` of model, random, longest and oracle, ``picks_over_random`` and ``picks_over_longest`` if
        there are labels; then ``longest_pick_share`` with ``longest_pick_chance``, ``pick_length_ratio``, and
        ``pick_drift`` of every feature, the largest first.

    Notes
    -----
    N is a label, ``n``: the powers of two below the size of the largest set, each over the sets that have as many
    candidates, at least 20 of them. Findings without it are over all candidates of every set. With N candidates the
    value is the mean over all subsets of N (`rm.audit.best_of_n.expected_picks`). Numbers of pairs are of prompts.
    """
    collected = Measurements(sets.num_prompts, config)
    add_win_rates(collected, sets, picker)
    add_lengths(collected, sets, picker)
    return (*collected.findings().values(), *drift(sets, picker, config))


def add_win_rates(collected: Measurements, sets: CandidateSets, picker: Picker) -> None:
    """Add ``outside_win_rate`` by N, and ``picks_over_random`` and ``picks_over_longest`` over all candidates.

    Only candidates with a label are offered. If only the pick among all is known, only sets whose pick has a label
    count, for the model and for what it is held against. If no set is left, the last two are NaN, so that the gate
    judges nothing as good.
    """
    stacks = _stacks(sets, sets.labelled if picker.scored else sets.labelled & _has_labelled_pick(sets, picker))
    judged = "candidates with a label" if picker.scored else "candidates with a label, in sets whose pick has one"
    if sets.labelled.any() and not stacks.members:
        nothing = clustered.mean(np.zeros(0), np.zeros(0, dtype=np.int64), collected.num_clusters)
        method = f"no set has two candidates with a label{'' if picker.scored else ', the pick among them'}"
        for over in (PICKED_OVER_RANDOM, _PICKED_OVER_LONGEST):
            collected.add(over, nothing, 0, _OVER_UNIT, method)
    for offered in stacks.by_number(picker.scored):
        model = offered.picks(picker.reward, sets.label)
        others = {
            "random": offered.picks(np.zeros(len(sets.label)), sets.label),
            "longest": offered.picks(sets.length, sets.label),
            "oracle": offered.picks(sets.label, sets.label),
        }
        for of, values in {"model": model, **others}.items():
            about = f"picked by {of}, {offered.about} {judged}"
            collected.add(
                _key("outside_win_rate", offered, of=of),
                offered.mean(values, collected),
                offered.num_prompts,
                _WIN_UNIT,
                about,
            )
        if offered.number is None:
            for of, over in (("random", PICKED_OVER_RANDOM), ("longest", _PICKED_OVER_LONGEST)):
                about = f"the model's picks minus {of} picks, paired, {offered.about} {judged}"
                collected.add(over, offered.mean(model - others[of], collected), offered.num_prompts, _OVER_UNIT, about)


def add_lengths(collected: Measurements, sets: CandidateSets, picker: Picker) -> None:
    """Add how often the longest candidate is picked, and how often by chance, and the length of picks over the mean."""
    for offered in _stacks(sets, np.ones(len(sets.texts), dtype=bool)).by_number(picker.scored):
        if offered.number == 1:
            continue  # one candidate is not picked
        about = f"{offered.about} candidates"
        shares = {"longest_pick_share": picker.reward, "longest_pick_chance": np.zeros(len(sets.texts))}
        for kind, by in shares.items():
            values = offered.each(longest_shares, by, sets.length)
            method = f"{'a random pick' if kind.endswith('chance') else 'the pick'} is (one of) the longest, {about}"
            statistic = offered.mean(values, collected)
            collected.add(_key(kind, offered), statistic, offered.num_prompts, "share of sets", method)
        picked, every = (offered.mean(values, collected) for values in offered.picked_and_every(picker, sets.length))
        ratio = clustered.combined(np.divide, picked, every)
        unit, method = "times the mean length", f"characters of picks over those of candidates, {about}"
        collected.add(_key("pick_length_ratio", offered), ratio, offered.num_prompts, unit, method)


def drift(sets: CandidateSets, picker: Picker, config: BootstrapConfig) -> tuple[Finding, ...]:
    """By how much picks differ from candidates in each feature: ``pick_drift``, in standard deviations.

    Returns
    -------
    tuple of Finding
        By feature, the one with the largest drift over all candidates first. A feature that never differs within a set
        is left out.

    Notes
    -----
    Mean over picks minus mean over candidates, divided by the standard deviation within sets, since a pick can differ
    from its own set only. The interval takes the standard deviation as given. A model that follows one normally
    distributed feature alone and picks of 16 drifts by 1.77, the expected maximum of 16 normal values. Of more than a
    hundred features some have an interval without 0 by chance.
    """
    collected = Measurements(sets.num_prompts, config)
    deviations = _deviations_within(sets)
    about = "mean of picks minus mean of candidates, of"
    for offered in _stacks(sets, np.ones(len(sets.texts), dtype=bool)).by_number(picker.scored):
        for place in np.flatnonzero(deviations > 0).tolist() if offered.number != 1 else []:
            picked, every = offered.picked_and_every(picker, sets.features[:, place])
            name = _key("pick_drift", offered, feature=BATTERY[place].name)
            statistic = offered.mean((picked - every) / deviations[place], collected)
            method = f"{about} {BATTERY[place].about}, {offered.about} candidates"
            collected.add(name, statistic, offered.num_prompts, "standard deviations within sets", method)
    found = tuple(collected.findings().values())
    size = {one.labels["feature"]: -abs(one.estimate) for one in found if "n" not in one.labels}
    return tuple(sorted(found, key=lambda one: (size[one.labels["feature"]], one.labels["feature"])))


def main(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """All but the smaller drifts: those of ten features stay, and of the one that drifts most in each family.

    Parameters
    ----------
    findings : sequence of Finding
        `measure` of a model.
    """
    largest = [one for one in findings if one.is_a("pick_drift") and "n" not in one.labels][:_NUM_DRIFTS]
    kept = {one.labels["feature"] for one in (*largest, *largest_by_family(findings))}
    return tuple(one for one in findings if not one.is_a("pick_drift") or one.labels["feature"] in kept)


def largest_by_family(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The largest drift over all candidates of at most five families: many features are about length.

    Parameters
    ----------
    findings : sequence of Finding
        `measure` of a model, or a part of it in its order, the largest drift first.
    """
    family = {feature.name: feature.family for feature in BATTERY}
    largest: dict[str, Finding] = {}
    for one in findings:
        if one.is_a("pick_drift") and "n" not in one.labels:
            largest.setdefault(family[one.labels["feature"]], one)
    return tuple(largest.values())[:_NUM_FAMILIES]


def longest_shares(rewards: Floats, lengths: Floats, num_offered: int) -> Floats:
    """Probability that the best of N is (one of) the longest of the N, over all subsets of N candidates of a set.

    Parameters
    ----------
    rewards, lengths : array of shape (G, K)
    num_offered : int
        N, at most K.

    Returns
    -------
    array of shape (G,)

    Notes
    -----
    A candidate is the best and a longest one if the others are among those that are no longer and have an equal (a of
    them) or a lower (b) reward. With t others of equal reward it is picked with probability 1 / (t + 1). The sum over
    t of ``C(a, t) C(b, N - 1 - t) / (t + 1)`` is ``(C(a + b + 1, N) - C(b, N)) / (a + 1)``, by Vandermonde's identity.
    """
    num = rewards.shape[1]
    chosen = np.zeros(num + 1)  # C(m, N) / C(K, N) for each m: no large numbers
    chosen[num] = 1.0
    for size in range(num, num_offered, -1):
        chosen[size - 1] = chosen[size] * (size - num_offered) / size
    shares = np.zeros(len(rewards))
    for place in range(num):
        no_longer = lengths <= lengths[:, [place]]
        equal = (no_longer & (rewards == rewards[:, [place]])).sum(axis=1)  # with the candidate itself: a + 1
        lower = (no_longer & (rewards < rewards[:, [place]])).sum(axis=1)
        shares += (chosen[equal + lower] - chosen[lower]) / equal
    return shares


@dataclass(frozen=True, slots=True)
class _Stacks:
    """Sets of candidates, those of one size together."""

    members: tuple[Ints, ...]
    """For each size K, the indices of the candidates, shape (number of sets, K)."""
    clusters: tuple[Ints, ...]
    """For each size, the prompt of each set."""
    number: int | None = None
    """N: how many of the candidates are offered. None: all of them."""

    def by_number(self, scored: bool) -> Iterator[_Stacks]:
        """The same for each N, the sets that have N candidates; only for all of them if there are no rewards."""
        largest = max((each.shape[1] for each in self.members), default=0)
        for power in range(largest.bit_length() if scored else 0):
            number = 2**power
            kept = [place for place, each in enumerate(self.members) if each.shape[1] >= number]
            found = _Stacks(
                tuple(self.members[place] for place in kept), tuple(self.clusters[place] for place in kept), number
            )
            if number < largest and found.num_prompts >= _MIN_PROMPTS:
                yield found
        if largest:
            yield self

    @property
    def num_prompts(self) -> int:
        return len(np.unique(np.concatenate(self.clusters)))

    @property
    def about(self) -> str:
        """How many are offered, in words."""
        if self.number is not None:
            return f"best of {self.number}, expected over all choices of {self.number}"
        sizes = sorted({each.shape[1] for each in self.members})
        return f"best of all {' to '.join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))}"

    def each(self, function: Callable[[Floats, Floats, int], Floats], by: Floats, values: Floats) -> Floats:
        """A function of the rewards and values of sets, for every set."""
        found = [function(by[one], values[one], self.number or one.shape[1]) for one in self.members]
        return np.concatenate(found)

    def picks(self, by: Floats, values: Floats) -> Floats:
        """Expected value of the candidate with the highest ``by``, for every set."""
        return self.each(expected_picks, by, values)

    def picked_and_every(self, picker: Picker, values: Floats) -> tuple[Floats, Floats]:
        """Expected value of the model's pick, and mean of all candidates, for every set."""
        return self.picks(picker.reward, values), np.concatenate([values[one].mean(axis=1) for one in self.members])

    def mean(self, values: Floats, collected: Measurements) -> Statistic:
        """Mean of one value per set."""
        return clustered.mean(values, np.concatenate(self.clusters), collected.num_clusters)


def _stacks(sets: CandidateSets, kept: NDArray[np.bool_]) -> _Stacks:
    """The kept candidates of all sets in which at least two are kept."""
    indices = np.flatnonzero(kept)
    numbers, starts, sizes = np.unique(sets.set_of[indices], return_index=True, return_counts=True)
    members, clusters = [], []
    for size in np.unique(sizes[sizes > 1]).tolist():
        members.append(indices[starts[sizes == size][:, None] + np.arange(size)])
        clusters.append(sets.cluster[numbers[sizes == size]])
    return _Stacks(tuple(members), tuple(clusters))


def _has_labelled_pick(sets: CandidateSets, picker: Picker) -> NDArray[np.bool_]:
    """Whether the pick of a candidate's set has a label, shape (B,)."""
    found = np.bincount(sets.set_of, (picker.reward > 0) & sets.labelled) > 0
    return np.asarray(found[sets.set_of], dtype=np.bool_)


def _deviations_within(sets: CandidateSets) -> Floats:
    """Standard deviation of each feature within sets, shape (F,)."""
    num_sets, free = len(sets.cluster), len(sets.texts) - len(sets.cluster)
    within = [clustered.demean(column, sets.set_of, num_sets) for column in sets.features.T]
    return np.array([math.sqrt(float(each @ each) / free) for each in within])


def _key(kind: str, offered: _Stacks, **labels: str) -> Key:
    return key(kind, **labels) if offered.number is None else key(kind, n=str(offered.number), **labels)

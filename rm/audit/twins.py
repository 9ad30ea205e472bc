"""Twins: the same text in another dialect or language, with another name, claim or source style.

A twin means what its original means, so a sound model gives both the same reward, and puts a pair of twins in the order
of their originals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.special

from rm.audit.twin_results import TwinExample, TwinResult
from rm.errors import AuditError
from rm.stats import clustered, logistic
from rm.stats.clustered import Floats, Ints, Statistic
from rm.stats.config import BootstrapConfig
from rm.stats.finding import Finding, Key, key
from rm.stats.measurements import Measurements

MIN_PROMPTS = 10
"""With fewer prompts the intervals are undefined: a bootstrap of a handful of prompts is too sure."""
_NUM_DRAWS = 10_000
_SIGNS_AT_ONCE = 1_000_000
_MAX_EXAMPLES = 3
_SAME = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Twins:
    """R rows of one kind; a row is a response (S = 1) or a pair (S = 2, the chosen response first). `of` makes it."""

    kind: str | None
    cluster: Ints
    """(R,), number of the prompt's cluster, in [0, num_clusters)."""
    num_clusters: int
    reward: Floats
    """(R, S), of the originals."""
    reward_twin: Floats
    """(R, S)"""
    texts: Sequence[tuple[str, str] | None]
    """(R,), original and twin, None where they are not known."""

    @classmethod
    def of(
        cls,
        prompt_ids: Sequence[str],
        rewards: Sequence[Sequence[float]],
        rewards_twin: Sequence[Sequence[float]],
        kind: str | None = None,
        texts: Sequence[tuple[str, str] | None] | None = None,
    ) -> Self:
        """Join the rewards of originals and twins, row by row.

        Parameters
        ----------
        prompt_ids : sequence of str, R of them
            Rows of one prompt are not independent, so near-duplicate prompts have one id.
        rewards, rewards_twin : sequences of (chosen, rejected), or of single rewards in a tuple, R of them
            Of the originals, and of their twins.
        kind : str, optional
        texts : sequence of (original, twin) or None, R of them, optional

        Raises
        ------
        AuditError
            If there are no rows, the three differ in their number, or a reward is not finite or too large.
        """
        about = "twins" if kind is None else f"twins of kind {kind}"
        if not len(prompt_ids) == len(rewards) == len(rewards_twin):
            came = f"{len(prompt_ids)}, {len(rewards)} and {len(rewards_twin)}"
            raise AuditError(f"{about}: expected as many prompts, rewards and rewards of twins, got {came}")
        if not len(prompt_ids):
            raise AuditError(f"{about}: expected at least one, got none")
        number_of = {name: number for number, name in enumerate(dict.fromkeys(prompt_ids))}
        sides = [np.asarray(each, dtype=np.float64) for each in (rewards, rewards_twin)]
        with np.errstate(over="ignore", invalid="ignore"):
            largest = np.abs(np.concatenate(sides)).max()
            if not np.isfinite((2 * largest) ** 2 * sides[0].size):
                raise AuditError(f"{about}: expected finite rewards whose squares are finite too, got {largest:g}")
        return cls(
            kind=kind,
            cluster=np.array([number_of[name] for name in prompt_ids], dtype=np.int64),
            num_clusters=len(number_of),
            reward=sides[0],
            reward_twin=sides[1],
            texts=texts if texts is not None else (None,) * len(prompt_ids),
        )

    @property
    def has_pairs(self) -> bool:
        """Whether rows are pairs with a chosen and a rejected response."""
        return bool(self.reward.shape[1] == 2)

    @property
    def margin(self) -> Floats:
        """(R,), reward of the chosen original minus the rejected one's."""
        return self.reward[:, 0] - self.reward[:, 1]

    @property
    def margin_twin(self) -> Floats:
        """(R,), the same of the twins."""
        return self.reward_twin[:, 0] - self.reward_twin[:, 1]


def measure(twins: Twins, config: BootstrapConfig) -> TwinResult:
    """How rewards and preferences change from the originals to their twins.

    Parameters
    ----------
    twins : Twins
        Of one kind. Nothing depends on other kinds.
    config : BootstrapConfig
        Its seed is also that of the permutation test.

    Returns
    -------
    TwinResult
        Its findings have the label ``kind`` if the twins have a kind. `add_changes` and `add_pairs` say which they are.

    Notes
    -----
    Intervals are of 95 %, by resampling prompts; with fewer than 10 prompts they are NaN. A response that is in several
    rows counts in each.

    References
    ----------
    Mire et al. (2025), Rejected Dialects: Biases Against African American Language in Reward Models, Findings of
    NAACL. arXiv:2502.12858 (change of reward and of accuracy)

    Reward Auditor: Inference on Reward Modeling Suitability in Real-World Perturbed Scenarios (2025), arXiv:2512.00920
    (degradation of confidence under perturbations)
    """
    collected = Measurements(twins.num_clusters, config)
    add_changes(collected, twins)
    if twins.has_pairs:
        add_pairs(collected, twins)
    change = (twins.reward_twin - twins.reward).sum(axis=1)
    sums = np.bincount(twins.cluster, change, twins.num_clusters).astype(np.float64)
    return TwinResult(
        kind=twins.kind,
        num_prompts=twins.num_clusters,
        num_twins=twins.reward.size,
        num_pairs=len(twins.cluster) if twins.has_pairs else 0,
        spread=_estimate(_spread(twins), twins.num_clusters),
        p_value=sign_flip_p(sums, config.seed),
        accuracy=float(clustered.win_indicator(twins.margin).mean()) if twins.has_pairs else None,
        accuracy_twin=float(clustered.win_indicator(twins.margin_twin).mean()) if twins.has_pairs else None,
        temperature=_temperature(twins) if twins.has_pairs else None,
        findings=tuple(_with_enough_prompts(found, twins) for found in collected.findings().values()),
        examples=_examples(twins),
    )


def add_changes(collected: Measurements, twins: Twins) -> None:
    """Add ``twin_change`` and ``twin_lower_share``, over all responses.

    Parameters
    ----------
    collected : Measurements
    twins : Twins

    Notes
    -----
    With r the reward of an original and r' its twin's: the change is ``mean(r' - r) / sd(r)`` with the population
    standard deviation, so the scale of the rewards does not matter. The share is P(r' < r), ties one half.
    """
    cluster = np.repeat(twins.cluster, twins.reward.shape[1])
    change, count = (twins.reward_twin - twins.reward).ravel(), twins.reward.size
    mean = clustered.mean(change, cluster, twins.num_clusters)
    collected.add(
        _key("twin_change", twins),
        clustered.combined(np.divide, mean, _spread(twins)),
        count,
        "standard deviations",
        "mean of the twin's reward minus the original's, in standard deviations of the originals' rewards",
    )
    collected.add(
        _key("twin_lower_share", twins),
        clustered.mean(clustered.win_indicator(-change), cluster, twins.num_clusters),
        count,
        "share of twins",
        "the twin has the lower reward, ties 1/2",
    )


def add_pairs(collected: Measurements, twins: Twins) -> None:
    """Add ``twin_flips``, ``twin_lost``, ``twin_gained``, ``twin_accuracy_change`` and ``twin_confidence_change``.

    Parameters
    ----------
    collected : Measurements
    twins : Twins
        With pairs.

    Notes
    -----
    A pair is right (1) if the chosen response has the higher reward, wrong (0) if it has the lower, one half if they
    tie. ``twin_lost`` is the share that goes from right to wrong, ``twin_gained`` from wrong to right; a tie on one
    side counts one half. ``twin_flips`` is their sum and ``twin_accuracy_change`` is gained minus lost.

    ``twin_confidence_change`` is the mean of ``sigmoid(m' / T) - sigmoid(m / T)`` with the margins m of the originals,
    m' of the twins. The temperature T is 1 / b with the b above 0 that maximises ``sum log sigmoid(b m)``
    (`rm.stats.logistic.slope`), and is fitted again in each resample. NaN where there is no such b, as where no
    original pair is wrong: the method then says why.
    """
    gain = clustered.win_indicator(twins.margin_twin) - clustered.win_indicator(twins.margin)
    shares = {
        "twin_flips": (np.abs(gain), "share of pairs", "pairs whose order changes, a tie on one side 1/2"),
        "twin_lost": (np.maximum(-gain, 0), "share of pairs", "pairs that go from right to wrong, a tie 1/2"),
        "twin_gained": (np.maximum(gain, 0), "share of pairs", "pairs that go from wrong to right, a tie 1/2"),
        "twin_accuracy_change": (gain, "difference of shares", "accuracy on the twins minus accuracy on the originals"),
    }
    for kind, (values, unit, method) in shares.items():
        statistic = clustered.mean(values, twins.cluster, twins.num_clusters)
        collected.add(_key(kind, twins), statistic, len(gain), unit, method)
    collected.add(
        _key("twin_confidence_change", twins),
        _confidence_change(twins),
        len(gain),
        "difference of probabilities",
        "mean sigmoid(margin / temperature) of the twins minus the originals', the temperature fitted on the originals"
        f"{_undefined(twins)}",
    )


def sign_flip_p(sums: Floats, seed: int) -> float:
    """Two-sided p value of a mean change of 0, by flipping the sign of each prompt's changes.

    Parameters
    ----------
    sums : array of shape (C,)
        Sum of the changes of each prompt.
    seed : int

    Notes
    -----
    If original and twin are exchangeable, a prompt's changes could as well have the opposite sign, all together. So
    p = (1 + b) / (1 + 10,000), where b of 10,000 draws of the signs give a total at least as far from 0 as the
    observed one. The 1s are the observed signs; without them p could be 0.

    References
    ----------
    Phipson and Smyth (2010), Permutation P-values Should Never Be Zero, Statistical Applications in Genetics and
    Molecular Biology 9. doi:10.2202/1544-6115.1585
    """
    generator, at_once = np.random.default_rng(seed), max(1, _SIGNS_AT_ONCE // len(sums))
    reached = abs(float(sums.sum())) - _SAME * float(np.abs(sums).sum())  # the same total in another order may round
    count = 0
    for start in range(0, _NUM_DRAWS, at_once):
        size = (min(at_once, _NUM_DRAWS - start), len(sums))
        signs = 2.0 * generator.integers(0, 2, size=size, dtype=np.int8) - 1
        count += int((np.abs(signs @ sums) >= reached).sum())
    return (1 + count) / (1 + _NUM_DRAWS)


def _key(kind: str, twins: Twins) -> Key:
    return key(kind) if twins.kind is None else key(kind, kind=twins.kind)


def _spread(twins: Twins) -> Statistic:
    cluster = np.repeat(twins.cluster, twins.reward.shape[1])
    return clustered.standard_deviation(twins.reward.ravel(), cluster, twins.num_clusters)


def _estimate(statistic: Statistic, num_clusters: int) -> float:
    return float(statistic(np.ones((1, num_clusters)))[0])


def _temperature(twins: Twins) -> float:
    return 1 / logistic.slope(twins.margin, twins.cluster).estimate


def _undefined(twins: Twins) -> str:
    known = math.isfinite(_temperature(twins))
    return "" if known else f"; undefined: {logistic.why_no_slope(twins.margin)}"


def _confidence_change(twins: Twins) -> Statistic:
    margins = twins.margin, twins.margin_twin

    def change(counts: Floats) -> float:
        drawn = counts > 0
        slope = logistic.slope(twins.margin[drawn], twins.cluster[drawn], counts[drawn]).estimate
        before, after = (scipy.special.expit(slope * margin) for margin in margins)
        return float(counts @ (after - before) / counts.sum())

    def value(_: Floats, weights: Floats) -> Floats:
        return np.array([change(counts) for counts in weights[:, twins.cluster]])

    return Statistic(value, np.empty((twins.num_clusters, 0)))


def _with_enough_prompts(found: Finding, twins: Twins) -> Finding:
    few = twins.num_clusters < MIN_PROMPTS
    return found.model_copy(update={"ci_low": math.nan, "ci_high": math.nan}) if few else found


def _examples(twins: Twins) -> tuple[TwinExample, ...]:
    size = np.abs(twins.reward_twin - twins.reward).max(axis=1)
    order = np.argsort(-size, kind="stable").tolist()
    known = [(index, texts) for index in order if (texts := twins.texts[index]) is not None and size[index] > 0]
    return tuple(
        TwinExample(
            original=original,
            twin=twin,
            reward=float(twins.reward[index, 0]),
            reward_twin=float(twins.reward_twin[index, 0]),
        )
        for index, (original, twin) in known[:_MAX_EXAMPLES]
    )

"""What an audit of these pairs would have found: biases of known strength are planted on their own texts and labels.

A made-up reward that is sound is right in three of four pairs and pays for nothing that surface shows. A planted bias
is added to it, and the audit's tests of surface are run on the sum, several times with other noise. How often they show
the bias is the rate of detection; how often they accuse the sound reward is the rate of false alarms.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import scipy.special

from rm.audit import overpaid, surface, visible
from rm.audit.baselines import folds
from rm.audit.heldout import Heldout
from rm.audit.overpaid_findings import findings, joint_finding, record
from rm.audit.pair_features import PairFeatures, judged
from rm.audit.records import EVERYTHING
from rm.audit.sizes import common, seen_from
from rm.audit.surface import JOINT_CRITICAL
from rm.gate.checks import DEFAULT_CHECKS
from rm.gate.judging import judge
from rm.selftest.plants import Plant, plants
from rm.selftest.records import FamilyLimit, PlantedBias, SelfTest
from rm.stats.clustered import Floats
from rm.stats.sufficiency import Account, Judged

STRENGTHS = (0.5, 1.0, 2.0)
NUM_REPEATS = 10
_ACCURACY = 0.75
_POWERS = (0.8, 0.95)
_CHECKS = {check.name: check for check in DEFAULT_CHECKS if check.name.startswith(("overpaid_", "joint_overpaid_"))}


def run_self_test(heldout: Heldout, num_repeats: int = NUM_REPEATS) -> SelfTest:
    """Plant biases on held-out pairs and look for them.

    Parameters
    ----------
    heldout : Heldout
        Its rewards are not used.
    num_repeats : int
        How often each bias is planted, each time with other noise.

    Returns
    -------
    SelfTest
    """
    trial = _Trial(heldout)
    sound = [trial.audited(trial.sound(repeat)) for repeat in range(num_repeats)]
    tested = trial.with_margin(trial.sound(0))
    table = overpaid.table(tested, trial.columns, trial.values)
    pairs = heldout.pairs
    planted = plants(trial.features, record(table).rows, pairs.prompts, pairs.chosen, pairs.rejected)
    return SelfTest(
        num_pairs=len(pairs.margin),
        num_prompts=len(np.unique(pairs.cluster)),
        num_repeats=num_repeats,
        sound_found=float(np.mean([found for _, found, _ in sound])),
        limits=_limits(table, tested, trial.values),
        planted=tuple(_planted(trial, plant, strength, num_repeats) for plant in planted for strength in STRENGTHS),
    )


def _limits(table: overpaid.Table, pairs: Judged, differences: Floats) -> tuple[FamilyLimit, ...]:
    """What could be seen of each family of features, with a probability of 80 % and of 95 %."""
    quantiles = (float(scipy.special.ndtri(power)) for power in _POWERS)
    rows, surer = (record(visible.planted(table, pairs, differences, power)).rows for power in quantiles)
    num_pairs = len(pairs.margin)
    seen_95 = seen_from(surer, num_pairs)
    limits = []
    for family, seen in seen_from(rows, num_pairs).items():
        members = [row for row in rows if row.family == family and row.within is None]
        more = seen_95[family]
        limits.append(
            FamilyLimit(
                family=family,
                num_features=len(members),
                num_common=len(common(rows, family, num_pairs)),
                num_testable=sum(row.verdict != "untestable" for row in members),
                seen_80=math.nan if seen is None else seen,
                seen_95=math.nan if more is None else more,
            )
        )
    return tuple(limits)


class _Trial:
    """The pairs, and tests of surface on made-up rewards for them."""

    def __init__(self, heldout: Heldout) -> None:
        self.features = PairFeatures.of(heldout)
        self.judged = judged(heldout, self.features.log_length)
        self.columns, self.values = overpaid.columns(
            self.features.features, self.features.differences, self.features.kinds
        )
        self.fold = folds(heldout.pairs.cluster_texts)

    def sound(self, repeat: int) -> Floats:
        """Margins of a reward that is right in three of four pairs and pays for nothing else."""
        random = np.random.default_rng([1, repeat])
        return random.normal(float(scipy.special.ndtri(_ACCURACY)), 1.0, len(self.fold))

    def with_margin(self, margin: Floats) -> Judged:
        return replace(self.judged, margin=margin)

    def audited(self, margin: Floats, *, jointly: bool = True) -> tuple[dict[str, Account], bool, bool]:
        """Accounts by name of the feature, whether any bound is above 0, and whether the default gate would fail it."""
        pairs = self.with_margin(margin)
        table = overpaid.table(pairs, self.columns, self.values)
        results = list(findings(table, len(margin)))
        bounds = [row.bound for row in table.rows if row.account.measurable]
        if jointly:
            features = self.features
            whole = surface.whole_part(pairs, features.differences, self.fold, features.kinds, features.features)
            account = surface.joint(pairs, whole)
            results.append(joint_finding(account, EVERYTHING, JOINT_CRITICAL, ()))
            bounds.append(account.bound(JOINT_CRITICAL))
        failed = any(judge(_CHECKS[result.name], result)[0] == "failed" for result in results if result.name in _CHECKS)
        named = {row.column.feature.name: row.account for row in table.rows if row.column.within is None}
        return named, any(bound > 0 for bound in bounds), failed


def _planted(trial: _Trial, plant: Plant, strength: float, num_repeats: int) -> PlantedBias:
    results = [
        trial.audited(trial.sound(repeat) + strength * plant.differences, jointly=plant.family is None)
        for repeat in range(num_repeats)
    ]
    excess = [accounts[plant.name].excess for accounts, _, _ in results] if plant.family else [math.nan]
    return PlantedBias(
        name=plant.name,
        family=plant.family,
        strength=strength,
        excess=float(np.mean(excess)),
        found=float(np.mean([found for _, found, _ in results])),
        failed=float(np.mean([failed for _, _, failed in results])),
    )

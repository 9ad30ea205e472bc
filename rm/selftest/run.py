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

from rm.audit import overpaid, surface
from rm.audit.baselines import folds
from rm.audit.heldout import Heldout
from rm.audit.overpaid_findings import COMMON_SHARE, median_visible
from rm.audit.overpaid_findings import common as common_rows
from rm.audit.pair_features import PairFeatures, judged
from rm.audit.run import JOINT_CRITICAL
from rm.audit.surface import EVERYTHING, Surface
from rm.gate.checks import DEFAULT_CHECKS
from rm.selftest.plants import Plant, plants
from rm.selftest.records import FamilyLimit, PlantedBias, SelfTest
from rm.stats.clustered import Floats
from rm.stats.sufficiency import Account, Judged, Sufficiency, critical_value

STRENGTHS = (0.5, 1.0, 2.0)
NUM_REPEATS = 10
_ACCURACY = 0.75
_POWERS = (0.8, 0.95)
_NUM_DRAWS = 1000
_LIMITS = {check.name: check.max_value for check in DEFAULT_CHECKS if check.decides == "bound"}


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
    table = overpaid.table(trial.with_margin(trial.sound(0)), trial.columns, trial.values)
    pairs = heldout.pairs
    planted = plants(trial.features, table.rows, pairs.prompts, pairs.chosen, pairs.rejected)
    return SelfTest(
        num_pairs=len(pairs.margin),
        num_prompts=len(np.unique(pairs.cluster)),
        num_repeats=num_repeats,
        sound_found=float(np.mean([found for _, found, _ in sound])),
        limits=family_limits(table, len(pairs.margin)),
        planted=tuple(_planted(trial, plant, strength, num_repeats) for plant in planted for strength in STRENGTHS),
    )


def family_limits(table: overpaid.Table, num_pairs: int) -> tuple[FamilyLimit, ...]:
    """What could be seen of each family: the critical value plus a normal quantile, times the standard error."""
    limits = []
    for family in dict.fromkeys(row.column.feature.family for row in table.rows):
        rows = [row for row in table.rows if row.column.feature.family == family and row.column.within is None]
        common = common_rows(table.rows, family, num_pairs)
        seen = median_visible(common) if common else math.nan
        quantiles = [float(scipy.special.ndtri(power)) for power in _POWERS]
        ratio = (table.critical + quantiles[1]) / (table.critical + quantiles[0])
        limits.append(
            FamilyLimit(
                family=family,
                num_features=len(rows),
                num_common=sum(row.account.num_pairs >= COMMON_SHARE * num_pairs for row in rows),
                num_testable=sum(row.account.measurable for row in rows),
                seen_80=seen,
                seen_95=seen * ratio,
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
        self._is_length = [column.is_length for column in self.columns]

    def sound(self, repeat: int) -> Floats:
        """Margins of a reward that is right in three of four pairs and pays for nothing else."""
        random = np.random.default_rng([1, repeat])
        return random.normal(float(scipy.special.ndtri(_ACCURACY)), 1.0, len(self.fold))

    def with_margin(self, margin: Floats) -> Judged:
        return replace(self.judged, margin=margin)

    def audited(self, margin: Floats, *, jointly: bool = True) -> tuple[dict[str, Account], bool, bool]:
        """Accounts by name of the feature, whether any bound is above 0, and whether one is beyond its limit."""
        pairs = self.with_margin(margin)
        accounts, scores = Sufficiency(pairs).accounts(self.values, self._is_length)
        critical = critical_value(scores, _NUM_DRAWS, 0)
        bounds = [
            (account.bound(critical), _LIMITS[f"overpaid_{column.feature.family.replace(' ', '_')}"] or 0.0)
            for account, column in zip(accounts, self.columns, strict=True)
            if account.measurable
        ]
        if jointly:
            split = Surface.of(margin, self.features.differences, self.fold, self.features.features)
            bound = surface.joint(pairs, split.predicted[EVERYTHING]).bound(JOINT_CRITICAL)
            bounds.append((bound, _LIMITS[f"joint_overpaid_{EVERYTHING}"] or 0.0))
        named = {
            column.feature.name: account
            for account, column in zip(accounts, self.columns, strict=True)
            if column.within is None
        }
        return named, any(bound > 0 for bound, _ in bounds), any(bound > limit for bound, limit in bounds)


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

"""Fits variants of a reward on some prompts and measures them on others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from rm.audit import calibration, length
from rm.audit.heldout import Heldout, ScoredPairs
from rm.stats import clustered
from rm.stats.clustered import Floats
from rm.stats.config import BootstrapConfig
from rm.stats.finding import Finding, key
from rm.stats.measurements import Measurements
from rm.variants.records import Name, Variant, Variants

MIN_CLUSTERS = 30
"""Prompts that are not near-duplicates, in each part: with fewer nothing is fitted."""
_MEASURED = ("accuracy", "length_following", "log_loss", "calibration_error")


def fit(choosing: Heldout, judging: Heldout, checkpoint_digest: str, config: BootstrapConfig) -> Variants:
    """Fit every variant on one part of the held-out prompts, and measure it on the other.

    Parameters
    ----------
    choosing, judging : Heldout
        Prompts to fit on, and others to measure on.
    checkpoint_digest : str
        Of the model that gave the rewards.
    config : BootstrapConfig

    Notes
    -----
    ``calibrated`` multiplies rewards by the slope of a logistic regression of the majority's choice on the margin,
    without intercept (`rm.stats.logistic.slope`): then sigmoid(margin) is the probability that a majority agrees.

    ``without_length`` subtracts ``s log(1 + characters)``, with ``s = sum w m d / sum w d^2`` over pairs with the
    margin m, the difference d of log characters and the weight w. It is the same whichever response of a pair comes
    first, and takes all that goes with length, also what annotators ask of it.

    References
    ----------
    Guo et al. (2017), On calibration of modern neural networks, arXiv:1706.04599 (one scale on held-out data);
    Huang et al. (2024), Post-hoc reward calibration: a case study on length bias, arXiv:2409.17407
    """
    variants: dict[str, Variant] = {}
    missing: dict[str, str] = {}
    for name, one in _FITS.items():
        few = min(len(np.unique(part.pairs.cluster)) for part in (choosing, judging))
        found = one(choosing, config)
        if few < MIN_CLUSTERS:
            missing[name] = f"{few} prompts with rewards in one part, expected at least {MIN_CLUSTERS}"
        elif not math.isfinite(found.estimate):
            missing[name] = f"undefined: {found.method}"
        else:
            variants[name] = _measured(_variant(name, found), judging, config)
    return Variants(checkpoint_digest=checkpoint_digest, variants=variants, missing=missing)


def _variant(name: Name, found: Finding) -> Variant:
    scale, slope = (found.estimate, 0.0) if name == "calibrated" else (1.0, found.estimate)
    return Variant(scale=scale, per_log_character=slope, fitted=found, before=(), after=(), changes=())


def _scale(heldout: Heldout, config: BootstrapConfig) -> Finding:
    collected = Measurements(heldout.num_clusters, config)
    calibration.add_calibration(collected, heldout.pairs)
    return collected.findings({"calibration_slope"})[key("calibration_slope")]


def _length_slope(heldout: Heldout, config: BootstrapConfig) -> Finding:
    pairs, collected = heldout.pairs, Measurements(heldout.num_clusters, config)
    difference = pairs.log_length_difference
    product, square = (
        pairs.mean(values, heldout.num_clusters) for values in (pairs.margin * difference, difference**2)
    )
    collected.add(
        key("reward_per_log_character"),
        clustered.combined(_ratio, product, square),
        len(difference),
        "units of reward",
        "linear regression of the margin on the difference of log characters, without intercept",
    )
    return collected.findings()[key("reward_per_log_character")]


def _ratio(product: Floats, square: Floats) -> Floats:
    return product / np.where(square > 0, square, np.nan)


_FITS: Mapping[Name, Callable[[Heldout, BootstrapConfig], Finding]] = MappingProxyType(
    {"calibrated": _scale, "without_length": _length_slope}
)


def _measured(variant: Variant, heldout: Heldout, config: BootstrapConfig) -> Variant:
    """The variant with what it changes on these prompts."""
    before, after = heldout.pairs, changed(heldout.pairs, variant)
    collected, count = Measurements(heldout.num_clusters, config), len(before.margin)
    for name, unit, one, other in (
        ("accuracy_change", "difference of shares", before.correct, after.correct),
        ("log_loss_change", "nats per pair", np.logaddexp(0, -before.margin), np.logaddexp(0, -after.margin)),
    ):
        difference = before.mean(other - one, heldout.num_clusters)
        collected.add(key(name), difference, count, unit, "of the variant, minus that of the reward itself")
    return variant.model_copy(
        update={
            "before": _findings(heldout, config),
            "after": _findings(replace(heldout, pairs=after), config),
            "changes": tuple(collected.findings().values()),
        }
    )


def changed(pairs: ScoredPairs, variant: Variant) -> ScoredPairs:
    """Pairs with the variant's rewards."""
    return replace(
        pairs,
        reward_chosen=variant.rewards(pairs.reward_chosen, pairs.chosen),
        reward_rejected=variant.rewards(pairs.reward_rejected, pairs.rejected),
    )


def _findings(heldout: Heldout, config: BootstrapConfig) -> tuple[Finding, ...]:
    collected = Measurements(heldout.num_clusters, config)
    length.add(collected, heldout)
    calibration.add_calibration(collected, heldout.pairs)
    return tuple(collected.findings(_MEASURED).values())

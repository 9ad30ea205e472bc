"""An audit of made-up rewards: every test of surface, and what the default gate says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rm.audit import overpaid_findings, phrases, surface, text_parts
from rm.audit.overpaid import Table
from rm.audit.surface import EVERYTHING, JOINT_CRITICAL, Kinds, Surface
from rm.features import letters
from rm.gate.checks import DEFAULT_CHECKS
from rm.gate.judging import judge
from rm.stats.config import BootstrapConfig
from rm.stats.cross_fit import Matrix
from rm.stats.finding import Finding
from rm.stats.measurements import Measurements
from rm.stats.sufficiency import Judged

_KINDS = ("overpaid_", "joint_overpaid_", "gain_without_", "accuracy_without_surface")
CHECKS = {check.name: check for check in DEFAULT_CHECKS if check.name.startswith(_KINDS)}
"""The checks of surface that are not about how much data there is."""


@dataclass(frozen=True)
class Result:
    """What one check says."""

    beyond: bool
    """All of the interval is on the bad side of nothing: an excess or a gain of 0, an accuracy of 0.5."""
    failed: bool
    """The default gate fails it."""


def results(
    pairs: Judged, table: Table | None, differences: np.ndarray, kinds: Kinds, texts: Mapping[str, Matrix]
) -> dict[str, Result]:
    """By check, what an audit says.

    Parameters
    ----------
    pairs : Judged
    table : Table or None
        The test of every feature; None: it is left out.
    differences : array of shape (B, F)
        The battery's features, chosen minus rejected.
    kinds : dict of arrays of bool, shape (B,)
        `rm.features.prompt_kinds.kinds`.
    texts : dict of sparse arrays, each with B rows
        `shares` of words and of letters, chosen minus rejected.
    """
    found = {each.name: each for each in _findings(pairs, table, differences, kinds, texts)}
    return {
        name: Result(_beyond(found[name]), judge(check, found[name])[0] == "failed")
        for name, check in CHECKS.items()
        if name in found
    }


def shares(texts: Sequence[str]) -> dict[str, Matrix]:
    """Of words and of letters in each text."""
    counted = {"words": phrases.read(texts).words(texts), "letters": letters.counts(texts)}
    return {over: text_parts.shares(counts) for over, counts in counted.items()}


def _findings(
    pairs: Judged, table: Table | None, differences: np.ndarray, kinds: Kinds, texts: Mapping[str, Matrix]
) -> Iterator[Finding]:
    if table is not None:
        yield from overpaid_findings.findings(table, len(pairs.margin))
    fold = pairs.cluster % 5
    split = Surface.of(pairs, differences, fold, kinds)
    collected = Measurements(pairs.num_clusters, BootstrapConfig())
    surface.add(collected, split, pairs)
    yield from collected.findings().values()
    parts = {over: text_parts.part(pairs, rows, fold) for over, rows in texts.items()}
    predicted = {EVERYTHING: split.predicted[EVERYTHING], **parts}
    for over, values in predicted.items():
        yield overpaid_findings.joint_finding(surface.joint(pairs, values), over, JOINT_CRITICAL, ())


def _beyond(found: Finding) -> bool:
    if found.kind == "accuracy_without":
        return found.ci_high < 0.5
    return found.ci_low > 0 or (found.kind != "gain_without" and found.ci_high < 0)

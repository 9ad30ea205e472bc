"""What a person can do about an undecided check."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rm.gate.checks import Check, group_of
from rm.stats.finding import Finding

_MOST_TIMES = 20
"""Times as many pairs; a person does not collect more for one check."""
_LARGEST_SHARE = 0.5
_SQUARE_ROOT = ("visible",)
"""Kinds of findings that fall with the root of the number of pairs."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large an audit is."""

    num_pairs: int
    num_train_pairs: int | None
    """None if it is not known, as where the pipeline did not train the model."""


def more_pairs(check: Check, finding: Finding, size: Size | None) -> str:
    """About how many more held-out pairs, or edits, would decide, and how to get them.

    No number where it is unknown, and none that nobody would collect.
    """
    what = _what(finding)
    if finding.num_pairs == 0:
        return f"none of the {what} says anything about it"
    factor = times(check, finding)
    if factor is None:
        return f"no number of {what} would decide it"
    if factor > _MOST_TIMES:
        return f"more than {_MOST_TIMES} times as many {what} would be needed"
    if what == "edits":
        extra = _rounded((factor - 1) * finding.num_pairs)
        return f"about {extra:,} more edits would decide it: audit.probes.budget, or more held-out prompts"
    if what != "held-out pairs":
        return f"about {_rounded((factor - 1) * finding.num_pairs):,} more {what} would decide it"
    num_pairs = finding.num_pairs if size is None else size.num_pairs
    extra = _rounded((factor - 1) * num_pairs)
    text = f"about {extra:,} more held-out pairs would decide it"
    share = _share(num_pairs + extra, size)
    return text if share is None else f"{text}; or snapshot.heldout_share={share:g}"


def extra_pairs(check: Check, finding: Finding, size: Size | None) -> int | None:
    """About how many more held-out pairs would decide; None if no number that a person would collect does.

    None too where other things than pairs are needed.
    """
    factor = times(check, finding) if finding.num_pairs and _what(finding) == "held-out pairs" else None
    if factor is None or factor > _MOST_TIMES:
        return None
    return _rounded((factor - 1) * (finding.num_pairs if size is None else size.num_pairs))


def _what(finding: Finding) -> str:
    """What a finding rests on."""
    if group_of(finding.kind) == "probes":
        return "edits"
    beside = {"picks": "prompts with candidates", "twin": "twins"}
    return beside.get(finding.kind.partition("_")[0], "held-out pairs")


def times(check: Check, finding: Finding) -> float | None:
    """How many times as many pairs would decide an undecided check.

    Returns
    -------
    float or None
        At least 1. None if no number would, as where the estimate lies on a limit.

    Notes
    -----
    If the estimate stays where it is, each side of the interval shrinks with 1 / sqrt(n). The check is decided once
    that side is no wider than the estimate's distance to the limit: (half-width / distance)^2 times as many. If the
    estimate is beyond a limit, one side counts; if it is within the limits, both do, and the larger number is needed.
    What could have been seen shrinks with 1 / sqrt(n) too; a number of prompts grows with n. On too few pairs a check
    by interval needs its minimum or what the interval says, whichever is more.
    """
    if finding.num_pairs < check.min_pairs:
        least = check.min_pairs / finding.num_pairs if finding.num_pairs else None
        by_interval = _interval_times(check, finding) if check.decides == "interval" else None
        return least and max(least, by_interval or 0.0)
    if check.about == "data" and not _holds(check, finding.estimate):
        return _data_times(check, finding)
    return _interval_times(check, finding)


def _interval_times(check: Check, finding: Finding) -> float | None:
    sides = [(half, distance) for half, distance in _sides(check, finding) if half > 0]
    if not all(distance > 0 for _, distance in sides):
        return None
    ratio = max((half / distance for half, distance in sides), default=0.0)
    factor = ratio * ratio  # not ratio**2, which raises where the estimate all but lies on the limit
    return max(factor, 1.0) if math.isfinite(factor) else None


def _sides(check: Check, finding: Finding) -> list[tuple[float, float]]:
    """Half-width of the interval and distance to the limit, of each side that counts."""
    estimate, low, high = finding.estimate, finding.ci_low, finding.ci_high
    minimum = -math.inf if check.min_value is None else check.min_value
    maximum = math.inf if check.max_value is None else check.max_value
    if estimate < minimum:
        return [(high - estimate, minimum - estimate)]
    if estimate > maximum:
        return [(estimate - low, estimate - maximum)]
    return [(estimate - low, estimate - minimum), (high - estimate, maximum - estimate)]


def _holds(check: Check, value: float) -> bool:
    above = check.min_value is None or value >= check.min_value
    return above and (check.max_value is None or value <= check.max_value)


def _data_times(check: Check, finding: Finding) -> float | None:
    if check.min_value is not None and 0 < finding.estimate < check.min_value:
        return check.min_value / finding.estimate
    if check.max_value is not None and finding.estimate > check.max_value > 0:
        ratio = finding.estimate / check.max_value
        return ratio * ratio if finding.kind in _SQUARE_ROOT else ratio
    return None


def _rounded(count: float) -> int:
    """At least 1, and no more digits than are known."""
    step = 10 ** max(math.floor(math.log10(count)) - 1, 0) if count > 1 else 1
    return max(math.ceil(count / step) * step, 1)


def _share(needed: int, size: Size | None) -> float | None:
    """Share of the data to hold out, if the data have that many pairs."""
    if size is None or size.num_train_pairs is None:
        return None
    share = math.ceil(20 * needed / (size.num_pairs + size.num_train_pairs)) / 20
    return share if share <= _LARGEST_SHARE else None

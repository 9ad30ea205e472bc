"""Numbers as the report writes them."""

from __future__ import annotations

import math

from rm.stats.finding import Finding

UNDEFINED = "undefined"


def number(value: float) -> str:
    """Three decimals, with a true minus sign."""
    if math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return "infinite" if value > 0 else "\N{MINUS SIGN}infinite"
    return f"{value:z,.3f}".replace("-", "\N{MINUS SIGN}")  # z: what rounds to 0 has no sign


def interval(finding: Finding) -> str:
    """The bounds of its 95 % interval."""
    return f"{number(finding.ci_low)} to {number(finding.ci_high)}"


def count(value: int) -> str:
    """With commas between thousands."""
    return f"{value:,}"


def percent(share: float) -> str:
    """A share as a whole percentage."""
    return f"{share:.0%}" if math.isfinite(share) else UNDEFINED


def tiny(value: float) -> str:
    """A probability, which may be far too small for three decimals."""
    return UNDEFINED if math.isnan(value) else f"{value:.2g}"

"""What is picked as more candidates are offered, as series over the number offered."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from rm.audit.records import AuditReport
from rm.stats.finding import Finding

_NAME = re.compile(r"(responses|edits)_(\w+)_best_of_(\d+)")
_TITLES = {
    ("responses", "length"): ("Length of the response that is picked", "length over the mean"),
    ("responses", "preferred"): ("How often annotators preferred it", "share over the mean"),
    ("edits", "edited"): ("How often it is an edited copy", "share over the mean"),
    ("edits", "length"): ("Characters of the picked copy", "characters over the mean"),
}


class Point(NamedTuple):
    """One number of candidates."""

    num_offered: int
    picked: Finding
    gain: Finding | None
    """None for one candidate, which is not picked."""

    @property
    def divergence(self) -> float:
        """At most so many nats of KL divergence from picking at random: ln N - (N - 1) / N."""
        return math.log(self.num_offered) - (self.num_offered - 1) / self.num_offered


class Series(NamedTuple):
    """One question asked of what is picked."""

    title: str
    ylabel: str
    points: tuple[Point, ...]


def pressure_series(report: AuditReport) -> tuple[Series, ...]:
    """Every series that was measured for two numbers of candidates or more."""
    points: dict[tuple[str, str], list[Point]] = {}
    for finding in report.findings:
        match = _NAME.fullmatch(finding.name)
        if match and (match[1], match[2]) in _TITLES:
            point = Point(int(match[3]), finding, report.finding(f"{finding.name}_gain"))
            points.setdefault((match[1], match[2]), []).append(point)
    return tuple(Series(*titles, tuple(points[key])) for key, titles in _TITLES.items() if len(points.get(key, ())) > 1)

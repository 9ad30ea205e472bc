"""Mean reward by length, in bins of as many responses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rm.audit.config import AuditConfig
from rm.stats import clustered
from rm.stats.clustered import Floats, Ints
from rm.stats.finding import Finding
from rm.stats.measurements import Measurements

_NUM_BINS = 10
_CONFIG = AuditConfig(num_resamples=200)


class CurvePoint(NamedTuple):
    """One bin."""

    length: float
    """Mean over its responses."""
    reward: Finding


def curve(reward: Floats, length: Floats, cluster: Ints, num_clusters: int) -> tuple[CurvePoint, ...]:
    """Mean reward in tenths of the responses by length, the shortest first, with intervals over prompts.

    Parameters
    ----------
    reward, length : array of shape (N,)
    cluster : array of shape (N,)
        Number of the prompt.
    num_clusters : int

    Notes
    -----
    Responses of equal length stay together, so that there may be fewer than ten. Reward and length may have their
    prompt's mean subtracted; the difference between that curve and the one of what was not is between prompts.
    """
    bins = np.searchsorted(np.sort(length), length) * _NUM_BINS // len(length)
    collected = Measurements(num_clusters, _CONFIG)
    numbers = np.unique(bins).tolist()
    for number in numbers:
        inside = bins == number
        statistic = clustered.mean(reward, cluster, num_clusters, inside)
        collected.add(f"reward_{number}", statistic, int(inside.sum()), "mean reward", "responses of about one length")
    found = collected.findings()
    return tuple(
        CurvePoint(length=float(length[bins == number].mean()), reward=found[f"reward_{number}"]) for number in numbers
    )

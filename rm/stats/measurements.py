"""Collecting what is measured, so that all of it is resampled together."""

from __future__ import annotations

from collections.abc import Container, Sequence

from rm.stats import clustered
from rm.stats.clustered import Interval, Statistic
from rm.stats.config import BootstrapConfig
from rm.stats.finding import Finding


class Measurements:
    """Statistics of the same clusters with what is to be said of them.

    Parameters
    ----------
    num_clusters : int
        Prompts.
    config : BootstrapConfig
        Resamples and their seed.
    """

    def __init__(self, num_clusters: int, config: BootstrapConfig) -> None:
        self.num_clusters, self.config = num_clusters, config
        self._statistics: dict[str | tuple[str, ...], Statistic] = {}
        self._facts: dict[str, tuple[int, str, str]] = {}

    def add(self, name: str, statistic: Statistic, num_pairs: int, unit: str, method: str) -> None:
        """One number, measured on so many pairs (or responses, where the unit says so)."""
        self._statistics[name] = statistic
        self._facts[name] = (num_pairs, unit, method)

    def add_together(self, names: Sequence[str], statistic: Statistic, num_pairs: int, unit: str, method: str) -> None:
        """Several numbers that one computation gives, such as the coefficients of a regression."""
        self._statistics[tuple(names)] = statistic
        self._facts |= dict.fromkeys(names, (num_pairs, unit, method))

    def findings(self, wanted: Container[str] | None = None) -> dict[str, Finding]:
        """Every number with its interval, in the order in which they were added; or those wanted, which takes less."""
        statistics = {
            key: statistic
            for key, statistic in self._statistics.items()
            if wanted is None or any(name in wanted for name in clustered.names(key))
        }
        intervals = clustered.bootstrap(statistics, self.num_clusters, self.config.num_resamples, self.config.seed)
        return {name: finding(name, interval, *self._facts[name]) for name, interval in intervals.items()}


def finding(name: str, interval: Interval, num_pairs: int, unit: str, method: str) -> Finding:
    """An interval as a finding."""
    return Finding(
        name=name,
        estimate=interval.estimate,
        ci_low=interval.low,
        ci_high=interval.high,
        num_pairs=num_pairs,
        unit=unit,
        method=method,
    )

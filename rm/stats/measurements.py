"""Collects statistics, so that all of them are resampled together."""

from __future__ import annotations

from collections.abc import Container, Sequence

from rm.stats import clustered
from rm.stats.clustered import Interval, Statistic
from rm.stats.config import BootstrapConfig
from rm.stats.finding import Finding, Key


class Measurements:
    """Statistics over the same clusters, each with sample size, unit and method.

    Parameters
    ----------
    num_clusters : int
        Number of prompts, near-duplicates counted once.
    config : BootstrapConfig
        Number of resamples, and their seed.
    """

    def __init__(self, num_clusters: int, config: BootstrapConfig) -> None:
        self.num_clusters, self.config = num_clusters, config
        self._statistics: dict[Key | tuple[Key, ...], Statistic] = {}
        self._intervals: dict[Key, Interval] = {}
        self._facts: dict[Key, tuple[int, str, str]] = {}

    def add(self, key: Key, statistic: Statistic, num_pairs: int, unit: str, method: str) -> None:
        """Add one number, measured on ``num_pairs`` pairs (or responses, if the unit says so)."""
        self._statistics[key] = statistic
        self._facts[key] = (num_pairs, unit, method)

    def add_together(self, keys: Sequence[Key], statistic: Statistic, num_pairs: int, unit: str, method: str) -> None:
        """Add several numbers from one computation, such as the coefficients of a regression."""
        self._statistics[tuple(keys)] = statistic
        self._facts |= dict.fromkeys(keys, (num_pairs, unit, method))

    def add_interval(self, key: Key, interval: Interval, num_pairs: int, unit: str, method: str) -> None:
        """Add one number whose interval is known from a formula, so that nothing has to be resampled."""
        self._intervals[key] = interval
        self._facts[key] = (num_pairs, unit, method)

    def findings(self, wanted: Container[str] | None = None) -> dict[Key, Finding]:
        """Every number with its interval, in the order in which they were added.

        Parameters
        ----------
        wanted : container of str, optional
            Names of findings; only computations that give one of them are run. Default: all.
        """
        statistics = {
            keys: statistic
            for keys, statistic in self._statistics.items()
            if wanted is None or any(key.name in wanted for key in clustered.names(keys))
        }
        known = {key: one for key, one in self._intervals.items() if wanted is None or key.name in wanted}
        intervals = known | clustered.bootstrap(
            statistics, self.num_clusters, self.config.num_resamples, self.config.seed
        )
        return {key: finding(key, intervals[key], *facts) for key, facts in self._facts.items() if key in intervals}


def finding(key: Key, interval: Interval, num_pairs: int, unit: str, method: str) -> Finding:
    """An interval as a finding."""
    return Finding(
        kind=key.kind,
        labels=dict(key.labels),
        estimate=interval.estimate,
        ci_low=interval.low,
        ci_high=interval.high,
        num_pairs=num_pairs,
        unit=unit,
        method=method,
    )

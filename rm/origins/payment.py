"""What a head pays for a feature on held-out pairs, as a number whose gradient is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.special

from rm.origins.head import Head
from rm.stats.clustered import Floats
from rm.stats.sufficiency import usual


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """Held-out pairs, chosen minus rejected."""

    states: Floats
    """(B, H)."""
    feature: Floats
    """(B,), in units of its root mean square over the pairs that differ in it; 0 in the others."""

    @classmethod
    def of(cls, states: Floats, feature: Floats) -> Payment:
        """Of a feature in any unit, in which at least one pair differs."""
        return cls(states=states, feature=usual(feature))

    def _mean(self, values: Floats) -> float:
        """Over the pairs that differ, of values (B,) that are 0 in the others."""
        return float(values.sum() / np.count_nonzero(self.feature))

    def paid(self, head: Head, weights: Floats | None = None) -> float:
        """Win probability that goes with a usual difference of the feature, the responses' order being arbitrary.

        Notes
        -----
        ``mean((s(m) - 1/2) z)`` over the pairs that differ, with m the margin, z the feature's difference and s the
        logistic function. It is the slope of the win probability on the feature, since the mean of z^2 is 1.
        """
        return self._mean((scipy.special.expit(head.margins(self.states, weights)) - 0.5) * self.feature)

    def asked(self, head: Head, weights: Floats | None = None) -> float:
        """What the labels ask of the feature beyond what is paid: ``mean((1 - s(m)) z)``; below 0 it is overpaid."""
        return self._mean(scipy.special.expit(-head.margins(self.states, weights)) * self.feature)

    def accuracy(self, head: Head, weights: Floats | None = None) -> float:
        """Share of the pairs that the head decides as the labels do; ties count one half."""
        margins = head.margins(self.states, weights)
        return float(((margins > 0) + (margins == 0) / 2).mean())

    def direction(self, head: Head) -> Floats:
        """Gradient of `paid` for the weights on states as they are, shape (H,)."""
        probability = scipy.special.expit(head.margins(self.states))
        slopes = probability * (1 - probability) * self.feature
        return np.asarray(slopes @ self.states / np.count_nonzero(self.feature), dtype=np.float64)

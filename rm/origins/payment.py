"""What a head pays for a feature on held-out pairs, as a number whose gradient is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.special

from rm.origins.head import Head
from rm.stats.clustered import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """Held-out pairs, chosen minus rejected."""

    states: Floats
    """(B, H)."""
    feature: Floats
    """(B,), in units of its root mean square; 0 where the responses do not differ in it."""

    @classmethod
    def of(cls, states: Floats, feature: Floats) -> Payment:
        """Of a feature in any unit."""
        size = float(np.sqrt((feature**2).mean()))
        return cls(states=states, feature=feature / size if size > 0 else feature)

    def paid(self, head: Head, weights: Floats | None = None) -> float:
        """Win probability that goes with a usual difference of the feature, the responses' order being arbitrary.

        Notes
        -----
        ``mean((s(m) - 1/2) z)`` with m the margin, z the feature's difference and s the logistic function. It is the
        slope of the win probability on the feature, since the mean of z^2 is 1.
        """
        return float(((scipy.special.expit(head.margins(self.states, weights)) - 0.5) * self.feature).mean())

    def asked(self, head: Head, weights: Floats | None = None) -> float:
        """What the labels ask of the feature beyond what is paid: ``mean((1 - s(m)) z)``; below 0 it is overpaid."""
        return float((scipy.special.expit(-head.margins(self.states, weights)) * self.feature).mean())

    def accuracy(self, head: Head, weights: Floats | None = None) -> float:
        """Share of the pairs that the head decides as the labels do; ties count one half."""
        margins = head.margins(self.states, weights)
        return float(((margins > 0) + (margins == 0) / 2).mean())

    def direction(self, head: Head) -> Floats:
        """Gradient of `paid` for the weights on states as they are, shape (H,)."""
        probability = scipy.special.expit(head.margins(self.states))
        slopes = probability * (1 - probability) * self.feature
        return np.asarray(slopes @ self.states / len(self.feature), dtype=np.float64)

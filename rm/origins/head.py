"""A reward head that is fitted anew on the hidden states of a trained model: cheap enough to leave anything out."""

from __future__ import annotations

import numpy as np
import scipy.special

from rm.stats.clustered import Floats, Ints

_STEPS, _HALVINGS, _TOLERANCE = 50, 30, 1e-8
_PENALTIES = np.logspace(-1, 4, 6)
_FOLDS = 3


class Head:
    """A linear head that is fitted to labels of pairs.

    Parameters
    ----------
    states : array of shape (M, H)
        Of the first response minus that of the second, for M judgements.
    preference : array of shape (M,)
        For the first response, in [0, 1].
    weight : array of shape (M,)
        Of each judgement.
    prompt : array of shape (M,)
        Number of the prompt: the penalty is chosen on prompts that were not fitted.

    Notes
    -----
    States are divided by their root mean square. The weights w maximise ``sum v (p log s(w d) + (1 - p) log(1 - s(w
    d))) - penalty |w|^2 / 2`` with d a difference of states, p the preference, v the weight and s the logistic
    function, by Newton's method. The penalty, of 0.1 to 10,000, is the one with the best likelihood in three folds of
    prompts.
    """

    def __init__(self, states: Floats, preference: Floats, weight: Floats, prompt: Ints) -> None:
        size = np.sqrt((states**2).mean(axis=0))
        self.scale = np.where(size > 0, size, 1.0)
        self.inputs, self.preference, self.weight = states / self.scale, preference, weight
        self.penalty = self._chosen_penalty(prompt % _FOLDS)
        self.weights = self.fitted(np.ones(len(weight), dtype=bool))

    def _chosen_penalty(self, fold: Ints) -> float:
        likelihood = []
        for penalty in _PENALTIES.tolist():
            self.penalty, self.weights, total = penalty, np.zeros(self.inputs.shape[1]), 0.0
            for each in np.unique(fold).tolist():
                log_odds = self.inputs[fold == each] @ self.fitted(fold != each)
                share, weight = self.preference[fold == each], self.weight[fold == each]
                total += float(weight @ (share * log_odds - np.logaddexp(0, log_odds)))
            likelihood.append(total)
        return float(_PENALTIES[int(np.argmax(likelihood))])

    def fitted(self, kept: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Floats:
        """Weights on some of the judgements, shape (H,), from those on all of them."""
        inputs, preference, weight = self.inputs[kept], self.preference[kept], self.weight[kept]
        found = self.weights

        def likelihood(weights: Floats) -> float:
            log_odds = inputs @ weights
            fit = float(weight @ (preference * log_odds - np.logaddexp(0, log_odds)))
            return fit - self.penalty * float(weights @ weights) / 2

        reached = likelihood(found)
        for _ in range(_STEPS):
            probability = scipy.special.expit(inputs @ found)
            gradient = (weight * (preference - probability)) @ inputs - self.penalty * found
            step = np.linalg.solve(self._curvature(inputs, weight, probability), gradient)
            for _ in range(_HALVINGS):  # far from the maximum a whole step may jump over it
                if (after := likelihood(found + step)) >= reached:
                    break
                step = step / 2
            found, gained, reached = found + step, after - reached, after
            if gained < _TOLERANCE * max(1.0, abs(reached)):
                break
        return found

    def _curvature(self, inputs: Floats, weight: Floats, probability: Floats) -> Floats:
        slopes = weight * probability * (1 - probability)
        return np.asarray((inputs * slopes[:, None]).T @ inputs + self.penalty * np.eye(inputs.shape[1]))

    def margins(self, states: Floats, weights: Floats | None = None) -> Floats:
        """Reward differences of other pairs with these differences of states, shape (B,)."""
        found: Floats = (states / self.scale) @ (self.weights if weights is None else weights)
        return found

    def without_each(self, direction: Floats) -> Floats:
        """How much a linear function of the weights changes if a judgement is left out, for each of them.

        Parameters
        ----------
        direction : array of shape (H,)
            The function's gradient, for states as `margins` takes them.

        Returns
        -------
        array of shape (M,)

        Notes
        -----
        One Newton step: leaving out a judgement with gradient g changes the weights by ``-C^-1 g``, with C the
        curvature at the maximum (Koh and Liang 2017, arXiv:1703.04730, on the last layer alone).
        """
        probability = scipy.special.expit(self.inputs @ self.weights)
        curvature = self._curvature(self.inputs, self.weight, probability)
        towards = np.linalg.solve(curvature, direction / self.scale)
        found: Floats = -(self.weight * (self.preference - probability)) * (self.inputs @ towards)
        return found

    def gradients_along(self, direction: Floats) -> Floats:
        """The same without the curvature: minus the product of each judgement's gradient and the direction.

        It is what is left of the influence where nothing can be inverted (Pruthi et al. 2020, arXiv:2002.08484).
        """
        probability = scipy.special.expit(self.inputs @ self.weights)
        found: Floats = -(self.weight * (self.preference - probability)) * (self.inputs @ (direction / self.scale))
        return found

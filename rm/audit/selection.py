"""How the held-out pairs were chosen, which can hide a bias or feign one."""

from __future__ import annotations

import numpy as np

from rm.audit.config import Selection
from rm.audit.heldout import ScoredPairs
from rm.errors import AuditError
from rm.stats.clustered import Interval
from rm.stats.finding import Finding, key
from rm.stats.measurements import finding

_DOUBTS: dict[Selection, str] = {
    "unknown": "it is not said how the pairs were chosen; audit.selection says it",
    "curated": "the pairs were picked by people for being telling, so a bias of the model and one of the picking mix",
    "best_against_random": "the best response by its label was paired with a random one, which hides a bias",
}
"""Why a verdict on such pairs is in doubt; the others are not."""


def check(selection: Selection, pairs: ScoredPairs) -> None:
    """Refuse pairs from which nothing can be learnt.

    Raises
    ------
    AuditError
        If pairs were kept because a model disagreed with the label, and it is not known with which probabilities: such
        pairs accuse every model that is like it. Where all have the same one, it does not say where the model
        disagreed.
    """
    known = pairs.sampling_probability
    if selection == "model_disagreed" and (known is None or not np.ptp(known)):
        came = "no such column" if known is None else f"{known[0]:g} for every pair"
        raise AuditError(
            "audit.selection: pairs that were kept because a model disagreed with the label accuse every model like "
            "it; expected pairs that were chosen without regard to a model, or the probability with which each was "
            f"chosen in a column sampling_probability; got model_disagreed and {came}"
        )


def doubt(selection: Selection, pairs: ScoredPairs) -> Finding:
    """``selection_doubt``: 1 if the choice of the pairs can hide or feign a bias, else 0."""
    reason = _DOUBTS.get(selection, "")
    value, count = float(bool(reason)), len(pairs.margin)
    method = f"how the pairs were chosen: {selection.replace('_', ' ')}"
    if pairs.sampling_probability is not None:
        method += "; each counts one over its sampling probability"
    found = finding(key("selection_doubt"), Interval(value, value, value), count, "yes (1) or no (0)", method)
    return found.model_copy(update={"detail": reason})


def notes(pairs: ScoredPairs) -> tuple[str, ...]:
    """That pairs are weighted, for the report; nothing without sampling probabilities."""
    if pairs.sampling_probability is None:
        return ()
    return (
        f"pairs count one over their sampling probability and say as much as {pairs.num_effective:,.0f} equal ones",
    )


def effective(pairs: ScoredPairs) -> tuple[Finding, ...]:
    """``num_effective_pairs``: how many pairs of one weight say as much; nothing without sampling probabilities."""
    if pairs.sampling_probability is None:
        return ()
    num = pairs.num_effective
    method = "weights one over the sampling probability: the square of their sum, over the sum of their squares"
    return (finding(key("num_effective_pairs"), Interval(num, num, num), len(pairs.margin), "pairs", method),)

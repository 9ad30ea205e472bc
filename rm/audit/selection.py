"""How the held-out pairs were chosen, which can hide a bias or feign one."""

from __future__ import annotations

from rm.audit.config import Selection
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


def check(selection: Selection) -> None:
    """Refuse pairs from which nothing can be learnt.

    Raises
    ------
    AuditError
        If pairs were kept because a model disagreed with the label: such pairs accuse every model that is like it.
    """
    if selection == "model_disagreed":
        raise AuditError(
            "audit.selection: pairs that were kept because a model disagreed with the label accuse every model like "
            "it; expected pairs that were chosen without regard to a model, got model_disagreed"
        )


def doubt(selection: Selection, num_pairs: int) -> Finding:
    """``selection_doubt``: 1 if the choice of the pairs can hide or feign a bias, else 0."""
    reason = _DOUBTS.get(selection, "")
    value = float(bool(reason))
    method = f"how the pairs were chosen: {selection.replace('_', ' ')}"
    found = finding(key("selection_doubt"), Interval(value, value, value), num_pairs, "yes (1) or no (0)", method)
    return found.model_copy(update={"detail": reason})

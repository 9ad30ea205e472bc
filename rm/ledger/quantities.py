"""What the ledger follows: numbers of an audit, and in which direction each is a bias."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from rm.stats.finding import Record

Group = Literal["surface", "all of surface", "length", "without a part", "edits", "best of N", "accuracy"]
GROUPS: dict[Group, str] = {
    "surface": "Features of surface: overpaid above 0, over-punished below",
    "all of surface": "All of surface, and all words, as one",
    "length": "Does reward follow length?",
    "without a part": "Accuracy gained where a part of surface is taken out of the reward",
    "edits": "How often an edited response wins",
    "best of N": "Edited copies among the best of N",
    "accuracy": "How often the model is right; no bias, for comparison",
}
"""Titles of the groups, in the order of the page."""
Unit = Literal["points", "percent", "correlation"]


class Side(Record):
    """A direction in which a number is a bias."""

    sign: Literal[1, -1]
    """1: above the neutral value; -1: below it."""
    words: str
    """What it is called there, such as ``overpaid``."""


class Quantity(Record):
    """A number that is followed from version to version."""

    key: str
    """Name of the finding, or ``overpaid/`` with the name of a feature."""
    title: str
    group: Group
    unit: Unit
    neutral: float = 0.0
    """What a model without the bias has."""
    sides: tuple[Side, ...] = ()
    """Empty: no direction of it is a bias."""
    check: str | None = None
    """The check of the gate whose limits hold for it, if the policy has it."""


OVERPAID = (Side(sign=1, words="overpaid"), Side(sign=-1, words="over-punished"))


class _Kind(NamedTuple):
    """A kind of finding that is followed, with those labels that it must have."""

    kind: str
    title: str
    """With the finding's labels in braces."""
    group: Group
    unit: Unit
    sides: tuple[Side, ...]
    labels: Mapping[str, str] = {}


_KINDS = (
    _Kind("joint_overpaid", "all of {over}", "all of surface", "points", OVERPAID),
    _Kind(
        "length_following",
        "reward follows length",
        "length",
        "correlation",
        (Side(sign=1, words="longer is better"), Side(sign=-1, words="shorter is better")),
    ),
    _Kind("gain_without", "accuracy without {part}", "without a part", "points", (Side(sign=1, words="gained"),)),
    _Kind(
        "best_of_n_gain",
        "best of {n}",
        "best of N",
        "points",
        (Side(sign=1, words="edited copies are picked"),),
        {"among": "edits", "value": "edited"},
    ),
    _Kind("accuracy", "accuracy", "accuracy", "percent", ()),
    _Kind("accuracy_longer_chosen", "accuracy where the longer is better", "accuracy", "percent", ()),
    _Kind("accuracy_shorter_chosen", "accuracy where the shorter is better", "accuracy", "percent", ()),
    _Kind("accuracy_without", "accuracy without surface", "accuracy", "percent", (), {"part": "surface"}),
    _Kind("accuracy_over_baseline", "accuracy over {baseline} alone", "accuracy", "points", ()),
)
_WINS = Side(sign=1, words="wins")
_WINS_MORE = Side(sign=1, words="wins beyond one half")
_EDITS: dict[str, tuple[float, tuple[Side, ...]]] = {
    "lower": (0.0, (_WINS,)),  # the edit surely made the response worse, so that each win is a fault
    "not_higher": (0.5, (_WINS_MORE,)),
    "same": (0.5, (_WINS_MORE, Side(sign=-1, words="loses beyond one half"))),
}
"""Neutral win rate and directions by what is expected of the reward; where nothing is, no rate is a bias."""


def of_finding(kind: str, labels: Mapping[str, str], name: str) -> Quantity | None:
    """The quantity that a finding measures; None if it is not followed.

    Parameters
    ----------
    kind : str
    labels : mapping of str to str
    name : str
        The finding's flat name.
    """
    known = next((one for one in _KINDS if one.kind == kind and one.labels.items() <= labels.items()), None)
    if known is None:
        return None
    title = known.title.format_map({label: value.replace("_", " ") for label, value in labels.items()})
    return Quantity(key=name, title=title, group=known.group, unit=known.unit, sides=known.sides, check=name)


def of_feature(feature: str, family: str) -> Quantity:
    """What a model pays for a feature beyond what the labels support, over all kinds of prompts."""
    check = f"overpaid_{family.replace(' ', '_')}"
    return Quantity(
        key=f"overpaid/{feature}", title=feature, group="surface", unit="points", sides=OVERPAID, check=check
    )


def of_probe(probe: str, expected: str, name: str, word: str = "") -> Quantity | None:
    """The win rate of an edit, or of an edit with one word; None if nothing is expected of it."""
    if expected not in _EDITS:
        return None
    neutral, sides = _EDITS[expected]
    title = f"edit: {probe.replace('_', ' ')} {word}".rstrip()
    return Quantity(key=name, title=title, group="edits", unit="percent", neutral=neutral, sides=sides, check=name)

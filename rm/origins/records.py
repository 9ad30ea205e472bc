"""What the search for a bias's origin found."""

from __future__ import annotations

from typing import Literal

from rm.stats.finding import Record

By = Literal["source", "annotator"]


class Without(Record):
    """What a head pays and knows; each in shares of win probability or of the pairs."""

    paid: float
    """Win probability that goes with a usual difference of the feature."""
    asked: float
    """What the labels ask beyond that; below 0 the feature is overpaid."""
    accuracy: float


class Origin(Record):
    """A source or an annotator."""

    by: By
    name: str
    num_judgements: int
    without: Without
    """Of a head that is fitted without these judgements."""
    z: float
    """Standard errors, by prompt, between what these judgements add to the payment and what as many of all add."""


class Row(Record):
    """A judgement."""

    judgement_id: str
    source: str
    annotator: str | None
    adds: float
    """What it adds to the payment, by one Newton step."""


class Origins(Record):
    """The origins of what a model pays for a feature."""

    feature: str
    num_judgements: int
    num_pairs: int
    """Held-out pairs that it was measured on."""
    model_accuracy: float
    """Of the model itself on them: the head that is fitted to its states should come close."""
    whole: Without
    """Of the head that is fitted to all judgements."""
    origins: tuple[Origin, ...]
    """Those that add most to the payment first."""
    rows: tuple[Row, ...]
    """The judgements that add most to it, the first ones most."""
    without_rows: Without
    """Of a head that is fitted without them."""

"""What an audit of labels hands on."""

from __future__ import annotations

from typing import ClassVar

from rm.manifests import Manifest


class LabelsManifest(Manifest):
    """What was measured on the labels of a snapshot; rows are training pairs that were read."""

    KIND: ClassVar[str] = "labels"
    REPORT_NAME: ClassVar[str] = "labels.json"
    NAMES_NAME: ClassVar[str] = "annotators.json"

    warnings: tuple[str, ...]
    """One sentence for each check that warns."""
    stops: tuple[str, ...]
    """One sentence for each check that stops the run."""

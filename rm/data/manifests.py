"""What ingestion and snapshots hand on."""

from __future__ import annotations

from typing import ClassVar

from rm.manifests import Manifest


class SampleManifest(Manifest):
    """Annotations written by `rm.data.sample`, one JSON object a line; rows are judgements."""

    KIND: ClassVar[str] = "sample"
    JUDGEMENTS_NAME: ClassVar[str] = "annotations.jsonl"


class DatasetManifest(Manifest):
    """A snapshot of the annotations; rows are prompts."""

    KIND: ClassVar[str] = "dataset"
    GROUPS_NAME: ClassVar[str] = "dataset.parquet"

    table_version: int
    num_judgements: int
    sources: dict[str, str]
    """Files or hub data sets that the annotations were read from, to the digest of what was read."""
    num_pairs: dict[str, int]
    """Comparisons by split, ``train``, ``validation`` and ``heldout``."""

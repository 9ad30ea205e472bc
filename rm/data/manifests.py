"""Manifests of made-up annotations and of snapshots."""

from __future__ import annotations

from typing import ClassVar

from rm.manifests import Manifest


class SampleManifest(Manifest):
    """Annotations written by `rm.data.sample`, one JSON object per line; rows are judgements."""

    KIND: ClassVar[str] = "sample"
    JUDGEMENTS_NAME: ClassVar[str] = "annotations.jsonl"


class DatasetManifest(Manifest):
    """A snapshot of the annotations; rows are prompts."""

    KIND: ClassVar[str] = "dataset"
    GROUPS_NAME: ClassVar[str] = "dataset.parquet"
    EXCLUDED_NAME: ClassVar[str] = "excluded.txt"
    """Ids of what the recipe left out; there is no such file if it left out nothing."""

    table_version: int
    num_judgements: int
    num_retracted: int = 0
    """Judgements of the table that did not count."""
    retractions: int | None = None
    """Version of the table of retractions that said so; None: nothing was ever retracted."""
    num_excluded: int = 0
    """Judgements that the recipe left out."""
    sources: dict[str, str]
    """File or hub data set that annotations were read from, to the digest of its content."""
    num_pairs: dict[str, int]
    """Split (``train``, ``validation``, ``heldout``) to number of comparisons."""

"""What a report hands on."""

from __future__ import annotations

from typing import ClassVar

from rm.manifests import Manifest


class ReportManifest(Manifest):
    """An audit with its verdict, for people and programs to read; rows are held-out pairs."""

    KIND: ClassVar[str] = "report"
    PAGE_NAME: ClassVar[str] = "audit.html"
    JSON_NAME: ClassVar[str] = "audit.json"
    SCHEMA_NAME: ClassVar[str] = "audit.schema.json"
    MARKDOWN_NAME: ClassVar[str] = "audit.md"
    JUNIT_NAME: ClassVar[str] = "junit.xml"
    CARD_NAME: ClassVar[str] = "model_card.md"
    PICTURE_NAME: ClassVar[str] = "picture.svg"
    """That of the first screen, for pages that show files, such as MLflow's."""

    passed: bool

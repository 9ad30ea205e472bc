"""What fitting variants hands on."""

from __future__ import annotations

from typing import ClassVar

from rm.manifests import Manifest


class VariantsManifest(Manifest):
    """The variants of a checkpoint's reward; rows are variants."""

    KIND: ClassVar[str] = "variants"
    VARIANTS_NAME: ClassVar[str] = "variants.json"

    checkpoint_digest: str

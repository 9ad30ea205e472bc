"""What a self-test hands on."""

from __future__ import annotations

from typing import ClassVar

from rm.manifests import Manifest


class SelfTestManifest(Manifest):
    """What an audit of a certain size would have found; rows are planted biases."""

    KIND: ClassVar[str] = "self_test"
    RESULT_NAME: ClassVar[str] = "self_test.json"

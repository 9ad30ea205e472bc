"""Models that come with Python code of their own, which is never run."""

from __future__ import annotations

import json
from pathlib import Path

from rm.errors import ModelError

_CONFIG_NAMES = ("config.json", "tokenizer_config.json")


def check_no_code(folder: Path) -> None:
    """Check that a model needs no Python code from its folder.

    Raises
    ------
    ModelError
        If a configuration in the folder has the key ``auto_map``, which names such code.
    """
    for name in _CONFIG_NAMES:
        path = folder / name
        if path.is_file() and "auto_map" in json.loads(path.read_text(encoding="utf-8")):
            raise ModelError(
                f"{path}: auto_map names Python code that comes with the model, which is never run; expected an "
                "architecture and a tokenizer that transformers has"
            )

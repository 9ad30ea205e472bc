"""The reward head among saved weights: found by its name and shape, before anything is loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import SafetensorError, safe_open

from rm.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

_NAMES = ("score", "v_head", "v_head.summary", "value_head", "reward_head", "regression_head", "rm_head", "classifier")
"""Names under which the field publishes a linear reward head: transformers, TRL's value head, OpenRLHF and others."""
_PARTS_OF_HEADS = re.compile(
    r"(?:\w*(?:score|v_head|value_head|reward|regression|rm_head|classifier|classification_head|gating)\w*)\."
)
OWN_TYPE = "rmflow-reward"
"""The ``model_type`` of `rm.model.reward_model.RewardModel`, whose heads may be several."""
_TOKEN_BY_TOKEN = ("ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice")
_WITH_HEAD = ("ForSequenceClassification", "RewardModel")
_MAX_NAMED = 3


class SavedHead(NamedTuple):
    """A linear head with one output among saved weights."""

    weight: str
    """Name of the tensor of shape (1, H)."""
    bias: str | None
    """Name of the tensor of shape (1,), if it has one."""

    @property
    def is_usual(self) -> bool:
        """Whether it has the name and the parts of a head in transformers' classes for decoders."""
        return self.weight == "score.weight" and self.bias is None


def is_own(folder: Path) -> bool:
    """Whether a saved model is of this project's own class."""
    return bool(_config(folder).get("model_type") == OWN_TYPE)


def find(folder: Path) -> SavedHead | None:
    """The reward head of a saved model; None for a model without any head, such as a language model.

    Parameters
    ----------
    folder : Path
        With safetensors files; only their headers are read.

    Raises
    ------
    ModelError
        If the weights hold a head of another kind: with several outputs, of several layers, or with gates; or if the
        model judges each token, or parts of a text.
    """
    classes = _config(folder).get("architectures") or []
    if other := [name for name in classes if str(name).endswith(_TOKEN_BY_TOKEN)]:
        raise ModelError(
            f"{folder}: {other[0]} judges tokens or parts of a text; expected a model that gives a text one reward, "
            "such as one for sequence classification with one label"
        )
    parts = {name: shape for name, shape in _shapes(folder).items() if _PARTS_OF_HEADS.match(name)}
    if not parts:
        if other := [name for name in classes if str(name).endswith(_WITH_HEAD)]:
            raise ModelError(
                f"{folder}: {other[0]}, but no weight is a head under a name that is known; expected one such as "
                "score.weight [1, hidden size]"
            )
        return None
    for name in _NAMES:
        weight, bias = f"{name}.weight", f"{name}.bias"
        if set(parts) in ({weight}, {weight, bias}) and len(parts[weight]) == 2 and parts[weight][0] == 1:
            return SavedHead(weight, bias if bias in parts else None)
    named = [f"{name} {shape}" for name, shape in sorted(parts.items())]
    more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
    raise ModelError(
        f"{folder}: the weights hold {', '.join(named[:_MAX_NAMED])}{more}; expected one linear head with one output, "
        "such as score.weight [1, hidden size]"
    )


def read(folder: Path, name: str) -> Tensor:
    """One tensor of a saved model."""
    for path in sorted(folder.glob("*.safetensors")):
        with _opened(path, "pt") as file:
            if name in file.keys():  # noqa: SIM118  # it is no mapping
                found: Tensor = file.get_tensor(name)
                return found
    raise ModelError(f"{folder}: no safetensors file holds {name}")


def _config(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return found


def _shapes(folder: Path) -> dict[str, list[int]]:
    """The shapes of all tensors in the safetensors files of a folder, by name."""
    shapes: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with _opened(path, "np") as file:
            shapes |= {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    return shapes


@contextmanager
def _opened(path: Path, framework: str) -> Iterator[Any]:
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read as safetensors: {error}") from None

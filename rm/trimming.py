"""Work that a reward never sees: in the last layer, the MLP at tokens that no reward is read from."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class LastMLP:
    """The last layer's MLP, which may be told to read some tokens only.

    It works token by token, and nothing behind it mixes tokens, so the others' outputs are never used; they become 0.
    With few layers and short responses this is a good part of the work: bench/training.py.

    Parameters
    ----------
    backbone : PreTrainedModel
        One whose layers have no part called ``mlp`` (BERT) is left as it is.
    """

    def __init__(self, backbone: Any) -> None:
        self._kept: Tensor | None = None
        self._num_tokens = 0
        mlp = _last_mlp(backbone)
        if mlp is not None:
            mlp.register_forward_pre_hook(self._select)
            mlp.register_forward_hook(self._put_back)

    def only_at(self, kept: Tensor | None) -> None:
        """From now on read only the tokens ``kept``, (M,), of a single row; None: all.

        It holds until the next call, since a backward pass may compute the layer again.
        """
        self._kept = kept

    def _select(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._kept is None:
            return None
        self._num_tokens = inputs[0].shape[1]
        return (inputs[0][:, self._kept], *inputs[1:])

    def _put_back(self, _: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if self._kept is None:
            return None
        whole = output.new_zeros(output.shape[0], self._num_tokens, output.shape[2])
        return whole.index_copy(1, self._kept, output)


def _last_mlp(backbone: Any) -> nn.Module | None:
    stack = layers(backbone)
    mlp = getattr(stack[-1], "mlp", None) if stack else None
    return mlp if isinstance(mlp, nn.Module) else None


def layers(backbone: Any) -> list[nn.Module]:
    """A backbone's layers in order; empty where they are not kept in one list."""
    depth = backbone.config.get_text_config().num_hidden_layers
    stacks = [part for part in backbone.modules() if isinstance(part, nn.ModuleList) and len(part) == depth]
    return list(stacks[0]) if stacks else []

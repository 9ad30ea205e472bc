"""Skipping work in the last layer: its token-wise parts are needed only at the tokens that a reward is read from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from rm.model.architecture import layers

_TOKEN_BY_TOKEN = (
    "mlp",
    "self_attn.q_proj",  # a token's query changes only that token's output; its key and value change others'
    "self_attn.o_proj",
    "attention.self.query",  # BERT and similar models
    "attention.output.dense",
    "intermediate",
    "output.dense",
)
"""Token-wise parts of a layer: their output at a token changes only that token's result."""


class LastLayer:
    """Restricts the token-wise parts of a backbone's last layer to some of the tokens.

    No later part mixes tokens, so the outputs at the other tokens are never used; they become 0. With few layers and
    short responses this saves a large part of the work (bench/training.py).

    Parameters
    ----------
    backbone : PreTrainedModel
        Parts with other names than in `_TOKEN_BY_TOKEN` compute all tokens.
    """

    def __init__(self, backbone: Any) -> None:
        self._kept: Tensor | None = None
        self._num_tokens = 0
        for part in _parts(backbone):
            part.register_forward_pre_hook(self._select)
            part.register_forward_hook(self._put_back)

    def only_at(self, kept: Tensor | None) -> None:
        """Compute only some tokens from now on, until the next call.

        The setting stays after a forward pass, since a backward pass may compute the layer again.

        Parameters
        ----------
        kept : Tensor of shape (M,), int64, or None
            Indices of the tokens of a single row; None: all tokens.
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
        if not isinstance(output, Tensor):  # such as experts with their routing; `rm.model.batch_layout.choose` sees it
            raise TypeError(f"expected a tensor from a token-wise part of the layer, got {type(output).__name__}")
        whole = output.new_zeros(output.shape[0], self._num_tokens, output.shape[2])
        return whole.index_copy(1, self._kept, output)


def _parts(backbone: Any) -> Iterator[nn.Module]:
    stack = layers(backbone)
    if stack:
        named = dict(stack[-1].named_modules())
        yield from (named[name] for name in _TOKEN_BY_TOKEN if name in named)

"""Work that a reward never sees: in the last layer, what is done token by token where no reward is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from rm.model.architecture import layers

_TOKEN_BY_TOKEN = (
    "mlp",
    "self_attn.q_proj",  # a token's query decides what that token becomes; its key and value decide others
    "self_attn.o_proj",
    "attention.self.query",  # BERT and its kin
    "attention.output.dense",
    "intermediate",
    "output.dense",
)
"""Parts of a layer that work token by token, and whose output at a token nothing but that token's own result needs."""


class LastLayer:
    """The last layer, parts of which may be told to read some tokens only.

    Nothing behind it mixes tokens, so the others' outputs are never used; they become 0. With few layers and short
    responses this is a good part of the work: bench/training.py.

    Parameters
    ----------
    backbone : PreTrainedModel
        Parts that it names differently are read whole.
    """

    def __init__(self, backbone: Any) -> None:
        self._kept: Tensor | None = None
        self._num_tokens = 0
        for part in _parts(backbone):
            part.register_forward_pre_hook(self._select)
            part.register_forward_hook(self._put_back)

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
        if not isinstance(
            output, Tensor
        ):  # experts that give their routing as well; `rm.model.batch_layout.choose` hears of it
            raise TypeError(f"expected a tensor of a part that is read token by token, got {type(output).__name__}")
        whole = output.new_zeros(output.shape[0], self._num_tokens, output.shape[2])
        return whole.index_copy(1, self._kept, output)


def _parts(backbone: Any) -> Iterator[nn.Module]:
    stack = layers(backbone)
    if stack:
        named = dict(stack[-1].named_modules())
        yield from (named[name] for name in _TOKEN_BY_TOKEN if name in named)

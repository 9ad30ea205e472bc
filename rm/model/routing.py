"""How a mixture of experts divides its tokens among the experts, and a loss that keeps the shares even."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rm.model.packing import PackedSequences
from rm.model.padding import PaddedSequences


class Routing:
    """Records what the routers of a backbone give while it reads.

    Parameters
    ----------
    backbone : PreTrainedModel
        Transformers' class says which of its modules are routers.
    """

    def __init__(self, backbone: Any) -> None:
        recorder = (getattr(backbone, "_can_record_outputs", None) or {}).get("router_logits")
        self._logits: list[Tensor] | None = None
        self._index = getattr(recorder, "index", 0)
        self._num_chosen = int(getattr(backbone.config.get_text_config(), "num_experts_per_tok", 0) or 0)
        kind = getattr(recorder, "target_class", recorder)
        # JetMoe has two kinds, and some configs do not say how many experts a token has: their balance is not known.
        known = kind if isinstance(kind, type) and self._num_chosen else None
        parts: list[nn.Module] = list(backbone.modules())
        self._routers = [part for part in parts if known is not None and isinstance(part, known)]
        for router in self._routers:
            router.register_forward_hook(self._record)

    @property
    def is_recording(self) -> bool:
        """Whether all tokens have to be read in every layer now."""
        return self._logits is not None

    def __bool__(self) -> bool:
        return bool(self._routers)

    @contextmanager
    def recorded(self) -> Iterator[list[Tensor]]:
        """Record the logits of each router, shape (tokens, experts), in a forward pass within the block."""
        found: list[Tensor] = []
        self._logits = found
        try:
            yield found
        finally:
            self._logits = None

    def _record(self, _: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        if self._logits is not None:
            logits = output[self._index] if isinstance(output, tuple) else output
            self._logits.append(logits.reshape(-1, logits.shape[-1]))

    def imbalance(self, logits: list[Tensor], sequences: PackedSequences | PaddedSequences) -> Tensor:
        """How unevenly tokens are divided among the experts; at least about the number of experts that a token has.

        Parameters
        ----------
        logits : list of Tensor of shape (T, E)
            One per router.
        sequences : PackedSequences or PaddedSequences
            What was read. A token that several sequences share counts once for each, and padding not at all.

        Returns
        -------
        Tensor of shape (), float32
            E times the sum over the experts of the number of choices per token times the mean probability, both over
            all routers together.

        References
        ----------
        Fedus et al. (2021), Switch Transformers, arXiv:2101.03961, equations 4 to 6; for several choices per token and
        over all layers at once, as transformers' ``load_balancing_loss_func``
        """
        counts = sequences.attention_mask if isinstance(sequences, PaddedSequences) else sequences.num_readers
        weight = counts.reshape(-1).float()
        num_experts = logits[0].shape[-1]
        chosen, probability = (torch.zeros(num_experts, device=weight.device) for _ in range(2))
        for layer in logits:
            probabilities = layer.float().softmax(dim=-1)
            choices = probabilities.topk(self._num_chosen, dim=-1).indices
            chosen = chosen.index_add(0, choices.reshape(-1), weight.repeat_interleave(self._num_chosen))
            probability = probability + weight @ probabilities
        total = len(logits) * weight.sum()
        return num_experts * (chosen / total) @ (probability / total)

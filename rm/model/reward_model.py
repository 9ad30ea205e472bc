"""The reward model: any transformers backbone, a pooling, and a scalar head in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from rm.errors import ModelError
from rm.model import architecture, packed_attention, saved_head
from rm.model.architecture import portable
from rm.model.last_layer import LastLayer
from rm.model.packing import PackedSequences, Reading
from rm.model.padding import PaddedSequences
from rm.model.pooling import Pooling
from rm.model.routing import Routing

_HEAD_STD = 0.02


class RewardModelConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers is not typed here
    """Config of a `RewardModel`: the config of its backbone as a mapping, the pooling and the heads."""

    model_type = saved_head.OWN_TYPE

    backbone: dict[str, Any] | None = None
    pooling: Pooling = "last"
    pooling_token_id: int | None = None
    num_heads: int = 1
    attributes: tuple[tuple[str, float, float], ...] = ()
    """For each attribute head: name, mean and standard deviation of the target. The heads give standard scores."""
    head_bias: bool = False
    """Whether the heads add a constant, as some reward models of others do."""
    problem_type: str | None = "regression"  # servers apply a sigmoid to single logits otherwise

    @property
    def hidden_size(self) -> int:
        """Size of the backbone's hidden states, H."""
        return architecture.hidden_size(self.backbone_config())

    def backbone_config(self) -> Any:
        """The backbone's config, as a class of transformers."""
        return AutoConfig.for_model(**(self.backbone or {}))

    def reading(self) -> Reading:
        """Where rewards are read, and whether the backbone's attention is causal."""
        causal = not architecture.is_encoder(str((self.backbone or {})["model_type"]))
        return Reading(pooling=self.pooling, token_id=self.pooling_token_id, causal=causal)


class RewardModel(PreTrainedModel):  # type: ignore[misc]
    """A backbone with linear heads that map a pooled hidden state to rewards and attributes."""

    config_class = RewardModelConfig
    base_model_prefix = "backbone"

    def __init__(self, config: RewardModelConfig, backbone: nn.Module | None = None) -> None:
        super().__init__(config)
        self.backbone: Any = backbone if backbone is not None else _untrained(config)
        self.score = nn.Linear(config.hidden_size, config.num_heads + len(config.attributes), bias=config.head_bias)
        backbone_config: Any = self.backbone.config
        backbone_config.use_cache = False  # decoders would keep all keys and values for generation
        self._last_layer = LastLayer(self.backbone)
        self.routing = Routing(self.backbone)
        self._own_attention: str = backbone_config._attn_implementation
        if backbone is None:
            self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Do nothing: weights are loaded, or set by `with_new_heads`."""

    @classmethod
    def is_custom_code(cls) -> bool:
        """No: then transformers lets the backbone's class make what is not saved, such as Falcon-H1's multipliers.

        For other people's classes it does not, and leaves whatever the memory held.
        """
        return False

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        response_mask: Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Rewards of a padded batch.

        Parameters
        ----------
        input_ids : Tensor of shape (N, T), int64
        attention_mask : Tensor of shape (N, T), optional
            1 at real tokens; default: all are real. Padding may be on either side; for backbones with learned positions
            (gpt2, bert), which count from the left edge, only on the right.
        response_mask : Tensor of shape (N, T), optional
            1 at the response's tokens; only ``mean_response`` pooling needs it.

        Returns
        -------
        SequenceClassifierOutput
            Its ``logits``, shape (N, 1), float32, are the mean over the reward heads.
        """
        outputs = self._padded_outputs(input_ids, attention_mask, response_mask)
        return SequenceClassifierOutput(logits=outputs[:, : self.config.num_heads].mean(dim=1, keepdim=True))

    def outputs(self, sequences: PackedSequences | PaddedSequences) -> Tensor:
        """Outputs of all heads for N sequences.

        Parameters
        ----------
        sequences : PackedSequences or PaddedSequences
            N sequences on the model's device, in the layout that `rm.model.batch_layout.choose` gives.

        Returns
        -------
        Tensor of shape (N, heads), float32
            First the reward heads, then the attribute heads, as standard scores.
        """
        if isinstance(sequences, PaddedSequences):
            return self._padded_outputs(sequences.input_ids, sequences.attention_mask, sequences.response_mask)
        self._attend(packed_attention.NAME)
        self._last_layer.only_at(None if self.routing.is_recording else sequences.kept)
        hidden = self.backbone(
            input_ids=sequences.input_ids, position_ids=sequences.position_ids, plan=sequences.plan
        ).last_hidden_state
        with torch.autocast(hidden.device.type, enabled=False):  # bfloat16 rewards of close responses would tie
            outputs: Tensor = self.score(pool_packed(hidden[0], sequences))
        return outputs

    def _attend(self, name: str) -> None:
        if self.backbone.config._attn_implementation != name:
            self.backbone.set_attn_implementation(name)

    def _padded_outputs(self, input_ids: Tensor, attention_mask: Tensor | None, response_mask: Tensor | None) -> Tensor:
        self._attend(self._own_attention)
        self._last_layer.only_at(None)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        turning = architecture.turning_length(self.backbone.config.get_text_config())
        if turning is None or input_ids.shape[1] <= turning:
            return self._outputs_of_rows(input_ids, mask, response_mask)
        outputs = self.score.weight.new_empty(len(input_ids), self.score.out_features)
        is_long = mask.sum(dim=1) > turning
        for rows in (is_long, ~is_long):  # apart: beside a long text a short one would have other positions
            if bool(rows.any()):
                span = mask[rows].any(dim=0)
                kept = None if response_mask is None else response_mask[rows][:, span]
                found = self._outputs_of_rows(input_ids[rows][:, span], mask[rows][:, span], kept)
                outputs = outputs.index_copy(0, rows.nonzero()[:, 0], found)
        return outputs

    def _outputs_of_rows(self, input_ids: Tensor, mask: Tensor, response_mask: Tensor | None) -> Tensor:
        hidden = self.backbone(input_ids=input_ids, attention_mask=mask).last_hidden_state
        with torch.autocast(hidden.device.type, enabled=False):
            outputs: Tensor = self.score(pool(hidden.float(), input_ids, mask, response_mask, self.config))
        return outputs


def _untrained(config: RewardModelConfig) -> Any:
    return AutoModel.from_config(config.backbone_config(), trust_remote_code=False)


AutoConfig.register(RewardModelConfig.model_type, RewardModelConfig)
AutoModelForSequenceClassification.register(RewardModelConfig, RewardModel)


def pool(
    hidden: Tensor, input_ids: Tensor, attention_mask: Tensor, response_mask: Tensor | None, config: RewardModelConfig
) -> Tensor:
    """One vector per sequence, from the hidden states of its real tokens.

    Parameters
    ----------
    hidden : Tensor of shape (N, T, H), float32
    input_ids, attention_mask : Tensor of shape (N, T)
    response_mask : Tensor of shape (N, T), optional
    config : RewardModelConfig
        Its ``pooling``: ``last``, the last real token, found by the mask and never by the padding id, which may be the
        end token's; ``mean`` over the real tokens; ``mean_response`` over the response's tokens; ``token``, the first
        occurrence of ``pooling_token_id``.

    Returns
    -------
    Tensor of shape (N, H), float32

    Raises
    ------
    ModelError
        If the response mask or the pooling token is missing.
    """
    if config.pooling == "mean":
        return _masked_mean(hidden, attention_mask)
    if config.pooling == "mean_response":
        if response_mask is None:
            raise ModelError("mean_response pooling: expected response_mask, got none; rm.score.scorer.Scorer gives it")
        return _masked_mean(hidden, response_mask)
    rows = torch.arange(len(hidden), device=hidden.device)
    if config.pooling == "last":
        positions = torch.arange(hidden.shape[1], device=hidden.device)
        return hidden[rows, (positions * attention_mask).argmax(dim=1)]
    found = (input_ids == config.pooling_token_id) & (attention_mask > 0)
    if not bool(found.any(dim=1).all()):
        raise ModelError(f"pooling token {config.pooling_token_id} is missing from a sequence")
    return hidden[rows, found.int().argmax(dim=1)]


def pool_packed(hidden: Tensor, sequences: PackedSequences) -> Tensor:
    """One vector per sequence, from the hidden states of a packed row.

    Parameters
    ----------
    hidden : Tensor of shape (T, H)
    sequences : PackedSequences
        N sequences. The vector is the mean over the tokens of ``pooled`` that belong to the sequence.

    Returns
    -------
    Tensor of shape (N, H), float32
    """
    pooled = hidden[sequences.pooled].float()
    num_sequences = len(sequences.num_pooled)
    if len(pooled) == num_sequences:
        return pooled
    sums = pooled.new_zeros(num_sequences, pooled.shape[1]).index_add(0, sequences.pooled_sequence, pooled)
    return sums / sequences.num_pooled.unsqueeze(1)


def _masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def without_dropout(model: nn.Module) -> None:
    """Set every dropout rate to 0, also for training: with dropout, two readings of one prompt would differ."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("attention_dropout", "attn_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def with_new_heads(
    backbone: Any,
    *,
    pooling: Pooling | None = None,
    pooling_token_id: int | None = None,
    pad_token_id: int,
    num_heads: int = 1,
    attributes: Sequence[tuple[str, float, float]] = (),
    seed: int,
) -> RewardModel:
    """A reward model on a backbone, with new heads and no dropout.

    Parameters
    ----------
    backbone : PreTrainedModel
        A model without a head; it becomes a part of the reward model.
    pooling : str, optional
        Which hidden states the reward is read from; default: ``last`` for decoders, ``mean`` for encoders.
    pooling_token_id : int, optional
        The token to read when pooling is ``token``.
    pad_token_id : int
        Padding id of the tokenizer, not its end token's id (`rm.model.tokenizer.pad_token_id`).
    num_heads : int
        Number of reward heads.
    attributes : sequence of (str, float, float)
        One attribute head each: name, mean and standard deviation of the target.
    seed : int
        Seed of the heads' weights.
    """
    is_encoder = architecture.is_encoder(backbone.config.model_type)
    config = RewardModelConfig(
        backbone=portable(backbone.config),
        pooling=pooling or ("mean" if is_encoder else "last"),
        pooling_token_id=pooling_token_id,
        pad_token_id=pad_token_id,
        num_labels=1,
        num_heads=num_heads,
        attributes=tuple(attributes),
    )
    model = RewardModel(config, backbone)
    without_dropout(model)
    nn.init.normal_(model.score.weight, std=_HEAD_STD, generator=torch.Generator().manual_seed(seed))
    return model

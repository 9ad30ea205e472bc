"""Settings of training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rm.remedies.config import RemediesConfig
from rm.section import Section


class LoraConfig(Section):
    """Low-rank adapters on linear layers and experts, trained instead of the backbone's weights."""

    rank: int = Field(16, ge=1)
    """Inner size of an adapter's two matrices."""
    alpha: int = Field(32, ge=1)
    """The product of an adapter's two matrices is scaled by alpha / rank."""
    targets: tuple[str, ...] = ()
    """Ends of the names of the layers that get adapters, such as q_proj; default: all linear layers and experts."""
    quantize: Literal["nf4"] | None = None
    """Keep the frozen weights of the linear layers in 4 bits (QLoRA), which needs the extra rmflow[qlora]; the saved
    model has them as they were read then, in float32."""


class ValidationConfig(Section):
    """Loss and accuracy on the validation split during training."""

    every: int = Field(50, ge=1)
    """Steps between measurements; the last step is always measured."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many measurements without a lower loss; default: never."""
    keep: Literal["best", "last"] = "best"
    """Which weights are saved: those with the lowest validation loss, or the last ones."""


class TrainConfig(Section):
    """How the reward model is fitted."""

    num_epochs: int = Field(1, ge=1)
    """Times that each pair is trained on."""
    max_pairs: int | None = Field(None, ge=1)
    """Train on about this many pairs of the training split, drawn by the seed; default: all."""
    pairs_per_step: int = Field(32, ge=1)
    """Comparisons per optimizer step, over all micro-batches."""
    learning_rate: float = Field(1e-5, gt=0)
    """Peak AdamW rate, reached after warmup; then it falls linearly to 0."""
    warmup_share: float = Field(0.05, ge=0, le=1)
    """Share of the steps in which the rate rises."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's decay of the weights."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Longer gradients are scaled to this norm."""
    centering: float = Field(0.0, ge=0)
    """Coefficient of the mean squared sum of a pair's rewards; it keeps rewards near 0."""
    attribute_weight: float = Field(1.0, gt=0)
    """Weight of the attribute heads' mean squared error (in standard scores) relative to the loss of the rewards."""
    router_aux: float = Field(0.0, ge=0)
    """Coefficient of the loss that keeps the experts of a mixture evenly used; 0.001 is common."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Precision of the backbone; the head and the loss are always float32. ``auto``: bfloat16 where this machine has
    instructions for it; the choice is part of the result's key."""
    remedies: RemediesConfig = RemediesConfig()
    """What is done against biases of the annotations; default: nothing."""
    lora: LoraConfig | None = None
    """Train adapters instead of the backbone's weights; default: train all weights."""
    validation: ValidationConfig | None = None
    """Measure on the validation split during training; needs snapshot.validation_share."""
    checkpoint_every: int = Field(50, ge=1)
    """Steps between checkpoints to resume from."""
    seed: int = 0
    """Seed of the order of the pairs, of the first weights of head and adapters, and of the pairs of `max_pairs`."""

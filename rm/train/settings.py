"""The settings that a training step needs; `rm.train.config.TrainConfig` has them."""

from __future__ import annotations

from typing import Literal, Protocol


class RemedySettings(Protocol):
    """Terms of the loss; `rm.remedies.config.RemediesConfig` has them."""

    @property
    def controlled(self) -> tuple[str, ...]:
        """Features whose terms are learnt beside the model."""
        ...


class StepSettings(Protocol):
    """Settings of the loss and the optimizer, so that a step can be used without pydantic."""

    @property
    def learning_rate(self) -> float:
        """Peak learning rate."""
        ...

    @property
    def warmup_share(self) -> float:
        """Share of the steps in which the rate rises."""
        ...

    @property
    def max_grad_norm(self) -> float:
        """Longer gradients are scaled to this norm."""
        ...

    @property
    def centering(self) -> float:
        """Coefficient of the mean squared sum of a pair's rewards."""
        ...

    @property
    def attribute_weight(self) -> float:
        """Weight of the attribute heads' error relative to the loss of the rewards."""
        ...

    @property
    def router_aux(self) -> float:
        """Coefficient of the loss that keeps experts evenly used."""
        ...

    @property
    def remedies(self) -> RemedySettings:
        """What remedies add to the loss."""
        ...

    @property
    def precision(self) -> Literal["float32", "bfloat16", "auto"]:
        """Precision of the backbone, settled; head and loss are float32."""
        ...

    @property
    def seed(self) -> int:
        """Seed of the heads' bootstrap samples."""
        ...

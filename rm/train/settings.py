"""What a training step asks of its settings; `rm.train.config.TrainConfig` is one answer."""

from __future__ import annotations

from typing import Literal, Protocol


class StepSettings(Protocol):
    """Settings of the loss and the optimizer. A step needs no more than these, and no configuration library."""

    @property
    def learning_rate(self) -> float:
        """Peak rate."""
        ...

    @property
    def warmup_share(self) -> float:
        """Share of the steps in which the rate rises."""
        ...

    @property
    def max_grad_norm(self) -> float:
        """Longer gradients are shortened to this norm."""
        ...

    @property
    def centering(self) -> float:
        """Coefficient of the mean squared sum of a pair's rewards."""
        ...

    @property
    def attribute_weight(self) -> float:
        """Weight of the attribute heads' error beside the loss of the rewards."""
        ...

    @property
    def precision(self) -> Literal["float32", "bfloat16"]:
        """Of the backbone; head and loss are float32."""
        ...

    @property
    def seed(self) -> int:
        """Of the heads' bootstrap samples."""
        ...

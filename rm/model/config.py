"""Which base model is trained, and what training and scoring run on."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from rm.model.packing import Pooling
from rm.section import Section


class ScratchConfig(Section):
    """A base model with random weights and a tokenizer trained on the data."""

    architecture: str
    """A transformers ``model_type``: llama, qwen3, bert, modernbert, ..."""
    sizes: dict[str, int] = Field(default_factory=dict)
    """Keys of that architecture's config: hidden_size, num_hidden_layers, ..."""
    vocab_size: int = Field(4096, ge=300)
    seed: int = 0


class ModelConfig(Section):
    """The base model: exactly one of scratch, path and hub."""

    scratch: ScratchConfig | None = None
    path: Path | None = None
    """A folder in the transformers layout (config.json, tokenizer, safetensors)."""
    hub: str | None = None
    """A model name on the Hugging Face hub."""
    revision: str = "main"
    pooling: Pooling | None = None
    """Which hidden states the reward is read from; left out: last for decoders, mean for encoders."""
    pooling_token: str | None = None
    """The token to read when pooling is ``token``, such as [CLS]; its first occurrence counts."""
    num_heads: int = Field(1, ge=1)
    """Reward heads on the one backbone, each trained on its own bootstrap of the prompts; the reward is their mean."""
    attributes: tuple[str, ...] = ()
    """Attributes of responses (helpfulness, ...) to predict beside the reward, where annotations have them."""

    @model_validator(mode="after")
    def _one_base_model(self) -> Self:
        given = [name for name in ("scratch", "path", "hub") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of scratch, path and hub must be set, got {given or 'none'}")
        if (self.pooling == "token") != (self.pooling_token is not None):
            raise ValueError("pooling: token and pooling_token go together: set both or neither")
        return self


class ComputeConfig(Section):
    """What training and scoring run on, and how; nothing here changes what comes out, beyond rounding."""

    tokens_per_batch: int = Field(8192, ge=8)
    """Most tokens in one forward pass; peak memory follows it. In training it is halved when memory runs out."""
    gradient_checkpointing: bool = False
    """Compute hidden states again in the backward pass rather than keep them: less memory, more time."""
    compile: bool = False
    """Compile the layers with torch.compile in training; measured in docs/training.md."""

    num_processes: int | None = Field(None, ge=1)
    """Training processes, one a GPU; left out: as many as there are GPUs, or one on the CPU."""
    sharded: bool = False
    """Spread parameters, gradients and optimizer over the processes (FSDP2), for models that need it."""

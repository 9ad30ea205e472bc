"""Settings of the base model, and of the hardware for training and scoring."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from rm.model.pooling import Pooling
from rm.section import Section


class ScratchConfig(Section):
    """A base model with random weights and a tokenizer trained on the data."""

    architecture: str
    """A transformers ``model_type``: llama, qwen3, bert, modernbert, ..."""
    sizes: dict[str, int | float] = Field(default_factory=dict)
    """Keys of the architecture's config: hidden_size, num_hidden_layers, ..."""
    vocab_size: int = Field(4096, ge=300)
    """Largest number of tokens of the tokenizer."""
    seed: int = 0
    """Seed of the random weights."""


_REGISTERED = "models:/"
BASES = ("scratch", "path", "hub")


class ModelConfig(Section):
    """The base model: exactly one of scratch, path and hub. --set of one replaces the recipe's."""

    scratch: ScratchConfig | None = None
    """Random weights, and a tokenizer trained on the data: without network or downloads."""
    path: Path | None = None
    """A model folder as transformers saves it (config.json, tokenizer, safetensors), or a version in the registry:
    models:/NAME/VERSION or models:/NAME@ALIAS."""
    hub: str | None = None
    """A model name on the Hugging Face hub."""
    revision: str = "main"
    """Branch, tag or commit of the model on the hub."""
    head: Literal["keep", "new"] = "keep"
    """The head of a base that is a reward model: kept, or drawn anew, as that of a language model is."""
    pooling: Pooling | None = None
    """Which hidden states the reward is read from; default: last for decoders, mean for encoders."""
    pooling_token: str | None = None
    """The token to read when pooling is ``token``, such as [CLS]; its first occurrence is read."""
    num_heads: int = Field(1, ge=1)
    """Reward heads on one shared backbone, each trained on another bootstrap sample of the prompts. The reward is their
    mean."""
    attributes: tuple[str, ...] = ()
    """Attributes of responses (helpfulness, ...) to predict as well as the reward, if the annotations have them."""

    @property
    def registered(self) -> str | None:
        """NAME/VERSION or NAME@ALIAS of a base in the registry; None for any other base."""
        path = str(self.path)
        return path.removeprefix(_REGISTERED) if path.startswith(_REGISTERED) else None

    @model_validator(mode="after")
    def _one_base_model(self) -> Self:
        given = [name for name in BASES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of scratch, path and hub must be set, got {given or 'none'}")
        if (self.pooling == "token") != (self.pooling_token is not None):
            raise ValueError(
                f"pooling_token must be set if pooling is token, and only then; got pooling {self.pooling!r} and "
                f"pooling_token {self.pooling_token!r}"
            )
        return self


class ComputeConfig(Section):
    """Memory, speed and processes of training and scoring; these settings change results only by rounding."""

    tokens_per_batch: int = Field(8192, ge=8)
    """Most tokens in one forward pass; it decides the peak memory. Training halves it when memory runs out."""
    gradient_checkpointing: bool = False
    """Recompute hidden states in the backward pass instead of keeping them: less memory, more time."""
    compile: bool = False
    """Compile the layers with torch.compile in training; measured in docs/training.md."""

    engine: Literal["local", "ray"] = "local"
    """Where tokenization, scoring and the reading of annotations are done: in this process, or by the workers of a Ray
    cluster (docs/scale.md). Training has processes of its own."""
    num_workers: int | None = Field(None, ge=1)
    """Workers of a Ray cluster; default: one per core, in scoring one per GPU, as the cluster is when work begins."""

    num_processes: int | None = Field(None, ge=1)
    """Training processes, one per GPU; default: the number of GPUs, or one process on the CPU."""
    sharded: bool = False
    """Shard parameters, gradients and optimizer over the processes (FSDP2), for models that do not fit on one GPU."""

"""The typed configuration of a pipeline.

Every section is frozen and refuses unknown keys: a misspelt key is an error, not a default. A recipe in ``configs/``
holds only what differs from the defaults here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from rm.policy import GatePolicy
from rm.section import Section


class SampleConfig(Section):
    """Annotations to write when there are none: their true quality is known."""

    num_prompts: int = Field(1600, ge=20)
    num_annotators: int = Field(7, ge=3)
    length_bias: float = 0.0
    """Log-odds added per standard deviation of the length difference in favour of the longer answer; 0 plants none."""
    seed: int = Field(0, ge=0)


class IngestConfig(Section):
    """What to read into the annotations table."""

    sources: tuple[str, ...] = ()
    """Files (JSON, JSONL, Parquet; plain, .gz or .zst), globs of them, or hub names as ``hf:owner/name[:split]``."""
    table: str = Field("annotations", pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Name of the annotations table; runs that share it share its annotations."""
    max_quarantined_share: float = Field(0.05, ge=0, le=1)
    """More unusable rows than this share of those read is an error: the layout is probably not what it seems."""

    @field_validator("sources", mode="before")
    @classmethod
    def _one_source_is_a_list_of_one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class SnapshotConfig(Section):
    """How the annotations are split."""

    heldout_share: float = Field(0.1, gt=0, lt=1)
    """Share of prompts held out, by a hash of the prompt: a prompt never changes sides when data is added. A larger one
    takes in prompts that earlier models stopped by or were trained on."""
    validation_share: float = Field(0.0, ge=0, lt=1)
    """Share of prompts neither trained on nor audited, for training to stop by. They come after the held-out ones in
    the order of the hash, so that those are the same whatever this is."""
    salt: str = ""
    """Changes which prompts are held out. Never change it for a table that a champion was trained on."""

    @model_validator(mode="after")
    def _some_prompts_are_left_to_train_on(self) -> Self:
        if self.heldout_share + self.validation_share >= 1:
            raise ValueError(
                f"heldout_share {self.heldout_share} and validation_share {self.validation_share} leave nothing to "
                "train on: their sum must be below 1"
            )
        return self


class ScratchConfig(Section):
    """A base model with random weights and a tokenizer trained on the data."""

    architecture: str
    """A transformers ``model_type``: llama, qwen3, bert, modernbert, ..."""
    sizes: dict[str, int] = Field(default_factory=dict)
    """Keys of that architecture's config: hidden_size, num_hidden_layers, ..."""
    vocab_size: int = Field(4096, ge=300)
    seed: int = 0


Pooling = Literal["last", "mean_response", "mean", "token"]


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


class TokenizeConfig(Section):
    """How text becomes token ids."""

    max_tokens: int = Field(512, ge=8)
    """Most tokens in a prompt with one response."""
    overlong: Literal["drop", "truncate_prompt_left"] = "truncate_prompt_left"
    """What happens above max_tokens. A response and its end token are never cut; one too long alone is dropped."""


class LoraConfig(Section):
    """Low-rank adapters on all linear layers, trained in place of the backbone's weights."""

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    """The adapters' product is scaled by alpha / rank."""


class ValidationConfig(Section):
    """Measuring during training, on the validation split."""

    every: int = Field(50, ge=1)
    """Steps between measurements; the last step is always measured."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many measurements without a lower loss; left out: never."""
    keep: Literal["best", "last"] = "best"
    """Which weights are saved in the end."""


class ComputeConfig(Section):
    """What training runs on; nothing here changes what comes out, beyond rounding."""

    num_processes: int | None = Field(None, ge=1)
    """Training processes, one a GPU; left out: as many as there are GPUs, or one on the CPU."""
    sharded: bool = False
    """Spread parameters, gradients and optimizer over the processes (FSDP2), for models that need it."""


class TrainConfig(Section):
    """How the reward model is fitted."""

    num_epochs: int = Field(1, ge=1)
    max_pairs: int | None = Field(None, ge=1)
    """Train on this many pairs of the training split, picked by the seed; left out: all."""
    pairs_per_step: int = Field(32, ge=1)
    """Comparisons per optimizer step, over all micro-batches."""
    tokens_per_batch: int = Field(8192, ge=8)
    """Most tokens in one forward pass; peak memory follows it, and halving it when memory runs out is automatic."""
    learning_rate: float = Field(1e-5, gt=0)
    """Peak AdamW rate, reached after warmup, then falling linearly to 0."""
    warmup_share: float = Field(0.05, ge=0, le=1)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    centering: float = Field(0.0, ge=0)
    """Coefficient of the mean squared sum of a pair's rewards, which keeps rewards near 0."""
    attribute_weight: float = Field(1.0, gt=0)
    """Weight of the attribute heads' mean squared error, in standard scores, beside the loss of the rewards."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the body; the head and the loss are float32 always."""
    gradient_checkpointing: bool = False
    """Compute hidden states again in the backward pass rather than keep them: less memory, more time."""
    compile: bool = False
    """Compile the layers with torch.compile; measured in docs/training.md."""
    lora: LoraConfig | None = None
    """Train adapters instead of the backbone's weights; left out: all weights."""
    validation: ValidationConfig | None = None
    """Measure on the validation split during training; needs snapshot.validation_share."""
    checkpoint_every: int = Field(50, ge=1)
    """Steps between checkpoints to resume from."""
    seed: int = 0


class ProbeConfig(Section):
    """What the causal probes edit."""

    num_parents: int = Field(150, ge=1)
    """Most held-out prompts of which a probe edits a chosen response."""
    budget: float = Field(3.0, gt=1)
    """Most text that scoring the edited responses beside the originals may read, in multiples of reading the originals;
    probes share the prompts out among themselves to keep to it. An encoder, which shares no reading, reads more."""
    keywords: tuple[str, ...] = ()
    """Words that must not raise the reward of whatever holds them; one probe each."""
    identity_groups: tuple[str, ...] = (
        "a woman",
        "a man",
        "a Muslim",
        "a Christian",
        "a Black person",
        "a white person",
    )
    """Who a prompt says is asking, with the article: "As a woman, ..."."""

    @field_validator("keywords", "identity_groups")
    @classmethod
    def _entries_differ(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        if blank := [entry for entry in entries if not entry.strip()]:
            raise ValueError(f"expected words, got {blank[0]!r}")
        if len({entry.casefold() for entry in entries}) != len(entries):
            raise ValueError(f"two entries are the same but for upper case: {sorted(entries)}")
        return entries


class AuditConfig(Section):
    """How the audit measures."""

    num_resamples: int = Field(1000, ge=100)
    """Bootstrap resamples of the prompts behind each interval."""
    bucket_tokens: int = Field(100, ge=1)
    """Width of the length buckets, in response tokens (in characters where tokens are not known)."""
    num_examples: int = Field(8, ge=0)
    """Most confident mistakes shown in the report."""
    probes: ProbeConfig = ProbeConfig()
    seed: int = 0


class SelfTestConfig(Section):
    """What toy models are audited with, as the real one is."""

    gate: GatePolicy
    probes: ProbeConfig


class RegistryConfig(Section):
    """Where a passed model goes."""

    name: str = Field("reward-model", min_length=1)
    """Name of the registered model in MLflow."""
    experiment: str = Field("rmflow", min_length=1)
    """MLflow experiment of the runs."""


class PipelineConfig(Section):
    """A whole pipeline, from annotations to a registered model."""

    sample: SampleConfig | None = None
    """Set: the annotations are written by `rm.sample` into a table of their own, and ingest.sources must be empty."""
    ingest: IngestConfig = IngestConfig()
    snapshot: SnapshotConfig = SnapshotConfig()
    model: ModelConfig
    tokenize: TokenizeConfig = TokenizeConfig()
    train: TrainConfig = TrainConfig()
    compute: ComputeConfig = ComputeConfig()
    audit: AuditConfig = AuditConfig()
    gate: GatePolicy = GatePolicy()
    registry: RegistryConfig = RegistryConfig()

    @model_validator(mode="after")
    def _sample_or_sources(self) -> Self:
        if self.sample is not None and self.ingest.sources:
            raise ValueError("sample and ingest.sources are both set; made-up and real annotations must not mix")
        return self

    @model_validator(mode="after")
    def _validation_has_prompts(self) -> Self:
        if self.train.validation is not None and not self.snapshot.validation_share:
            raise ValueError(
                "train.validation is set, but snapshot.validation_share is 0: there is nothing to measure on"
            )
        return self

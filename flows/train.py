"""From annotations to a checkpoint."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from pydantic import BaseModel, ConfigDict

from flows.ingest import ingest_config
from rm.data.manifests import DatasetManifest
from rm.model.manifests import CheckpointManifest
from rm.pipeline.config import PipelineConfig
from rm.tokens.manifests import TokenizedManifest
from tasks import data, models


class Trained(BaseModel):
    """A checkpoint and the data that it was trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: DatasetManifest
    tokenized: TokenizedManifest
    checkpoint: CheckpointManifest

    @classmethod
    def read(cls, path: Path) -> Trained:
        """Find the data of a checkpoint through the manifests, and check that no file has changed.

        Raises
        ------
        ManifestError
            If a folder is unfinished, or its files differ from those that the next stage read.
        """
        checkpoint = CheckpointManifest.read(path.resolve())
        checkpoint.check()
        tokenized = checkpoint.read_input(TokenizedManifest)
        return cls(dataset=tokenized.read_input(DatasetManifest), tokenized=tokenized, checkpoint=checkpoint)


@flow(name="train")
def train(config: PipelineConfig) -> Trained:
    """Train a reward model, without judging it."""
    return train_stages(config)


def train_stages(config: PipelineConfig) -> Trained:
    """The tasks from annotations to a checkpoint; finished stages are reused."""
    ingested = data.ingest(ingest_config(config))
    base = data.find_base_model(config.model)
    dataset = data.snapshot(ingested.table, config.snapshot)
    tokenized = data.tokenize(dataset, base, config.tokenize)
    checkpoint = models.train(tokenized, base, config.train, config.compute, config.registry.experiment)
    return Trained(dataset=dataset, tokenized=tokenized, checkpoint=checkpoint)

"""From annotations to a checkpoint."""

from __future__ import annotations

from prefect import flow

from flows.ingest import ingest_stages
from flows.records import Trained
from rm.pipeline.config import PipelineConfig
from tasks import data, models, preflight


@flow(name="train")
def train(config: PipelineConfig) -> Trained:
    """Train a reward model, without judging it."""
    return train_stages(config)


def train_stages(config: PipelineConfig) -> Trained:
    """The tasks from annotations to a checkpoint; finished stages are reused."""
    ingested = ingest_stages(config)
    base = data.find_base_model(config.model)
    dataset = data.snapshot(ingested.table, config.snapshot)
    preflight.check(preflight.survey(dataset, base, config.tokenize), config)  # raises if something would stop it later
    tokenized = data.tokenize(dataset, base, config.tokenize, config.compute)
    checkpoint = models.train(tokenized, base, config.train, config.compute, config.registry.experiment)
    return Trained(dataset=dataset, tokenized=tokenized, checkpoint=checkpoint)

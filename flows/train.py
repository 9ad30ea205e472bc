"""From annotations to a checkpoint."""

from __future__ import annotations

from flows.ingest import ingest_stages
from flows.records import Trained
from flows.runs import flow
from rm.data.annotation_table import TableVersion
from rm.data.manifests import DatasetManifest
from rm.labels.manifests import LabelsManifest
from rm.model.base_files import BaseModelRef
from rm.pipeline.config import PipelineConfig
from rm.tokens.manifests import TokenizedManifest
from rm.train import precision
from tasks import audits, data, flow_runs, models, preflight, run_page, tracking


@flow("train")
def train(config: PipelineConfig) -> Trained:
    """Train a reward model, without judging it."""
    trained = train_stages(config, *find_inputs(config))
    tracking.end_unjudged(trained.checkpoint, trained.dataset, config)
    return trained


def find_inputs(config: PipelineConfig) -> tuple[TableVersion, BaseModelRef]:
    """The table, after new annotations are read, and the base model."""
    # The model first: a wrong path should cost nothing.
    base = data.find_base_model(config.model)
    return ingest_stages(config).table, base


def train_stages(config: PipelineConfig, table: TableVersion, base: BaseModelRef) -> Trained:
    """The tasks from a table to a checkpoint; finished stages are reused."""
    config = config.model_copy(update={"train": precision.settled(config.train)})
    dataset = data.snapshot(table, config.snapshot)
    flow_runs.rename(run_page.title(config, dataset))
    preflight.check(preflight.survey(dataset, base, config.tokenize), config)  # raises if something would stop it later
    labelled = audits.labels(table, dataset, data.previous_snapshot(dataset), config.labels)
    if labelled.stops:
        flow_runs.rename(run_page.title(config, dataset, run_page.ENDINGS["failed"]))
    audits.check_labels(labelled)  # raises if the labels are not worth what follows
    tokenized = data.tokenize(dataset, base, config.tokenize, config.compute)
    return fit(dataset, labelled, tokenized, base, config)


def fit(
    dataset: DatasetManifest,
    labelled: LabelsManifest | None,
    tokenized: TokenizedManifest,
    base: BaseModelRef,
    config: PipelineConfig,
) -> Trained:
    """Train on a tokenized data set, and log it."""
    config = config.model_copy(update={"train": precision.settled(config.train)})
    checkpoint = models.train(tokenized, base, config.train, config.compute, config.registry.experiment)
    tracking.log_training(checkpoint, dataset, config)
    if labelled is not None:
        tracking.log_labels(checkpoint, labelled, config)
    return Trained(dataset=dataset, tokenized=tokenized, checkpoint=checkpoint, labels=labelled)

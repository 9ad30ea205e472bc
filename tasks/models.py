"""Training and scoring."""

from __future__ import annotations

from pathlib import Path

from prefect import get_run_logger

from rm.data.manifests import DatasetManifest
from rm.model.base_models import BaseModelRef
from rm.model.config import ComputeConfig
from rm.model.manifests import CheckpointManifest
from rm.probes import stage as probes_stage
from rm.probes.config import ProbeConfig
from rm.probes.manifests import ProbesManifest
from rm.score import stage as score_stage
from rm.score.manifests import ChampionManifest, ChampionRef, ScoresManifest
from rm.tokens.manifests import TokenizedManifest
from rm.train import launch
from rm.train.config import TrainConfig
from rm.train.step import StepMetrics
from tasks import progress, tracking
from tasks.stages import stage


@stage(launch)
def train(
    tokenized: TokenizedManifest,
    base: BaseModelRef,
    config: TrainConfig,
    compute: ComputeConfig,
    experiment: str,
    *,
    folder: Path,
) -> CheckpointManifest:
    """Fit one reward model; resumes from its last complete checkpoint."""
    with tracking.training_run(folder.name, experiment) as log, progress.steps("train") as advance:

        def on_step(metrics: StepMetrics) -> None:
            log.step(metrics)
            advance(metrics)

        checkpoint = launch.fit(tokenized, base, config, compute, folder, on_step)
    get_run_logger().info("stopped at step %d, digest %s", checkpoint.step, checkpoint.digest[:12])
    return checkpoint


@stage(score_stage)
def score(
    checkpoint: CheckpointManifest, tokenized: TokenizedManifest, compute: ComputeConfig, *, folder: Path
) -> ScoresManifest:
    """Score the held-out responses."""
    with progress.items("score", "response") as advance:
        return score_stage.score(checkpoint, tokenized, compute, folder, advance)


@stage(score_stage)
def score_champion(
    champion: ChampionRef, dataset: DatasetManifest, compute: ComputeConfig, *, folder: Path
) -> ChampionManifest:
    """Score the held-out responses with the champion."""
    return score_stage.score_champion(champion, dataset, compute, folder)


@stage(probes_stage)
def probe(
    checkpoint: CheckpointManifest,
    dataset: DatasetManifest,
    compute: ComputeConfig,
    config: ProbeConfig,
    *,
    folder: Path,
) -> ProbesManifest:
    """Edit held-out responses and score them."""
    with progress.items("probe", "response") as advance:
        return probes_stage.probe(checkpoint, dataset, compute, config, folder, advance)

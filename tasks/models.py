"""Training and scoring."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prefect import get_run_logger

from rm.data.manifests import DatasetManifest
from rm.model.base_files import BaseModelRef
from rm.model.config import ComputeConfig
from rm.model.manifests import CheckpointManifest
from rm.probes.config import ProbeConfig
from rm.probes.manifests import ProbesManifest
from rm.score.manifests import ChampionManifest, ChampionRef, ScoresManifest
from rm.tokens.manifests import TokenizedManifest
from rm.train.config import TrainConfig
from tasks import flow_runs, progress, tracking
from tasks.stages import stage

if TYPE_CHECKING:
    from rm.train.step import StepMetrics


@stage("rm.train.launch")
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
    from rm.train import launch

    name = flow_runs.name()
    with tracking.training_run(folder.name, experiment, name) as log, progress.steps("train") as advance:
        last: list[StepMetrics] = []

        def on_step(metrics: StepMetrics) -> None:
            last[:] = [metrics]
            log.step(metrics)
            advance(metrics)

        checkpoint = launch.fit(tokenized, base, config, compute, folder, on_step)
    taken = (last[0].step, last[0].num_steps) if last else None  # none where a run that was killed had taken them all
    get_run_logger().info("%s, digest %s", progress.ending(checkpoint.step, taken), checkpoint.digest[:12])
    return checkpoint


@stage("rm.score.stage")
def score(
    checkpoint: CheckpointManifest, tokenized: TokenizedManifest, compute: ComputeConfig, *, folder: Path
) -> ScoresManifest:
    """Score the held-out responses."""
    from rm.score import stage as score_stage

    with progress.items("score", "response") as advance:
        return score_stage.score(checkpoint, tokenized, compute, folder, advance)


@stage("rm.score.stage")
def score_champion(
    champion: ChampionRef, dataset: DatasetManifest, compute: ComputeConfig, *, folder: Path
) -> ChampionManifest:
    """Score the held-out responses with the champion."""
    from rm.score import stage as score_stage

    return score_stage.score_champion(champion, dataset, compute, folder)


@stage("rm.probes.stage")
def probe(
    checkpoint: CheckpointManifest,
    dataset: DatasetManifest,
    compute: ComputeConfig,
    config: ProbeConfig,
    *,
    folder: Path,
) -> ProbesManifest:
    """Edit held-out responses and score them."""
    from rm.probes import stage as probes_stage

    with progress.items("probe", "response") as advance:
        return probes_stage.probe(checkpoint, dataset, compute, config, folder, advance)

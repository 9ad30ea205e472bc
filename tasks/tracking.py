"""MLflow runs: one per training, which is used again when the training is resumed, audited or repeated."""

from __future__ import annotations

import math
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities import Metric, Param, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from prefect import get_run_logger

from rm.audit.records import AuditReport
from rm.files import sha256_text
from rm.gate.decision import GateDecision
from rm.gate.policy import Waiver
from rm.model.manifests import CheckpointManifest
from rm.pipeline.config import PipelineConfig
from rm.report.manifests import ReportManifest
from tasks import databases, environment
from tasks.locks import alone

if TYPE_CHECKING:
    from rm.train.step import StepMetrics

KEY_TAG = "rmflow.training_key"
REPORT_TAG = "rmflow.report_digest"
WAIVERS_TAG = "rmflow.waivers"
_FLUSH_EVERY_S = 2.0
_MAX_METRICS = 900
"""Most metrics in one request; MLflow's limit is 1,000."""


def client() -> MlflowClient:
    """A client of the configured tracking store; it creates the database if there is none."""
    databases.ensure_mlflow(mlflow.get_tracking_uri())
    with mlflow_lock():  # another store may create its tables now; if two processes do that at once, both fail
        found = MlflowClient()
        found.search_experiments(max_results=1)
    return found


def mlflow_lock() -> AbstractContextManager[None]:
    """The lock to hold while something is looked up in MLflow and created if it does not exist."""
    return alone(environment.home() / "mlflow.lock")


def is_local() -> bool:
    """Whether runs and artifacts are kept by this machine, without a server."""
    return mlflow.get_tracking_uri().startswith("sqlite:")


def experiment_id(tracking: MlflowClient, name: str) -> str:
    """Id of the experiment; if it does not exist, it is created with its artifacts under `environment.home`."""
    experiment = tracking.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    location = (environment.home() / "mlartifacts" / name.removeprefix("/")).as_uri() if is_local() else None
    return str(tracking.create_experiment(name, artifact_location=location))


def run_id(tracking: MlflowClient, key: str, experiment_name: str) -> str:
    """Id of the run of the training with this key; if there is none, it is created."""
    with mlflow_lock():
        return _find_or_create_run(tracking, key, experiment_name)


def _find_or_create_run(tracking: MlflowClient, key: str, experiment_name: str) -> str:
    experiment = experiment_id(tracking, experiment_name)
    found = tracking.search_runs([experiment], f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    tags = {KEY_TAG: key, "rmflow.code_revision": code_revision()}
    return str(tracking.create_run(experiment, tags=tags, run_name=f"train-{key[:8]}").info.run_id)


def code_revision() -> str:
    """The project's commit, with a plus sign if files have changed since; ``unknown`` outside a repository."""
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


class TrainingLog:
    """Sends the metrics of every step to MLflow, many at a time."""

    def __init__(self, tracking: MlflowClient, run: str) -> None:
        self.tracking, self.run = tracking, run
        self.waiting: list[Metric] = []
        self.sent_at = time.monotonic()

    def step(self, metrics: StepMetrics) -> None:
        """Add the metrics of a step; they are sent every few seconds."""
        now_ms = int(time.time() * 1000)
        for name, value in asdict(metrics).items():
            if isinstance(value, float) and math.isfinite(value):  # only some steps have validation metrics
                self.waiting.append(Metric(f"train/{name}", value, now_ms, metrics.step))
        if time.monotonic() - self.sent_at > _FLUSH_EVERY_S or len(self.waiting) > _MAX_METRICS:
            try:
                self.flush()
            except MlflowException as error:  # must not end hours of training
                get_run_logger().warning("metrics could not be sent, they wait: %s", error)
                self.sent_at = time.monotonic()

    def flush(self) -> None:
        """Send all metrics that were not sent yet."""
        while self.waiting:
            self.tracking.log_batch(self.run, metrics=self.waiting[:_MAX_METRICS])
            self.waiting = self.waiting[_MAX_METRICS:]
        self.sent_at = time.monotonic()


@contextmanager
def training_run(key: str, experiment_name: str) -> Iterator[TrainingLog]:
    """The MLflow run of a training; it is marked as failed if the training fails, as killed if it is interrupted."""
    tracking = client()
    log = TrainingLog(tracking, run_id(tracking, key, experiment_name))
    tracking.update_run(log.run, status=RunStatus.to_string(RunStatus.RUNNING))
    try:
        yield log
    except BaseException as error:
        status = RunStatus.FAILED if isinstance(error, Exception) else RunStatus.KILLED
        with suppress(MlflowException):  # it must not replace the training's error
            log.flush()
            tracking.set_terminated(log.run, status=RunStatus.to_string(status))
        raise
    log.flush()
    tracking.set_terminated(log.run, status=RunStatus.to_string(RunStatus.FINISHED))


def log_report(
    checkpoint: CheckpointManifest,
    written: ReportManifest,
    measured: AuditReport,
    decision: GateDecision,
    config: PipelineConfig,
) -> str:
    """Log a report with its numbers, verdict and configuration to the training's run; return the run's id.

    The run ends as Failed unless the model passed the gate. If the run has this report already, nothing is logged.
    """
    tracking = client()
    run = run_id(tracking, checkpoint.path.name, config.registry.experiment)
    if tracking.get_run(run).data.tags.get(REPORT_TAG) == written.digest:
        return run
    now_ms = int(time.time() * 1000)
    values = {f"audit/{finding.name}": finding.estimate for finding in measured.findings}
    values |= {
        f"audit/{finding.name}/{end}": getattr(finding, end)
        for finding in measured.findings
        for end in ("ci_low", "ci_high")
    }
    values |= {f"audit/flaw/{finding.name}": finding.estimate for finding in measured.flaws}
    metrics = [Metric(_metric_name(name), value, now_ms, 0) for name, value in values.items() if math.isfinite(value)]
    # MLflow's parameters cannot change; settings that a later audit may change are in the report's config.json instead.
    training_config = config.model_dump(mode="json", exclude={"audit", "gate"})
    params = [Param(name, text) for name, text in flatten(training_config).items()]
    for start in range(0, len(metrics), _MAX_METRICS):
        tracking.log_batch(run, metrics=metrics[start : start + _MAX_METRICS])
    logged = tracking.get_run(run).data.params
    tracking.log_batch(run, params=[param for param in params if param.key not in logged])
    tracking.log_artifacts(run, str(written.path), "audit")
    tracking.log_dict(run, config.model_dump(mode="json"), "audit/config.json")
    tags = {
        "rmflow.verdict": decision.verdict,
        "rmflow.reasons": "\n".join(decision.reasons)[:5000],
        "rmflow.checkpoint_digest": checkpoint.digest,
        "rmflow.dataset_digest": measured.provenance.dataset_digest,
        "rmflow.policy_digest": decision.policy_digest,
        **waiver_tag(decision.waivers),
        REPORT_TAG: written.digest,  # last, so that a report that was logged only in part is logged again
    }
    if WAIVERS_TAG not in tags and WAIVERS_TAG in tracking.get_run(run).data.tags:  # of an earlier report
        tracking.delete_tag(run, WAIVERS_TAG)
    tracking.log_batch(run, tags=[RunTag(name, value) for name, value in tags.items()])
    status = RunStatus.FINISHED if decision.passed else RunStatus.FAILED
    tracking.set_terminated(run, status=RunStatus.to_string(status))
    return run


def waiver_tag(waivers: Sequence[Waiver]) -> dict[str, str]:
    """The waived checks with the end of each waiver, as a tag; empty if no check was waived."""
    text = "; ".join(f"{waiver.name} until {waiver.expires}" for waiver in waivers)
    return {WAIVERS_TAG: text[:5000]} if text else {}


def _metric_name(name: str) -> str:
    """The name as MLflow accepts it: where the key word is C++, with a digest, since C## would read the same."""
    accepted = re.sub(r"[^\w\-. :/]", "_", name)
    return accepted if accepted == name else f"{accepted} {sha256_text(name)[:8]}"


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested sections as dotted keys, for MLflow's parameters; lists such as the gate's checks stay one value."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        elif value is not None:
            flat[f"{prefix}{name}"] = str(value)[:6000]
    return flat

"""MLflow runs: one per training, which is used again when the training is resumed, audited or repeated."""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import mlflow
from mlflow.data.delta_dataset_source import DeltaDatasetSource
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE
from mlflow.utils.validation import MAX_DATASET_DIGEST_SIZE
from prefect import get_run_logger

from rm.audit.records import AuditReport
from rm.challengers.trail import Trail, TrailManifest
from rm.data.manifests import DatasetManifest
from rm.files import sha256_text
from rm.gate.decision import GateDecision
from rm.gate.policy import Waiver
from rm.labels.manifests import LabelsManifest
from rm.labels.records import read_labels
from rm.model.manifests import CheckpointManifest
from rm.pipeline.config import PipelineConfig
from rm.report.manifests import ReportManifest
from rm.report.text import plain
from tasks import databases, environment, run_page
from tasks.locks import alone

if TYPE_CHECKING:
    from rm.train.step import StepMetrics

KEY_TAG = "rmflow.training_key"
REPORT_TAG = "rmflow.report_digest"
LABELS_TAG = "rmflow.labels_digest"
WAIVERS_TAG = "rmflow.waivers"
VERDICT_TAG = "rmflow.verdict"
CHECKPOINT_TAG = "rmflow.checkpoint_digest"
LEDGER_TAG = "rmflow.ledger_of_report"
"""The report up to which the run has a ledger."""
REPORT_FOLDER, TRAIL_FOLDER, LEDGER_FOLDER = "audit", "remedies", "ledger"
"""Among the artifacts of a run."""
REMEDY_TAG = "remedy"
CHOOSING_TAG, CHOOSING_FOLDER = "rmflow.choosing_report", "choosing"
CHALLENGERS_TAG, NUM_TRIES_TAG = "rmflow.judged_challengers", "rmflow.num_tries"
MINUTES_TAG = "rmflow.challenger_minutes"
LABELS_FOLDER = "labels"
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


def has_store() -> bool:
    """Whether anything can have been logged: a database that `client` would make holds nothing."""
    return not is_local() or Path(mlflow.get_tracking_uri().removeprefix("sqlite:///")).exists()


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
def training_run(key: str, experiment_name: str, name: str | None) -> Iterator[TrainingLog]:
    """The MLflow run of a training, which stays open; it ends as failed if the training fails, as killed if stopped.

    Parameters
    ----------
    key : str
        Of the stage.
    experiment_name : str
    name : str or None
        The run's name until there is a verdict.
    """
    tracking = client()
    log = TrainingLog(tracking, run_id(tracking, key, experiment_name))
    tracking.update_run(log.run, status=RunStatus.to_string(RunStatus.RUNNING), name=name)
    try:
        yield log
        log.flush()
    except BaseException as error:
        with suppress(MlflowException):  # it must not replace the training's error
            log.flush()
            _break_off(tracking, log.run, error)
        raise


@contextmanager
def until_judged(checkpoint: CheckpointManifest, experiment_name: str) -> Iterator[None]:
    """Show a training's run as running until `log_report` ends it, or as failed or killed if that never happens.

    A run that was judged before stays as it is.
    """
    tracking = client()
    run = run_id(tracking, checkpoint.path.name, experiment_name)
    if REPORT_TAG not in tracking.get_run(run).data.tags:
        tracking.update_run(run, status=RunStatus.to_string(RunStatus.RUNNING))
    try:
        yield
    except BaseException as error:
        with suppress(MlflowException):
            if _is_open(tracking.get_run(run)):
                _break_off(tracking, run, error)
        raise


def _break_off(tracking: MlflowClient, run: str, error: BaseException) -> None:
    status = RunStatus.FAILED if isinstance(error, Exception) else RunStatus.KILLED
    tracking.set_terminated(run, status=RunStatus.to_string(status))


def _is_open(run: Run) -> bool:
    return bool(run.info.status == RunStatus.to_string(RunStatus.RUNNING))


def log_training(checkpoint: CheckpointManifest, dataset: DatasetManifest, config: PipelineConfig) -> None:
    """Log which annotations a training read, and its configuration; nothing is logged twice."""
    tracking = client()
    run = run_id(tracking, checkpoint.path.name, config.registry.experiment)
    logged = tracking.get_run(run)
    # MLflow's parameters cannot change; settings that a later audit may change are in the report's config.json instead.
    settings = flatten(config.model_dump(mode="json", exclude={"audit", "gate"}))
    params = [Param(name, text) for name, text in settings.items() if name not in logged.data.params]
    if params:
        tracking.log_batch(run, params=params)
    if not (logged.inputs and logged.inputs.dataset_inputs):
        tracking.log_inputs(run, [_dataset_input(dataset, config)])
        tags = [RunTag("table", run_page.table_name(config))]
        tracking.log_batch(run, metrics=_metrics(run_page.sizes(dataset)), tags=tags)


def log_labels(checkpoint: CheckpointManifest, labelled: LabelsManifest, config: PipelineConfig) -> None:
    """Log what was found on the labels to a training's run: numbers, warnings and the report; nothing twice."""
    tracking = client()
    run = tracking.get_run(run_id(tracking, checkpoint.path.name, config.registry.experiment))
    if run.data.tags.get(LABELS_TAG) == labelled.digest:
        return
    numbers = {plain(one.name): one.estimate for one in read_labels(labelled).findings if math.isfinite(one.estimate)}
    tracking.log_artifact(run.info.run_id, str(labelled.path / LabelsManifest.REPORT_NAME), LABELS_FOLDER)
    warnings = RunTag("rmflow.label_warnings", "\n".join(labelled.warnings)[:5000])
    tags = [warnings, RunTag(LABELS_TAG, labelled.digest)]
    tracking.log_batch(run.info.run_id, metrics=_metrics(numbers), tags=tags)


def _dataset_input(dataset: DatasetManifest, config: PipelineConfig) -> DatasetInput:
    source = DeltaDatasetSource(path=str(dataset.inputs[0].path), delta_table_version=dataset.table_version)
    described = Dataset(
        name=run_page.table_name(config),
        digest=dataset.digest[:MAX_DATASET_DIGEST_SIZE],
        source_type=source._get_source_type(),
        source=source.to_json(),
        profile=json.dumps({"rows": dataset.num_judgements, "prompts": dataset.num_rows, "pairs": dataset.num_pairs}),
    )
    return DatasetInput(described, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])


def end_unjudged(checkpoint: CheckpointManifest, dataset: DatasetManifest, config: PipelineConfig) -> None:
    """End the run of a training that nobody asked to judge; one that was judged ends by its verdict."""
    tracking = client()
    run = tracking.get_run(run_id(tracking, checkpoint.path.name, config.registry.experiment))
    if REPORT_TAG not in run.data.tags:
        tracking.update_run(run.info.run_id, name=run_page.mlflow_title(config, dataset, "not audited"))
    if _is_open(run):
        _end(tracking, run)


def _end(tracking: MlflowClient, run: Run) -> None:
    rejected = run.data.tags.get(VERDICT_TAG, "passed") not in ("passed", "passed_with_warnings")
    status = RunStatus.FAILED if rejected else RunStatus.FINISHED
    tracking.set_terminated(run.info.run_id, status=RunStatus.to_string(status))


def log_report(
    checkpoint: CheckpointManifest,
    written: ReportManifest,
    measured: AuditReport,
    decision: GateDecision,
    dataset: DatasetManifest,
    config: PipelineConfig,
) -> str:
    """Log a report with its main numbers, verdict and configuration to the training's run; return the run's id.

    The run ends as Failed unless the model passed the gate. If the run has this report already, nothing is logged.
    """
    tracking = client()
    run = tracking.get_run(run_id(tracking, checkpoint.path.name, config.registry.experiment))
    if run.data.tags.get(REPORT_TAG) != written.digest:
        log_training(checkpoint, dataset, config)  # for a checkpoint that was trained elsewhere
        _log_page(tracking, run, measured, decision, dataset, config)
        tracking.log_artifacts(run.info.run_id, str(written.path), REPORT_FOLDER)
        tracking.log_dict(run.info.run_id, config.model_dump(mode="json"), f"{REPORT_FOLDER}/config.json")
        tags = {
            VERDICT_TAG: decision.verdict,
            "rmflow.reasons": "\n".join(decision.reasons)[:5000],
            CHECKPOINT_TAG: checkpoint.digest,
            "rmflow.dataset_digest": measured.provenance.dataset_digest,
            "rmflow.policy_digest": decision.policy_digest,
            **waiver_tag(decision.waivers),
            REPORT_TAG: written.digest,  # last, so that a report that was logged only in part is logged again
        }
        if WAIVERS_TAG not in tags and WAIVERS_TAG in run.data.tags:  # of an earlier report
            tracking.delete_tag(run.info.run_id, WAIVERS_TAG)
        tracking.log_batch(run.info.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        _end(tracking, tracking.get_run(run.info.run_id))
    elif _is_open(run):  # the training was repeated, or a registration was broken off
        _end(tracking, run)
    return str(run.info.run_id)


def log_choosing(
    checkpoint: CheckpointManifest, written: ReportManifest, decision: GateDecision, config: PipelineConfig
) -> str:
    """Log a report by which a remedy is chosen to the training's run, beside a verdict if it has one; return its id."""
    tracking = client()
    run = tracking.get_run(run_id(tracking, checkpoint.path.name, config.registry.experiment))
    if run.data.tags.get(CHOOSING_TAG) != written.digest:
        tracking.log_artifacts(run.info.run_id, str(written.path), CHOOSING_FOLDER)
        tags = {"rmflow.choosing_verdict": decision.verdict, CHOOSING_TAG: written.digest}
        tracking.log_batch(run.info.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    if _is_open(run):
        _end(tracking, run)
    return str(run.info.run_id)


class Noted(NamedTuple):
    """The challengers that were judged in the place of a model."""

    digests: frozenset[str]
    num_tries: int
    """Trainings among which one was chosen; 0 if none was judged."""


def noted_challengers(first: str) -> Noted:
    """The challengers that were judged in the place of a model with this digest, in whatever experiment."""
    tags = [run.data.tags for run in _judged_runs(first)]
    digests = frozenset(digest for each in tags for digest in each.get(CHALLENGERS_TAG, "").split())
    return Noted(digests, max((int(each.get(NUM_TRIES_TAG, 0)) for each in tags), default=0))


def note_challenger(run: str, digest: str, num_tries: int) -> None:
    """Note, before it is judged, that a challenger is, and among how many it was chosen.

    Parameters
    ----------
    run : str
        Of the model in whose place it is judged.
    digest : str
        Of the challenger's checkpoint.
    num_tries : int
    """
    tracking = client()
    before = tracking.get_run(run).data.tags.get(CHALLENGERS_TAG, "").split()
    tags = {CHALLENGERS_TAG: " ".join(sorted({*before, digest})), NUM_TRIES_TAG: str(num_tries)}
    tracking.log_batch(run, tags=[RunTag(name, value) for name, value in tags.items()])


def has_failed(digest: str) -> bool:
    """Whether the gate has failed a checkpoint, in whatever experiment."""
    return any(run.data.tags.get(VERDICT_TAG) == "failed" for run in _judged_runs(digest))


def _judged_runs(digest: str) -> Sequence[Run]:
    """The runs of all trainings that gave a checkpoint, as far as it was judged; other settings can give the same."""
    tracking = client()
    everywhere = [str(each.experiment_id) for each in tracking.search_experiments()]
    found: Sequence[Run] = tracking.search_runs(everywhere, f"tags.`{CHECKPOINT_TAG}` = '{digest}'")
    return found


def most_minutes(checkpoint: CheckpointManifest, minutes: float, config: PipelineConfig) -> float:
    """What a challenger has cost: where its finished stages are used again, what they cost before."""
    tracking = client()
    run = run_id(tracking, checkpoint.path.name, config.registry.experiment)
    most = max(minutes, float(tracking.get_run(run).data.tags.get(MINUTES_TAG, 0)))
    tracking.set_tag(run, MINUTES_TAG, str(most))
    return most


def log_trail(written: TrailManifest, trail: Trail) -> None:
    """Log what was tried to the run of the model that the gate failed and to that of the one that was judged.

    In MLflow's list the challengers' runs lie below the first one's.
    """
    tracking = client()
    folder, parent = TRAIL_FOLDER, trail.plain.run_id
    judged = [] if trail.judged is None else [trail.tries[trail.judged.index].run_id]
    for run in (parent, *judged):
        tracking.log_artifacts(run, str(written.path), folder)
    for index, each in enumerate(trail.tries):
        if each.run_id and each.run_id != parent:
            tags = [RunTag(MLFLOW_PARENT_RUN_ID, parent), RunTag(REMEDY_TAG, each.remedy)]
            tracking.log_batch(each.run_id, tags=tags)
            # One that was judged, now or in a run of its own, keeps the name of its verdict.
            if REPORT_TAG not in tracking.get_run(each.run_id).data.tags or each.run_id in judged:
                tracking.update_run(each.run_id, name=run_page.challenger_title(trail, index))


def _log_page(
    tracking: MlflowClient,
    run: Run,
    measured: AuditReport,
    decision: GateDecision,
    dataset: DatasetManifest,
    config: PipelineConfig,
) -> None:
    """Log what a person sees of a run: its name, tags, numbers and note."""
    numbers = run_page.metrics(measured, decision)
    # What an earlier report measured and this one did not must not stay.
    shown = {name: value for name, value in numbers.items() if math.isfinite(value) or name in run.data.metrics}
    page = f"{_artifacts_page(run)}/{REPORT_FOLDER}"
    tags = {
        **run_page.tags(measured, decision),
        MLFLOW_RUN_NOTE: run_page.note(measured, decision, f"{page}/{ReportManifest.PAGE_NAME}"),
    }
    tracking.log_batch(
        run.info.run_id,
        metrics=_metrics(shown),
        tags=[RunTag(name, value) for name, value in tags.items()],
    )
    ending = run_page.ENDINGS[decision.verdict]
    tracking.update_run(run.info.run_id, name=run_page.mlflow_title(config, dataset, ending))


def _metrics(values: dict[str, float]) -> list[Metric]:
    now_ms = int(time.time() * 1000)
    return [Metric(_metric_name(name), value, now_ms, 0) for name, value in values.items()]


def has_ledger(run: str) -> bool:
    """Whether the ledger up to a run's report is logged."""
    tags = client().get_run(run).data.tags
    return LEDGER_TAG in tags and tags[LEDGER_TAG] == tags.get(REPORT_TAG)


def log_ledger(run: str, page: str, values: str, alerts: Sequence[str]) -> None:
    """Log the ledger up to a run that was judged, and put what it found into the run's note.

    Parameters
    ----------
    run : str
        Id of the run.
    page, values : str
        The ledger as HTML and as JSON.
    alerts : sequence of str
        In words.
    """
    tracking = client()
    known = tracking.get_run(run)
    report = known.data.tags.get(REPORT_TAG, "")
    for name, text in {run_page.LEDGER_PAGE: page, run_page.LEDGER_JSON: values}.items():
        tracking.log_text(run, text, f"{LEDGER_FOLDER}/{name}")
    link = f"{_artifacts_page(known)}/{LEDGER_FOLDER}/{run_page.LEDGER_PAGE}"
    note = run_page.with_ledger(known.data.tags.get(MLFLOW_RUN_NOTE, ""), alerts, link)
    tracking.log_batch(run, tags=[RunTag(MLFLOW_RUN_NOTE, note), RunTag(LEDGER_TAG, report)])


def _artifacts_page(run: Run) -> str:
    return f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts"


def page_address(run: str) -> str | None:
    """The address of a run's page, if a server of MLflow is configured."""
    server = environment.mlflow_server()
    if server is None:
        return None
    experiment = client().get_run(run).info.experiment_id
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs/{run}"


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

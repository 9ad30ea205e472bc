"""Measuring labels and a model's biases, deciding whether it passes, and publishing the report."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from rm.audit.config import AuditConfig
from rm.audit.manifests import AuditManifest
from rm.audit.parts import Part
from rm.audit.records import AuditReport, read_report
from rm.data.annotation_table import TableVersion
from rm.data.manifests import DatasetManifest
from rm.errors import LabelsRejected, RmflowError
from rm.gate import decision as gate_decision
from rm.gate.decision import GateDecision
from rm.gate.policy import GatePolicy
from rm.labels.config import LabelsConfig
from rm.labels.lines import lines
from rm.labels.manifests import LabelsManifest
from rm.labels.records import read_labels
from rm.model.manifests import CheckpointManifest
from rm.pipeline.config import PipelineConfig
from rm.probes.manifests import ProbesManifest
from rm.report.manifests import ReportManifest
from rm.report.markdown import listed
from rm.score.manifests import ChampionManifest, ScoresManifest
from rm.tokens.manifests import TokenizedManifest
from rm.variants.manifests import VariantsManifest
from tasks import data, ledgers, run_page, tracking
from tasks.stages import stage


@stage("rm.labels.stage")
def labels(
    table: TableVersion,
    dataset: DatasetManifest,
    previous: DatasetManifest | None,
    config: LabelsConfig,
    *,
    folder: Path,
) -> LabelsManifest:
    """Measure whether labels follow length and style, who votes unlike the others, and what is not independent."""
    from rm.labels import stage as label_stage

    return label_stage.audit(table, dataset, previous, config, folder)


def labels_of(dataset: DatasetManifest, config: LabelsConfig) -> LabelsManifest | None:
    """The audit of the labels of a snapshot that was made before; None, with a warning, if it cannot be made again.

    The table may be gone or out of reach, and a benchmark's file may have moved: neither says anything of the model.
    """
    try:
        return labels(data.table_of(dataset), dataset, data.previous_snapshot(dataset), config)
    except RmflowError as error:
        get_run_logger().warning("the labels could not be audited: %s", error)
        return None


@task
def check_labels(audited: LabelsManifest) -> None:
    """Show what the audit of labels says; raise LabelsRejected if it stops the run."""
    shown = lines(read_labels(audited))
    text = "\n\n".join(listed("The labels", shown))
    create_markdown_artifact(key="labels", markdown=text, description="What the labels reward")
    for warning in audited.warnings:
        get_run_logger().warning("labels: %s", warning)
    if audited.stops:
        raise LabelsRejected(audited.stops, audited.path)


@stage("rm.audit.stage")
def audit(
    scores: ScoresManifest,
    probed: ProbesManifest,
    dataset: DatasetManifest,
    tokenized: TokenizedManifest,
    checkpoint: CheckpointManifest,
    champion_scores: ChampionManifest | None,
    config: AuditConfig,
    part: Part,
    *,
    folder: Path,
) -> AuditManifest:
    """Measure whether rewards follow quality, or length and style."""
    from rm.audit import stage as auditing

    return auditing.audit(scores, probed, dataset, tokenized, checkpoint, champion_scores, config, part, folder)


@task
def decide(audited: AuditManifest, policy: GatePolicy) -> GateDecision:
    """Check the findings against the policy. It does not raise, so that the report is written in any case."""
    return decided(read_report(audited), policy)


def decided(report: AuditReport, policy: GatePolicy) -> GateDecision:
    """The decision of today."""
    return gate_decision.decide(report, policy, datetime.now(UTC).date())


@stage("rm.variants.stage")
def variants(
    dataset: DatasetManifest, scores: ScoresManifest, config: AuditConfig, *, folder: Path
) -> VariantsManifest:
    """Fit the calibrated reward and the one without length on a part of the held-out prompts."""
    from rm.variants import stage as variants_stage

    return variants_stage.write(dataset, scores, config, folder)


@stage("rm.report.stage")
def write_report(
    audited: AuditManifest,
    decision: GateDecision,
    dataset: DatasetManifest,
    scores: ScoresManifest,
    labelled: LabelsManifest | None,
    *,
    folder: Path,
) -> ReportManifest:
    """Write the report: the page, the JSON file and the summaries."""
    from rm.report import stage as report_stage

    return report_stage.write(audited, decision, dataset, scores, labelled, folder)


@task
def publish(
    written: ReportManifest,
    audited: AuditManifest,
    decision: GateDecision,
    checkpoint: CheckpointManifest,
    dataset: DatasetManifest,
    config: PipelineConfig,
) -> str:
    """Log the report and the ledger to MLflow and show them in Prefect; return the id of the MLflow run."""
    measured = read_report(audited)
    run_id = tracking.log_report(checkpoint, written, measured, decision, dataset, config)
    alerts = ledgers.publish(run_id, config.registry.name)
    address = tracking.page_address(run_id)
    table = [
        finding.model_dump(include={"name", "estimate", "ci_low", "ci_high", "num_pairs"})
        for finding in measured.findings
    ]
    checks = [check.model_dump(include={"name", "severity", "status", "reason"}) for check in decision.checks]
    create_table_artifact(key="audit-findings", table=table, description=f"Verdict: {decision.verdict}")
    create_table_artifact(key="gate-checks", table=checks, description="What the gate measured and allows")
    page = written.path / ReportManifest.PAGE_NAME
    link = f"[The run and its report in MLflow]({address})" if address else f"[Audit report]({page.as_uri()})"
    text = run_page.verdict(measured, decision, f"{link}; the report's file is `{page}`")
    if alerts:  # not on the report's page: a stage is a function of its inputs, and former runs are none of them
        text += f"\n{run_page.alerted(alerts)}\n"
    ending = run_page.title(config, dataset, run_page.ENDINGS[decision.verdict])
    create_markdown_artifact(key="verdict", markdown=text, description=ending)
    return run_id

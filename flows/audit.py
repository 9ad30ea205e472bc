"""Audit a checkpoint on the held-out pairs of its own data."""

from __future__ import annotations

from pathlib import Path

from flows.records import Judged, Trained
from flows.runs import flow
from rm.errors import GateRejected
from rm.pipeline.config import PipelineConfig
from tasks import audits, flow_runs, models, registry, run_page, tracking


@flow("audit")
def audit(config: PipelineConfig, checkpoint: Path) -> Judged:
    """Audit a checkpoint; the flow fails unless it passes the gate."""
    trained = Trained.read(checkpoint)
    labelled = audits.labels_of(trained.dataset, config.labels)
    return audit_stages(trained.model_copy(update={"labels": labelled}), config)


def audit_stages(trained: Trained, config: PipelineConfig) -> Judged:
    """The tasks from a checkpoint to a verdict; raises GateRejected after the report is published."""
    with tracking.until_judged(trained.checkpoint, config.registry.experiment):
        judged = _judge(trained, config)
    decision = judged.decision
    flow_runs.rename(run_page.title(config, trained.dataset, run_page.ENDINGS[decision.verdict]))
    if not decision.passed:
        raise GateRejected(decision.verdict, decision.reasons, judged.report.path)
    return judged


def _judge(trained: Trained, config: PipelineConfig) -> Judged:
    scores = models.score(trained.checkpoint, trained.tokenized, config.compute)
    probed = models.probe(trained.checkpoint, trained.dataset, config.compute, config.audit.probes)
    champion = registry.find_champion(trained.checkpoint, config.registry)
    champion_scores = models.score_champion(champion, trained.dataset, config.compute) if champion else None
    audited = audits.audit(
        scores, probed, trained.dataset, trained.tokenized, trained.checkpoint, champion_scores, config.audit
    )
    decision = audits.decide(audited, config.gate)
    report = audits.write_report(audited, decision, trained.dataset, scores, trained.labels)
    run_id = audits.publish(report, audited, decision, trained.checkpoint, trained.dataset, config)
    return Judged(scores=scores, audited=audited, decision=decision, report=report, run_id=run_id)

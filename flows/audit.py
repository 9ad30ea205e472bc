"""Audit a checkpoint on the held-out pairs of its own data."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.records import Judged, Trained
from rm.errors import GateRejected
from rm.pipeline.config import PipelineConfig
from tasks import audits, models, registry


@flow(name="audit")
def audit(config: PipelineConfig, checkpoint: Path) -> Judged:
    """Audit a checkpoint; the flow fails unless it passes the gate."""
    return audit_stages(Trained.read(checkpoint), config)


def audit_stages(trained: Trained, config: PipelineConfig) -> Judged:
    """The tasks from a checkpoint to a verdict; raises GateRejected after the report is published."""
    scores = models.score(trained.checkpoint, trained.tokenized, config.compute)
    probed = models.probe(trained.checkpoint, trained.dataset, config.compute, config.audit.probes)
    champion = registry.find_champion(trained.checkpoint, config.registry)
    champion_scores = models.score_champion(champion, trained.dataset, config.compute) if champion else None
    audited = audits.audit(
        scores, probed, trained.dataset, trained.tokenized, trained.checkpoint, champion_scores, config.audit
    )
    decision = audits.decide(audited, config.gate)
    tested = audits.self_test(audited.num_rows, audited.num_clusters, config.gate, config.audit.probes)
    report = audits.write_report(audited, decision, trained.dataset, scores, tested)
    run_id = audits.publish(report, audited, decision, trained.checkpoint, config)
    if not decision.passed:
        raise GateRejected(decision.verdict, decision.reasons, report.path)
    return Judged(scores=scores, audited=audited, decision=decision, report=report, run_id=run_id)

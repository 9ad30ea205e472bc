"""Audit a checkpoint on the held-out pairs of its own data."""

from __future__ import annotations

from pathlib import Path

from flows.records import Judged, Trained
from flows.runs import flow
from rm.audit.manifests import AuditManifest
from rm.audit.parts import Part
from rm.challengers.trail import TrailManifest
from rm.errors import GateRejected
from rm.pipeline.config import PipelineConfig
from rm.score.manifests import ScoresManifest
from tasks import audits, flow_runs, models, registry, run_page, tracking


@flow("audit")
def audit(config: PipelineConfig, checkpoint: Path) -> Judged:
    """Audit a checkpoint; the flow fails unless it passes the gate."""
    trained = Trained.read(checkpoint)
    labelled = audits.labels_of(trained.dataset, config.labels)
    trained = trained.model_copy(update={"labels": labelled})
    return ended(trained, judge(trained, config), config)


def ended(trained: Trained, judged: Judged, config: PipelineConfig, trail: TrailManifest | None = None) -> Judged:
    """Name the run by its verdict; raises GateRejected unless the model passes."""
    decision = judged.decision
    flow_runs.rename(run_page.title(config, trained.dataset, run_page.ENDINGS[decision.verdict]))
    if not decision.passed:
        raise GateRejected(
            decision.verdict, decision.reasons, judged.report.path, None if trail is None else trail.path
        )
    return judged


def judge(trained: Trained, config: PipelineConfig, part: Part = "whole") -> Judged:
    """The verdict on a checkpoint, whatever it is, by a part of the held-out prompts; its report is published.

    By the choosing part it is no verdict, but what a remedy is chosen by: its report is logged beside the verdict's.
    """
    with tracking.until_judged(trained.checkpoint, config.registry.experiment):
        scores, audited = measure(trained, config, part)
        decision = audits.decide(audited, config.gate)
        report = audits.write_report(audited, decision, trained.dataset, scores, trained.labels)
        if part == "choosing":
            run_id = tracking.log_choosing(trained.checkpoint, report, decision, config)
        else:
            run_id = audits.publish(report, audited, decision, trained.checkpoint, trained.dataset, config)
    return Judged(scores=scores, audited=audited, decision=decision, report=report, run_id=run_id)


def measure(trained: Trained, config: PipelineConfig, part: Part) -> tuple[ScoresManifest, AuditManifest]:
    """Score and edit held-out responses, and audit a part of them."""
    scores = models.score(trained.checkpoint, trained.tokenized, config.compute)
    probed = models.probe(trained.checkpoint, trained.dataset, config.compute, config.audit.probes)
    champion = registry.find_champion(trained.checkpoint, config.registry)
    champion_scores = models.score_champion(champion, trained.dataset, config.compute) if champion else None
    audited = audits.audit(
        scores, probed, trained.dataset, trained.tokenized, trained.checkpoint, champion_scores, config.audit, part
    )
    return scores, audited

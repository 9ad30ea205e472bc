"""From annotations to a registered reward model."""

from __future__ import annotations

from flows.audit import ended, judge
from flows.records import Outcome
from flows.remedies import search
from flows.runs import flow
from flows.train import find_inputs, train_stages
from rm.pipeline.config import PipelineConfig
from tasks import audits, registry, verdicts, versions
from tasks.registry import Candidate


@flow("retrain")
def retrain(config: PipelineConfig, remedy: bool = False) -> Outcome:
    """Train a reward model and register it if the audit lets it pass. Safe to rerun.

    Parameters
    ----------
    config : PipelineConfig
    remedy : bool
        Whether a search for a remedy follows if the gate fails the model.
    """
    versions.signing_key()  # one that cannot be read is an error now, and not after the training
    table, base = find_inputs(config)
    with verdicts.once(table, base, config, remedy):  # ends a run here that a schedule has started with nothing new
        trained = train_stages(config, table, base)
        judged, trail = judge(trained, config), None
        if remedy and judged.decision.verdict == "failed":
            trained, judged, config, trail = search(trained, judged, base, config)
        ended(trained, judged, config, trail)  # raises unless the model passes the gate, so nothing below runs
        candidate = Candidate(
            checkpoint=trained.checkpoint,
            dataset=trained.dataset,
            tokenized=trained.tokenized,
            scores=judged.scores,
            audited=judged.audited,
            report=judged.report,
            variants=audits.variants(trained.dataset, judged.scores, config.audit),
            trail=trail,
        )
        registered = registry.register(candidate, judged.decision, judged.run_id, config)
        return Outcome(trained=trained, judged=judged, registered=registered, trail=trail)

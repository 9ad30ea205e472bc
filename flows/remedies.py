"""The search for a remedy after the gate has failed a model: challengers are trained, and one of them is judged."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from prefect import get_run_logger, task

from flows.audit import judge, measure
from flows.records import Judged, Trained
from flows.train import fit
from rm.audit import parts
from rm.audit.records import read_report
from rm.challengers.standing import chosen, standing
from rm.challengers.trail import ENDINGS, Ending, Judgement, Trail, TrailManifest, Try
from rm.errors import AuditError, ModelError, TrainingError
from rm.model.base_files import BaseModelRef
from rm.pipeline.config import PipelineConfig, RemedyConfig
from rm.remedies import candidates
from rm.remedies.catalog import Remedy
from tasks import audits, remedies, tracking


class Found(NamedTuple):
    """What a search ends with: the challenger that was judged, or else the model that the gate failed."""

    trained: Trained
    judged: Judged
    config: PipelineConfig
    """Of its training."""
    trail: TrailManifest


class _Challenger(NamedTuple):
    tried: Try
    trained: Trained | None
    """None if the training ended with an error."""
    config: PipelineConfig


def search(plain: Trained, judged: Judged, base: BaseModelRef, config: PipelineConfig) -> Found:
    """Train challengers with remedies for what failed, and judge the best of them.

    Parameters
    ----------
    plain : Trained
        The model that the gate failed.
    judged : Judged
        The verdict on it.
    base : BaseModelRef
    config : PipelineConfig

    Notes
    -----
    Everything is chosen on a third of the held-out prompts: the biases, by the first model's audit there, and the
    challenger that goes on. That one alone is judged, on the other two thirds, by the policy in which what the first
    model failed, waived or not, is decided by estimate: by bound, the same fault would often pass on fewer pairs. For
    the same reason a training that the gate has failed before is no challenger. Whatever is tried later, these prompts
    judge no second challenger of the same first model.
    """
    try:
        first = _plain_try(plain, judged, config)
    except AuditError as error:
        get_run_logger().warning("no remedy can be chosen: %s", error)
        return _found(plain, judged, config, _untried(plain, judged))
    stands = first.standing
    against = candidates.biases(candidates.telling(stands.failed, stands.clear, stands.missed)) if stands else ()
    possible = candidates.candidates(against, config.train.remedies, stands.paid_for if stands else ())
    if base.keeps_head:  # which controls nothing, see rm.train.loop
        possible = tuple(each for each in possible if "controlled" not in dict(each.settings))
    challengers, ending = _challengers(possible, plain, judged.run_id, base, config)
    if not possible and _has_remedy(judged, config):
        ending = "not shown"
    trail = Trail(
        biases=against, plain=first, tries=tuple(each.tried for each in challengers), ending=ending, judged=None
    )
    index = chosen([each.tried.standing for each in challengers])
    best = None if index is None else challengers[index]
    if index is None or best is None or best.trained is None:
        return _found(plain, judged, config, trail)
    if tracking.judged_challengers(judged.run_id) - {best.trained.checkpoint.digest}:
        return _found(plain, judged, config, trail.model_copy(update={"refused": index}))
    tracking.note_challenger(judged.run_id, best.trained.checkpoint.digest)
    strict = best.config.model_copy(update={"gate": config.gate.sharpened(_failed(judged))})
    verdict = judge(best.trained, strict, "judging")
    decision = verdict.decision
    final = Judgement(index=index, verdict=decision.verdict, reasons=decision.reasons)
    return _found(best.trained, verdict, strict, trail.model_copy(update={"judged": final}))


def _failed(judged: Judged) -> list[str]:
    """Names of the checks that failed, also those that somebody vouches for."""
    return [check.name for check in judged.decision.checks if check.status in ("failed", "waived")]


def _has_remedy(judged: Judged, config: PipelineConfig) -> bool:
    """Whether there is a remedy for what failed on all held-out prompts."""
    return bool(candidates.candidates(candidates.biases(_failed(judged)), config.train.remedies))


def _found(trained: Trained, judged: Judged, config: PipelineConfig, trail: Trail) -> Found:
    """The end of a search, whose trail is written and shown."""
    written = remedies.write_trail(trail)
    remedies.publish_trail(written, trail)
    return Found(trained=trained, judged=judged, config=config, trail=written)


def _untried(plain: Trained, judged: Judged) -> Trail:
    """The trail of a search that could not begin."""
    first = Try(
        remedy="",
        settings={},
        checkpoint_digest=plain.checkpoint.digest,
        run_id=judged.run_id,
        minutes=None,
        standing=None,
        error=ENDINGS["too few"],
    )
    return Trail(biases=(), plain=first, tries=(), ending="too few", judged=None)


def _plain_try(plain: Trained, judged: Judged, config: PipelineConfig) -> Try:
    """The first model by the prompts on which a remedy is chosen; its verdict in MLflow stays."""
    report = read_report(measure(plain, config, "choosing")[1])
    return Try(
        remedy="",
        settings={},
        checkpoint_digest=plain.checkpoint.digest,
        run_id=judged.run_id,
        minutes=None,
        standing=standing(report, audits.decided(report, config.gate), config.gate),
    )


def _challengers(
    possible: Sequence[Remedy], plain: Trained, run_id: str, base: BaseModelRef, config: PipelineConfig
) -> tuple[list[_Challenger], Ending]:
    """Train one after the other, as long as the budget lasts; the first model's run has the given id."""
    done: list[_Challenger] = []
    start = time.monotonic()
    for remedy in possible:
        if (ending := spent(config.remedy, time.monotonic() - start, [each.tried for each in done])) is not None:
            return done, ending
        done.append(_challenge(remedy, plain, run_id, base, config))
    return done, "all tried" if possible else "no remedy"


def spent(budget: RemedyConfig, seconds: float, tries: Sequence[Try]) -> Ending | None:
    """What ends the search before another training; None if there is room for it."""
    if len(tries) >= budget.max_runs:
        return "runs"
    longest = max((each.minutes or 0.0 for each in tries), default=0.0)
    return "minutes" if seconds / 60 + longest > budget.max_minutes else None


@task(task_run_name="challenger: {remedy.name}")
def _challenge(remedy: Remedy, plain: Trained, run_id: str, base: BaseModelRef, config: PipelineConfig) -> _Challenger:
    """Train with a remedy, and audit on the prompts on which one is chosen."""
    remedied = candidates.with_remedy(remedy, config.train.remedies)
    train = config.train.model_copy(update={"remedies": remedied})
    # So that the judging part alone has about as many edits as the first verdict had.
    wider = config.audit.probes.widened(1 / (1 - parts.CHOOSING_SHARE))
    audit = config.audit.model_copy(update={"probes": wider})
    config = config.model_copy(update={"train": train, "audit": audit})
    start = time.monotonic()
    known = {"remedy": remedy.name, "settings": {name: getattr(remedied, name) for name, _ in remedy.settings}}
    try:
        trained = fit(plain.dataset, plain.labels, plain.tokenized, base, config)
        if tracking.failed_elsewhere(trained.checkpoint, run_id, config):
            raise AuditError("the gate has failed this training before; a second look would make it easier to pass")
        judged = judge(trained, config, "choosing")
    except (TrainingError, AuditError, ModelError) as error:  # such as a loss that became infinite; others may do
        get_run_logger().warning("%s: %s", remedy.name, error)
        minutes = (time.monotonic() - start) / 60
        failed = Try(**known, checkpoint_digest="", run_id="", minutes=minutes, standing=None, error=str(error))
        return _Challenger(failed, None, config)
    stands = standing(read_report(judged.audited), judged.decision, config.gate)
    tried = Try(
        **known,
        checkpoint_digest=trained.checkpoint.digest,
        run_id=judged.run_id,
        minutes=(time.monotonic() - start) / 60,
        standing=stands,
    )
    return _Challenger(tried, trained, config)

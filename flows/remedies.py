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
from rm.remedies.catalog import Bias, Remedy
from tasks import audits, remedies, tracking
from tasks.tracking import Noted


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
    the same reason weights that the gate has failed before are no challenger. Whatever is tried later, these prompts
    judge no second challenger of the same first model: a search that is repeated tries the same and goes on with it.
    """
    try:
        first = _plain_try(plain, judged, config)
    except AuditError as error:
        get_run_logger().warning("no remedy can be chosen: %s", error)
        return _found(plain, judged, config, _untried(plain, judged))
    stands = first.standing
    against = candidates.biases(candidates.telling(stands.failed, stands.clear, stands.missed)) if stands else ()
    possible = _possible(against, stands.paid_for if stands else (), base, config)
    noted = tracking.noted_challengers(plain.checkpoint.digest)
    challengers, ending = _challengers(possible, plain, noted, base, config)
    if not against and _possible(candidates.biases(_failed(judged)), (), base, config):
        ending = "not shown"
    trail = Trail(
        biases=against, plain=first, tries=tuple(each.tried for each in challengers), ending=ending, judged=None
    )
    index = _goes_on(trail, noted)
    best = None if index is None else challengers[index]
    if index is None or best is None or best.trained is None:
        return _found(plain, judged, config, trail)
    digest = best.trained.checkpoint.digest
    if noted.digests and digest not in noted.digests:
        return _found(plain, judged, config, trail.model_copy(update={"refused": index}))
    tracking.note_challenger(judged.run_id, digest, len(challengers))
    strict = best.config.model_copy(update={"gate": config.gate.sharpened(_failed(judged))})
    verdict = judge(best.trained, strict, "judging")
    decision = verdict.decision
    final = Judgement(index=index, verdict=decision.verdict, reasons=decision.reasons)
    return _found(best.trained, verdict, strict, trail.model_copy(update={"judged": final}))


def _possible(
    against: Sequence[Bias], paid_for: tuple[str, ...], base: BaseModelRef, config: PipelineConfig
) -> tuple[Remedy, ...]:
    """The remedies that a training from this base model can have."""
    return candidates.candidates(against, config.train.remedies, paid_for, keeps_head=base.keeps_head)


def _goes_on(trail: Trail, noted: Noted) -> int | None:
    """Index of the challenger that is judged: the one that was judged before a search was repeated, if it is there."""
    before = (index for index, each in enumerate(trail.tries) if each.checkpoint_digest in noted.digests)
    return next(before, chosen([each.standing for each in trail.tries]))


def _failed(judged: Judged) -> list[str]:
    """Names of the checks that failed, also those that somebody vouches for."""
    return [check.name for check in judged.decision.checks if check.status in ("failed", "waived")]


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
    possible: Sequence[Remedy], plain: Trained, noted: Noted, base: BaseModelRef, config: PipelineConfig
) -> tuple[list[_Challenger], Ending]:
    """Train one after the other, as long as the budget lasts, or as many as before one of them was judged."""
    done: list[_Challenger] = []
    for remedy in possible:
        ending = spent(config.remedy, [each.tried for each in done])
        if noted.num_tries:
            ending = None if len(done) < noted.num_tries else ending or "judged before"
        if ending is not None:
            return done, ending
        done.append(_challenge(remedy, plain, noted, base, config))
    return done, "all tried" if possible else "no remedy"


def spent(budget: RemedyConfig, tries: Sequence[Try]) -> Ending | None:
    """What ends the search before another training; None if there is room for it."""
    if len(tries) >= budget.max_runs:
        return "runs"
    minutes = [each.minutes or 0.0 for each in tries]
    return "minutes" if sum(minutes) + max(minutes, default=0.0) > budget.max_minutes else None


@task(task_run_name="challenger: {remedy.name}")
def _challenge(remedy: Remedy, plain: Trained, noted: Noted, base: BaseModelRef, config: PipelineConfig) -> _Challenger:
    """Train with a remedy, and audit on the prompts on which one is chosen."""
    remedied = candidates.with_remedy(remedy, config.train.remedies)
    train = config.train.model_copy(update={"remedies": remedied})
    # So that the judging part alone has about as many edits as the first verdict had.
    wider = config.audit.probes.widened(1 / (1 - parts.CHOOSING_SHARE))
    audit = config.audit.model_copy(update={"probes": wider})
    config = config.model_copy(update={"train": train, "audit": audit})
    start = time.monotonic()
    trained = None

    def minutes() -> float:
        took = (time.monotonic() - start) / 60
        return took if trained is None else tracking.most_minutes(trained.checkpoint, took, config)

    known = {"remedy": remedy.name, "settings": {name: getattr(remedied, name) for name, _ in remedy.settings}}
    try:
        trained = fit(plain.dataset, plain.labels, plain.tokenized, base, config)
        _check_is_new(trained.checkpoint.digest, plain.checkpoint.digest, noted)
        judged = judge(trained, config, "choosing")
    except (TrainingError, AuditError, ModelError) as error:  # such as a loss that became infinite; others may do
        get_run_logger().warning("%s: %s", remedy.name, error)
        failed = Try(**known, checkpoint_digest="", run_id="", minutes=minutes(), standing=None, error=str(error))
        return _Challenger(failed, None, config)
    stands = standing(read_report(judged.audited), judged.decision, config.gate)
    tried = Try(
        **known,
        checkpoint_digest=trained.checkpoint.digest,
        run_id=judged.run_id,
        minutes=minutes(),
        standing=stands,
    )
    return _Challenger(tried, trained, config)


def _check_is_new(digest: str, first: str, noted: Noted) -> None:
    """Raise AuditError where another look at the same weights would make it easier to pass."""
    if digest == first:
        raise AuditError("the remedy changed nothing: these are the weights that the gate has failed")
    if digest not in noted.digests and tracking.has_failed(digest):
        raise AuditError("the gate has failed these weights before; a second look would make it easier to pass")

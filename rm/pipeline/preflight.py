"""Whether a recipe can come to a registered model, and what it will take: said before anything is trained.

What is said follows from the counts of a snapshot, the lengths of a sample of it and the policy; each remark says what
it assumes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

from rm.files import size_text
from rm.gate.checks import Check
from rm.pipeline.config import PipelineConfig
from rm.section import Section
from rm.tokens import overlong
from rm.tokens.counts import SplitSurvey, Survey

Level = Literal["fine", "warning", "no_pass", "error"]
"""``no_pass``: the run comes to its end, but nothing can be registered. ``error``: the run would stop."""
_SHOWN: dict[Level, str] = {"fine": "ok", "warning": "note", "no_pass": "cannot pass", "error": "stop"}

VISIBLE = 2.4
"""Root of the number of pairs times the length bias that shows: half of a critical value of 3.9 plus 0.84."""
_TRAINED_BYTES, _FROZEN_BYTES, _QUANTIZED_BYTES = 16, 4, 0.6
"""A weight, its gradient and two moments of AdamW in float32; a weight alone; one in 4 bits with its scale."""
_ACTIVATION_BYTES = 68
"""Per token, layer and element of the hidden state: 34 of 2 bytes each in a transformer layer, without attention's own
matrix (Korthikanti et al. 2022, arXiv:2205.05198, eq. 2), in float32."""
_DISK_BYTES = 40
"""Per weight: the finished checkpoint, its copy in MLflow, and of unfinished ones two states and the best weights."""


class Remark(Section):
    """One thing that was looked at."""

    about: str
    level: Level
    text: str


class Row(Section):
    """A split; what is lost and its tokens are about right where only a sample was tokenized."""

    split: str
    num_prompts: int
    num_judgements: int
    num_pairs: int
    num_kept_pairs: int
    num_tokens: int


class Preflight(Section):
    """What was found."""

    rows: tuple[Row, ...] = ()
    remarks: tuple[Remark, ...] = ()

    @property
    def stops(self) -> str | None:
        """Why a run would stop; None if it would not."""
        return next((remark.text for remark in self.remarks if remark.level == "error"), None)

    @property
    def can_pass(self) -> bool:
        """Whether a run could end with a registered model."""
        return not any(remark.level in ("error", "no_pass") for remark in self.remarks)


def shown(level: Level) -> str:
    """A level in words."""
    return _SHOWN[level]


def examine(survey: Survey, config: PipelineConfig, free_bytes: int, pairs_per_s: float | None = None) -> Preflight:
    """What can be said of a recipe before it is run.

    Parameters
    ----------
    survey : Survey
    config : PipelineConfig
    free_bytes : int
        Free space where state is kept.
    pairs_per_s : float, optional
        Pairs that a second of training takes, if that was measured (`rm.train.rate`).
    """
    rows = tuple(_row(split, counts) for split, counts in survey.splits.items() if counts.num_prompts)
    remarks = (
        *_lengths(survey, config),
        *_gate(survey.splits["heldout"], config),
        *_controlled(config.train.remedies.controlled, keeps_head=survey.keeps_head),
        _steps(survey, config, pairs_per_s),
        _memory(survey, config),
        _disk(survey, free_bytes),
    )
    return Preflight(rows=rows, remarks=remarks)


def _row(split: str, counts: SplitSurvey) -> Row:
    return Row(
        split="held-out" if split == "heldout" else split,
        num_prompts=counts.num_prompts,
        num_judgements=counts.num_judgements,
        num_pairs=counts.num_pairs,
        num_kept_pairs=counts.kept_pairs,
        num_tokens=counts.kept_tokens,
    )


def _controlled(names: Sequence[str], *, keeps_head: bool) -> Iterator[Remark]:
    if not names:
        return
    from rm.remedies import controllable  # here, since its libraries take long to load

    for problem in filter(None, map(controllable.problem, names)):
        yield Remark(about="remedies", level="error", text=f"train.remedies.controlled: {problem}")
    if keeps_head:
        yield Remark(about="remedies", level="error", text=controllable.HEAD_IS_KEPT)


def _lengths(survey: Survey, config: PipelineConfig) -> Iterator[Remark]:
    sample = "" if survey.is_whole else f" Of a random sample of {survey.num_sampled:,} prompts."
    if problem := overlong.problem(survey.fit, config.tokenize, survey.max_tokens):
        yield Remark(about="length", level="error", text=f"{problem}.{sample}")
    else:
        fits = f"tokenize.max_tokens {survey.max_tokens}: {overlong.described(survey.fit)}"
        yield Remark(about="length", level="fine", text=f"{fits}.{sample}")
    budget = config.compute.tokens_per_batch
    if survey.max_tokens > budget:
        text = (
            f"a prompt and one response may have up to {survey.max_tokens:,} tokens, and more than "
            f"compute.tokens_per_batch, {budget:,}, stop the training before its first step"
        )
        yield Remark(about="length", level="warning", text=text)
    elif 2 * survey.max_tokens > budget:
        text = (
            f"a pair with more than compute.tokens_per_batch, {budget:,}, is read in pieces; with fewer processes than "
            "pieces each is read twice"
        )
        yield Remark(about="length", level="fine", text=text)
    if cut := sum(survey.overlong.get(overlong.CUT, {}).values()):
        text = f"the prompts of {cut:,} of {survey.num_responses:,} responses are cut at their beginning.{sample}"
        yield Remark(about="length", level="warning", text=text)
    for split in ("train", "heldout"):
        if survey.is_whole and not survey.splits[split].kept_pairs:
            yield Remark(about="length", level="error", text=f"no pair of the split {split} is left")
    if survey.refused:
        share = len(survey.refused) / survey.num_sampled
        too_many = share > config.tokenize.max_refused_share
        text = (
            f"the chat template refuses {len(survey.refused):,} of {survey.num_sampled:,} prompts: {survey.refused[0]}"
        )
        allowed = f"; tokenize.max_refused_share allows {config.tokenize.max_refused_share:g}" if too_many else ""
        yield Remark(about="template", level="error" if too_many else "warning", text=f"{text}{allowed}")


def _gate(heldout: SplitSurvey, config: PipelineConfig) -> Iterator[Remark]:
    """Checks that rest on too few pairs whatever is measured, and what bias could be seen.

    A finding rests on no more pairs than are held out and have a preferred response; on fewer, where it is about some
    of them. Probes rest on edits, whose number is not known yet.
    """
    num_pairs = round(heldout.kept_pairs * (1 - heldout.num_ties / max(heldout.num_pairs, 1)))
    num_prompts = heldout.kept_prompts
    undecided = [reason for check in config.gate.checks if (reason := _undecided(check, num_pairs, num_prompts))]
    hard = [reason for check, reason in undecided if check.severity == "hard"]
    soft = len(undecided) - len(hard)
    size = f"{num_pairs:,} held-out pairs with a preferred response, of {num_prompts:,} prompts"
    if hard:
        blocks = config.gate.inconclusive == "block"
        end = "so that nothing can be registered" if blocks else "which only warns (gate.inconclusive: allow)"
        yield Remark(
            about="gate",
            level="no_pass" if blocks else "warning",
            text=f"{size}: undecided whatever is measured: {', '.join(hard)}; {end}. More annotations, or a larger "
            "snapshot.heldout_share, are needed",
        )
    else:
        more = f"; {soft} soft checks are undecided" if soft else ""
        yield Remark(about="gate", level="fine", text=f"{size}: enough for every hard check's min_pairs{more}")
    if num_pairs:
        yield _visible(num_pairs, num_prompts, config)


def _undecided(check: Check, num_pairs: int, num_prompts: int) -> tuple[Check, str] | None:
    if check.if_measured:
        return None
    if check.name == "num_clusters":
        needed = check.min_value or 0
        return (check, f"{check.name} (needs {needed:g} prompts)") if num_prompts < needed else None
    return (check, f"{check.name} (needs {check.min_pairs:,})") if num_pairs < check.min_pairs else None


def _visible(num_pairs: int, num_prompts: int, config: PipelineConfig) -> Remark:
    """The length bias that four of five audits of this size show.

    Notes
    -----
    The standard error of what is asked is ``sqrt(mean(W) / n)`` for n independent pairs, with W = p (1 - p), at most
    1/4 (`rm.stats.sufficiency`): a bias of ``(critical + 0.84) 0.5 / sqrt(n)`` shows. If all pairs of a prompt say the
    same, n is the number of prompts.
    """
    best, worst = (VISIBLE / math.sqrt(number) for number in (num_pairs, min(num_prompts, num_pairs)))
    limit = next((check.max_value for check in config.gate.checks if check.name == "visible_length"), None)
    span = f"{100 * best:.0f}" if round(100 * best) == round(100 * worst) else f"{100 * best:.0f} to {100 * worst:.0f}"
    text = (
        f"a bias by length of about {span} points could be seen (from counts alone: for a critical value of 3.9 and "
        "labels that the rewards hardly predict; the second number if the pairs of a prompt all say the same; a very "
        "accurate model shows smaller ones)"
    )
    if limit is not None and best > limit:
        text += f"; visible_length allows {100 * limit:g}, so expect it to be undecided"
        return Remark(about="gate", level="warning", text=text)
    return Remark(about="gate", level="fine", text=text)


def _steps(survey: Survey, config: PipelineConfig, pairs_per_s: float | None) -> Remark:
    train, settings = survey.splits["train"], config.train
    num_pairs = train.kept_pairs if settings.max_pairs is None else min(settings.max_pairs, train.kept_pairs)
    share = num_pairs / max(train.kept_pairs, 1)
    added = settings.remedies.pairs_per_prompt
    num_pairs += round(added * train.num_prompts * share)
    steps = math.ceil(num_pairs / settings.pairs_per_step) * settings.num_epochs
    tokens = round(train.kept_tokens * share * settings.num_epochs)
    return Remark(
        about="training",
        level="fine",
        text=f"about {steps:,} steps of {settings.pairs_per_step:,} pairs, {tokens:,} tokens, "
        f"{6 * survey.num_parameters * tokens:.1e} floating-point operations (6 for each weight and token)"
        f"{', without the tokens that remedies add' if added else ''}"
        f"{_duration(num_pairs * settings.num_epochs, pairs_per_s)}",
    )


def _duration(num_pairs: int, pairs_per_s: float | None) -> str:
    if pairs_per_s is None:
        return ""
    minutes = max(1, round(num_pairs / pairs_per_s / 60))
    duration = f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
    rate = f"{pairs_per_s:,.0f}" if pairs_per_s >= 10 else f"{pairs_per_s:.2g}"
    return f"; about {duration} of training on this machine, at {rate} pairs per second in one process"


def memory_bytes(survey: Survey, config: PipelineConfig) -> int:
    """Bytes that training is expected to take."""
    return sum(_memory_parts(survey, config))


def _memory_parts(survey: Survey, config: PipelineConfig) -> tuple[int, int]:
    """Bytes of the weights with all that is kept for each, and of the activations."""
    adapters = config.train.lora
    per_weight = _TRAINED_BYTES if adapters is None else _QUANTIZED_BYTES if adapters.quantize else _FROZEN_BYTES
    weights = int(per_weight * survey.num_parameters)
    layers = 1 if config.compute.gradient_checkpointing else survey.num_layers
    halved = 2 if config.train.precision == "bfloat16" else 1
    per_token = _ACTIVATION_BYTES // halved * layers * survey.hidden_size
    if config.compute.gradient_checkpointing:
        per_token += 4 // halved * survey.num_layers * survey.hidden_size
    return weights, per_token * config.compute.tokens_per_batch


def _memory(survey: Survey, config: PipelineConfig) -> Remark:
    weights, activations = _memory_parts(survey, config)
    what = "weights, gradients and AdamW" if config.train.lora is None else "weights, without the adapters"
    spread = "; the first is divided by the number of processes" if config.compute.sharded else ""
    return Remark(
        about="memory",
        level="fine",
        text=f"about {size_text(weights + activations)}: {size_text(weights)} for {what} of "
        f"{survey.num_parameters:,} parameters, and {size_text(activations)} for the activations of "
        f"{config.compute.tokens_per_batch:,} tokens (an estimate, without attention's matrices){spread}",
    )


def _disk(survey: Survey, free_bytes: int) -> Remark:
    tokens = 4 * sum(split.kept_tokens for split in survey.splits.values())
    needed = _DISK_BYTES * survey.num_parameters + tokens + 2 * survey.dataset_bytes
    text = f"about {size_text(needed)} of disk are needed, {size_text(free_bytes)} are free"
    return Remark(about="disk", level="error" if needed > free_bytes else "fine", text=text)


def markdown(report: Preflight) -> str:
    """The same as `Preflight`, for people."""
    lines = ["| split | prompts | judgements | pairs | pairs that fit | tokens |", "|---|---|---|---|---|---|"]
    for row in report.rows:
        lines.append("| " + " | ".join(cells(row)) + " |")
    lines.append("")
    lines += [f"- {shown(remark.level)}, {remark.about}: {remark.text}" for remark in report.remarks]
    return "\n".join(lines) + "\n"


def cells(row: Row) -> list[str]:
    """A row as texts."""
    numbers = (row.num_prompts, row.num_judgements, row.num_pairs, row.num_kept_pairs, row.num_tokens)
    return [row.split, *(f"{number:,}" for number in numbers)]

"""The model card in Markdown of a registered model."""

from __future__ import annotations

import math

from huggingface_hub import EvalResult, ModelCardData

from rm.audit.records import AuditReport
from rm.gate.decision import GateDecision
from rm.probes.results import ProbeResult
from rm.report.markdown import escaped, headlines, listed, summarized
from rm.report.not_tested import not_tested
from rm.report.tables import outcome, unexpected
from rm.report.text import HEADLINES, count, interval, number, visible

_USE = (
    "Rewards compare responses to the same prompt. Between prompts they mean nothing: the loss leaves each prompt's "
    "offset free.",
    "A policy trained against this model will look for responses that it overrates. Watch for the biases that the "
    "audit found during such a training, and audit the model again on responses of the policy.",
    "The verdict is about prompts like the held-out ones. For other prompts, audit first.",
)


def card(report: AuditReport, decision: GateDecision) -> str:
    """What the model is, what it was trained on, what the audit found, and what it did not test.

    Parameters
    ----------
    report : AuditReport
    decision : GateDecision

    Returns
    -------
    str
        Markdown after a YAML header with the fields of Hugging Face's model cards. Names and reasons are plain text, as
        in `rm.report.markdown.markdown`.
    """
    return f"---\n{_header(report, decision)}\n---\n\n{body(report, decision)}"


def body(report: AuditReport, decision: GateDecision) -> str:
    """The card without its header, for places that would show the header as text."""
    parts = [
        "# Reward model",
        *_about(report),
        f"## Audit: {decision.verdict.replace('_', ' ')}",
        *summarized(report, decision),
        *headlines(report),
        *_biases(report, decision),
        *listed("Limits of use", _USE),
        *listed("Not tested", not_tested(report)),
        *_reproduction(report, decision),
    ]
    return "\n\n".join(parts) + "\n"


def _header(report: AuditReport, decision: GateDecision) -> str:
    """Hugging Face's metadata of a model card, as YAML."""
    provenance = report.provenance
    found = [(name, title, finding) for name, title in HEADLINES if (finding := report.finding(name)) is not None]
    results = [
        EvalResult(
            task_type="text-classification",
            task_name="preference",
            dataset_type="rmflow",
            dataset_name=f"held-out pairs of {provenance.dataset_digest[:12]}",
            metric_type=name,
            metric_name=title,
            metric_value=round(finding.estimate, 4),
        )
        for name, title, finding in found
        if math.isfinite(finding.estimate)
    ]
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["reward-model", "rmflow", f"audit-{decision.verdict}"],
        base_model=" ".join(visible(provenance.base).split()),  # a line of its own could end the header
        model_name=f"reward-model-{provenance.checkpoint_digest[:12]}",
        eval_results=results,
    ).to_yaml()


def _about(report: AuditReport) -> list[str]:
    provenance = report.provenance
    sources = [f"{name}, digest {digest[:12]}" for name, digest in provenance.sources.items()]
    return [
        "A scalar reward model: it gives a number to a response to a prompt, higher for what annotators would prefer. "
        + _training(report),
        f"Checkpoint digest {escaped(provenance.checkpoint_digest)}, data digest "
        f"{escaped(provenance.dataset_digest)}; {count(provenance.num_heldout_prompts)} prompts held out for the "
        "audit.",
        *listed("Data", [*sources, *provenance.notes]),
    ]


def _training(report: AuditReport) -> str:
    name, num_pairs = escaped(report.provenance.base), report.provenance.num_train_pairs
    if num_pairs is None:
        return f"Audited as {name}; how it was trained is not known."
    controlled = ", ".join(map(escaped, report.provenance.controlled))
    return (
        f"Base model {name}, trained on {count(num_pairs)} pairs of responses that annotators compared, under the "
        "Bradley-Terry model of their choice."
        + (f" What they liked beside quality was controlled for: {controlled}." if controlled else "")
    )


def _biases(report: AuditReport, decision: GateDecision) -> list[str]:
    probes = [_edit(result) for result in unexpected(report.probes)]
    found = [
        *listed("What keeps it out", decision.reasons),
        *listed("Waived", [check.reason for check in decision.waived]),
        *listed("Warnings", decision.warnings),
        *listed("Edits to which it does not react as it should", probes),
    ]
    return ["## Biases found", *(found or ["No check failed or warned."])]


def _edit(result: ProbeResult) -> str:
    rate = result.win_rate
    return f"{result.name}: {result.about} Win rate {number(rate.estimate)} ({interval(rate)}), {outcome(result)}."


def _reproduction(report: AuditReport, decision: GateDecision) -> list[str]:
    ours = report.provenance.num_train_pairs is not None
    command = "--config RECIPE.yaml --model CHECKPOINT" if ours else "--scores FILE --out DIR"
    if not ours and report.probes:
        command = "--model REF --data FILE --out DIR"
    return [
        "## Reproduce",
        "On data of the digest above:",
        f"```\nrmflow audit {command}\n```",
        f"The same data, checkpoint and settings give the same numbers, digest {escaped(decision.report_digest)}, and "
        f"with the policy of digest {escaped(decision.policy_digest)} the same verdict, as long as its waivers last.",
    ]

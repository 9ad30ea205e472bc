"""What an audit did not test: a pass says nothing about these."""

from __future__ import annotations

import math

from rm.audit.records import AuditReport
from rm.probes.catalog import MIN_EDITS
from rm.report.sections import SECTIONS
from rm.report.text import plain

_PROBES_OF = {
    "saying things twice and padding": ("repeat_ending", "double", "filler"),
    "text that is cut off, is missing or answers something else": ("truncate", "empty", "dont_know", "echo", "foreign"),
    "the order of words and sentences": ("word_scramble", "sentence_shuffle"),
    "lists, bold and other formatting": ("bullets", "bold", "strip_markdown", "emoji", "exclamation"),
    "flattery and agreement": ("affirmative", "flattery", "agreement"),
    "sounding sure or unsure": ("hedging", "certainty"),
    "insults and refusals": ("rude", "refusal"),
    "wrong numbers and negated claims": ("numbers", "negation"),
    "single key words (audit.probes.keywords lists them)": ("keywords",),
    "whether the prompt is read": ("prompt_shuffled", "prompt_deleted"),
    "who asks": ("identity",),
    "typing errors and white space": ("typos", "double_spaces", "trailing_whitespace"),
}
_NEVER = (
    "The labels were believed. Where annotators like length, a word or a mark, a model that likes it too is right by "
    "them. `rmflow audit --labels` says what they follow.",
    "No policy was trained against these rewards. A policy would find responses that are neither in the held-out data "
    "nor among the edits.",
    "No probe covers: agreement with a user's wrong opinion, dialect, other languages than those of the held-out "
    "prompts, invented sources, jargon, and harm done over several turns.",
)


def not_tested(report: AuditReport) -> tuple[str, ...]:
    """One sentence for each thing that is missing in the report.

    Parameters
    ----------
    report : AuditReport
    """
    missing = [section.missing for section in SECTIONS if section.missing and not section.measured(report)]
    return (*missing, *_evidence(report), *_probes(report), *_NEVER)


def _evidence(report: AuditReport) -> list[str]:
    lines = []
    ceiling = report.find("label_ceiling")
    if ceiling is None or not math.isfinite(ceiling.estimate):
        lines.append("Annotator agreement: no pair has two votes, so the best possible accuracy is unknown.")
    if report.top_rewards is None or report.top_rewards.unseen is None:
        lines.append(
            "Training texts: they are not known. The heuristics were fitted on held-out pairs of other prompts, and "
            "patterns that were never in training could not be found."
        )
    if report.top_rewards is not None and not report.top_rewards.num_top:
        lines.append(
            "The highest rewards: more than a tenth of the responses have the highest one relative to their prompts. "
            "What the top has in common, or what was never in training, could not be found."
        )
    if report.num_unscored:
        lines.append(f"{report.num_unscored:,} held-out responses: the model has no room for them, or refuses them.")
    return lines


def _probes(report: AuditReport) -> list[str]:
    if not report.probes:
        return []  # another sentence says already that no response was edited
    worked = {result.name for result in report.probes if math.isfinite(result.win_rate.estimate)}
    lines = [f"No edit tested {what}." for what, names in _PROBES_OF.items() if not worked & set(names)]
    never = [plain(each.name) for each in report.probes if each.name not in worked and each.applicability == 0]
    unasked = [plain(each.name) for each in report.probes if math.isnan(each.applicability)]
    few = [
        f"{plain(each.name)} {each.num_parents}"
        for each in report.probes
        if each.expected != "report" and 0 < each.num_parents < MIN_EDITS
    ]
    if never:
        lines.append(f"Probes that applied to no response: {', '.join(never)}.")
    if unasked:
        lines.append(f"Probes that got no response to edit, since audit.probes.budget is small: {', '.join(unasked)}.")
    if few:
        lines.append(
            f"Probes with fewer than {MIN_EDITS} edits say little: {', '.join(few)}. They get more edits with more "
            "held-out prompts or a larger audit.probes.budget."
        )
    return lines

"""A verdict as Markdown, for a comment on a pull request or the summary of a CI run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rm.audit.records import AuditReport
from rm.gate.decision import GateDecision
from rm.report.summary import summarize
from rm.report.text import HEADLINES, count, interval, number, visible

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~&#!$])")
_MARKER = re.compile(r"^(\d*)([-+.)])")
_LINK = re.compile(r"(?i)(?<=[a-z]):(?=//)|(?<=www)\.")
_SUMMONS = re.compile(r"(?<=[@#])(?=\w)")


def markdown(report: AuditReport, decision: GateDecision) -> str:
    """The summary, every check and the main findings.

    Parameters
    ----------
    report : AuditReport
    decision : GateDecision

    Returns
    -------
    str
        GitHub-flavoured Markdown. Names and reasons are plain text: nothing in them acts as a link, a table's edge,
        HTML or a mention of a person or issue.
    """
    provenance = report.provenance
    about = f"{provenance.base}, checkpoint {provenance.checkpoint_digest[:12]}"
    parts = [
        f"## Reward model audit: {decision.verdict.replace('_', ' ')}",
        f"{escaped(about)}; {provenance.num_heldout_prompts:,} held-out prompts.",
        *summarized(report, decision),
        table(
            ("check", "severity", "result", "measured and allowed"),
            ((check.name, check.severity, check.status.replace("_", " "), check.reason) for check in decision.checks),
        ),
        *headlines(report),
    ]
    return "\n\n".join(parts) + "\n"


def summarized(report: AuditReport, decision: GateDecision) -> list[str]:
    """What the verdict means, why, what to do next, and what could not be seen."""
    summary = summarize(report, decision)
    return [
        summary.meaning,
        *listed("Why", [reason.text for reason in summary.reasons]),
        *listed("What to do", summary.next_steps),
        *listed("What could not be seen", summary.unseen),
    ]


def headlines(report: AuditReport) -> list[str]:
    """A table of the numbers that a reader looks at first."""
    found = [(title, finding) for name, title in HEADLINES if (finding := report.finding(name)) is not None]
    rows = [(title, number(one.estimate), interval(one), count(one.num_pairs)) for title, one in found]
    return [table(("finding", "estimate", "95 % interval", "pairs"), rows)] if rows else []


def listed(title: str, reasons: Sequence[str]) -> list[str]:
    """A title with a list below it; empty if there is nothing to list."""
    items = (_MARKER.sub(r"\1\\\2", escaped(reason)) for reason in reasons)
    return [f"**{title}**", "\n".join(f"- {item}" for item in items)] if reasons else []


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the header is trusted Markdown, the cells are escaped."""
    lines = [header, ["---"] * len(header), *([escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """Text on one line that Markdown shows as it is."""
    plain = _SPECIAL.sub(r"\\\1", " ".join(visible(text).split()))
    return _SUMMONS.sub("\N{WORD JOINER}", _LINK.sub(lambda found: f"\\{found[0]}", plain))

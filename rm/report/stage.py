"""The report as a stage: all its files appear, or none."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from rm.audit import heldout as scored
from rm.audit.manifests import AuditManifest
from rm.audit.records import AuditReport, read_report
from rm.data.manifests import DatasetManifest
from rm.files import replace_text
from rm.gate.decision import GateDecision
from rm.labels.manifests import LabelsManifest
from rm.labels.records import LabelReport, read_labels
from rm.parquet import write_table
from rm.report import audit_json
from rm.report.card import card
from rm.report.junit import junit
from rm.report.manifests import ReportManifest
from rm.report.markdown import markdown
from rm.report.page import page
from rm.report.picture import picture
from rm.report.summary import summarize
from rm.score.manifests import ScoresManifest


def write(
    audited: AuditManifest,
    decision: GateDecision,
    dataset: DatasetManifest,
    scores: ScoresManifest,
    labelled: LabelsManifest | None,
    folder: Path,
) -> ReportManifest:
    """Write the report of a checkpoint that the pipeline trained, as a stage.

    Parameters
    ----------
    audited : AuditManifest
        What was measured.
    decision : GateDecision
    dataset, scores : manifests
        Data set and scores of the audited responses, for the figures.
    labelled : LabelsManifest or None
        What was found on the labels.
    folder : Path
        Gets the files of `write_files` and the manifest.
    """
    heldout = scored.join_scores(dataset, scores, audited.part)
    found = None if labelled is None else read_labels(labelled)
    write_files(read_report(audited), decision, heldout, folder, found)
    return ReportManifest.seal(
        folder,
        inputs=(audited, *([] if labelled is None else [labelled])),
        config=decision,
        num_rows=heldout.table.num_rows,
        passed=decision.passed,
    )


def write_files(
    report: AuditReport,
    decision: GateDecision,
    heldout: scored.Heldout,
    folder: Path,
    labels: LabelReport | None = None,
) -> None:
    """Write the files that `ReportManifest` names, and ``scores.parquet``.

    Parameters
    ----------
    report : AuditReport
    decision : GateDecision
    heldout : Heldout
        What was audited.
    folder : Path
    labels : LabelReport, optional
        What was found on the labels that the model was trained on; default: not known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        # First, since it shows whose folder it is: one that was left unfinished may be written again.
        ReportManifest.JSON_NAME: _as_text(audit_json.values(report, decision)),
        ReportManifest.PAGE_NAME: page(report, decision, heldout, labels),
        ReportManifest.SCHEMA_NAME: _schema(),
        ReportManifest.MARKDOWN_NAME: markdown(report, decision),
        ReportManifest.JUNIT_NAME: junit(decision),
        ReportManifest.CARD_NAME: card(report, decision),
        ReportManifest.PICTURE_NAME: picture(report, summarize(report, decision)).figure.svg(),
    }
    for name, text in texts.items():
        replace_text(folder / name, text)
    write_table(folder / AuditManifest.PAIRS_NAME, heldout.table)


@cache
def _schema() -> str:
    return _as_text(audit_json.schema())


def _as_text(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2, allow_nan=False) + "\n"

"""The audit of labels as a stage."""

from __future__ import annotations

import json
from pathlib import Path

from rm.data.annotation_table import TableVersion
from rm.data.manifests import DatasetManifest
from rm.files import replace_text
from rm.labels import aliases
from rm.labels.config import LabelsConfig
from rm.labels.manifests import LabelsManifest
from rm.labels.records import LabelReport
from rm.labels.run import examine


def audit(
    table: TableVersion,
    dataset: DatasetManifest,
    previous: DatasetManifest | None,
    config: LabelsConfig,
    folder: Path,
) -> LabelsManifest:
    """Audit the labels of a snapshot; see `rm.labels.run.examine`.

    Parameters
    ----------
    table, dataset, previous, config
    folder : Path
        Gets the files of `write` and the manifest.
    """
    report = examine(table, dataset, previous, config)
    write(report, table, dataset, folder)
    return LabelsManifest.seal(
        folder,
        inputs=(dataset, table, *([] if previous is None else [previous])),
        config=config,
        num_rows=report.num_pairs,
        warnings=report.reasons("warned"),
        stops=report.reasons("stopped"),
    )


def write(report: LabelReport, table: TableVersion, dataset: DatasetManifest, folder: Path) -> None:
    """Write a report, and beside it who its annotators are; only the report may leave this machine.

    Parameters
    ----------
    report : LabelReport
        Of the snapshot.
    table, dataset
    folder : Path
        Gets ``labels.json`` (`rm.labels.records.LabelReport`) and ``annotators.json`` (`rm.labels.aliases.names`).
    """
    names = aliases.names(table, dataset)
    replace_text(folder / LabelsManifest.NAMES_NAME, json.dumps(names, ensure_ascii=False, indent=2) + "\n")
    replace_text(folder / LabelsManifest.REPORT_NAME, report.model_dump_json(indent=2) + "\n")

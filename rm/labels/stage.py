"""The audit of labels as a stage."""

from __future__ import annotations

from pathlib import Path

from rm.data.annotation_table import TableVersion
from rm.data.manifests import DatasetManifest
from rm.files import replace_text
from rm.labels.config import LabelsConfig
from rm.labels.manifests import LabelsManifest
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
        Gets ``labels.json`` (`rm.labels.records.LabelReport`) and the manifest.
    """
    report = examine(table, dataset, previous, config)
    replace_text(folder / LabelsManifest.REPORT_NAME, report.model_dump_json(indent=2) + "\n")
    return LabelsManifest.seal(
        folder,
        inputs=(dataset, table, *([] if previous is None else [previous])),
        config=config,
        num_rows=report.num_pairs,
        warnings=report.reasons("warned"),
        stops=report.reasons("stopped"),
    )

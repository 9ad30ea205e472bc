"""The audit of a recipe's labels, without a flow and without a model."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape

from flows.cli import audits, screen
from rm.pipeline.config import PipelineConfig


def audit(config: PipelineConfig, out: Path | None) -> int:
    """Print what is found on the labels, and write it; returns the exit code, 2 if a run would stop.

    Parameters
    ----------
    config : PipelineConfig
    out : Path or None
        Gets ``labels.json`` and ``annotators.json``. Default: ``labels`` in the folder of all state.
    """
    from rm.data import snapshots
    from rm.files import work_folder
    from rm.labels.lines import lines
    from rm.labels.manifests import LabelsManifest
    from rm.labels.run import examine
    from rm.labels.stage import write
    from tasks import data, environment, trial

    audits.check_folder(out)
    environment.make_home()
    with work_folder(".labels", environment.home()) as temporary:
        table, told = trial.found_by(temporary / "table", config)
        dataset = snapshots.snapshot(table, config.snapshot, temporary / "dataset")
        place = None if config.sample else environment.annotations_at(config.ingest.table) / "annotations"
        previous = data.previous_snapshot(dataset, place)
        report = examine(table, dataset, previous, config.labels)
        folder = environment.home() / "labels" if out is None else out
        folder.mkdir(parents=True, exist_ok=True)
        write(report, table, dataset, folder)
    if told.level == "warning":
        screen.console.print(escape(f"warning: {told.text}"), soft_wrap=True, highlight=False)
    for line in lines(report):
        screen.console.print(escape(line), soft_wrap=True, highlight=False)
    written = {"All numbers": LabelsManifest.REPORT_NAME, "Names of annotators": LabelsManifest.NAMES_NAME}
    for what, name in written.items():
        screen.console.print(f"{what}: {escape(str(folder / name))}", soft_wrap=True, highlight=False)
    return screen.EXIT_CODES["failed"] if report.reasons("stopped") else 0

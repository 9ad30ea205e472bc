"""Reading annotations into the table, in a flow or without one."""

from __future__ import annotations

import logging

from rm.data import sample, store
from rm.data.config import IngestConfig
from rm.data.manifests import SampleManifest
from rm.engine import choice, engines
from rm.errors import DataError
from rm.files import replace_text
from rm.model.config import ComputeConfig
from tasks import environment

_LOGGER = logging.getLogger(f"rm.{__name__}")  # whose messages Prefect shows with their run


def read_in(
    config: IngestConfig, made_up: SampleManifest | None = None, compute: ComputeConfig | None = None
) -> store.IngestReport:
    """Read annotations into the table; a file that is read again adds nothing.

    Made-up annotations replace the configured sources, and go to a table of their own per sample.
    """
    if made_up is not None:
        config = sample.as_only_source(made_up, config)
    folder = environment.annotations_folder(config.table)
    engine = choice.chosen(compute.engine, compute.num_workers) if compute else engines.LOCAL
    report = store.append(config.sources, environment.annotations_at(config.table), config, folder, engine)
    if report.sources:
        name = report.ingested_at.replace(":", "-")
        replace_text(folder / "ingests" / f"{name}.json", report.model_dump_json(indent=2) + "\n")
    return report


def log(report: store.IngestReport, config: IngestConfig) -> None:
    """Log what became of each source's rows, where no command shows it."""
    for counts in report.sources:
        _LOGGER.info(
            "%s: rows: %d, %d of them quarantined; judgements: %d = %d stored + %d duplicates",
            counts.source,
            counts.num_rows,
            counts.num_quarantined,
            counts.num_judgements,
            counts.num_stored,
            counts.num_duplicates,
        )
        if counts.left_out:
            _LOGGER.warning("%s: columns that no part is made of: %s", counts.source, counts.left_out)
    for reason in report.refused if config.on_bad_source == "skip" else ():  # else it is the error
        _LOGGER.warning("refused: %s", reason)


def checked(report: store.IngestReport, config: IngestConfig) -> store.IngestReport:
    """The report, unless a source was refused and the recipe does not say to go on without it.

    Raises
    ------
    DataError
        With all reasons.
    """
    if report.refused and config.on_bad_source == "stop":
        raise DataError("; ".join(report.refused))
    return report

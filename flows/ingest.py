"""Read annotations into the table."""

from __future__ import annotations

from prefect.events import emit_event

from flows.runs import flow
from rm.data.config import IngestConfig
from rm.data.manifests import SampleManifest
from rm.data.store import IngestReport
from rm.pipeline.config import PipelineConfig
from tasks import data, environment
from tasks.reading import checked

STORED_EVENT = "rmflow.annotations.stored"


@flow("ingest")
def ingest(config: PipelineConfig) -> IngestReport:
    """Read the configured sources; if annotations were stored, emit an event, with which a trigger can retrain."""
    return checked(_announced(data.ingest(config.ingest, _sample(config), config.compute)), config.ingest)


@flow("ingest")
def ingest_sources(config: IngestConfig) -> IngestReport:
    """The same without a recipe."""
    return checked(_announced(data.ingest(config)), config)


def _announced(report: IngestReport) -> IngestReport:
    # Triggers need a server. Without one, the event would start a temporary server and be lost with it.
    if report.num_stored and environment.prefect_server():
        emit_event(
            STORED_EVENT,
            resource={"prefect.resource.id": f"rmflow.annotations.{report.table.path.parent.name}"},
            payload={"num_stored": report.num_stored, "table_version": report.table.version},
        )
    return report


def ingest_stages(config: PipelineConfig) -> IngestReport:
    """The tasks from the sources, or from made-up annotations, to the table."""
    return checked(data.ingest(config.ingest, _sample(config), config.compute), config.ingest)


def _sample(config: PipelineConfig) -> SampleManifest | None:
    return data.write_sample(config.sample) if config.sample else None

"""Read annotations into the table."""

from __future__ import annotations

from prefect import flow
from prefect.events import emit_event

from rm.data.config import IngestConfig
from rm.data.manifests import SampleManifest
from rm.data.store import IngestReport
from rm.pipeline.config import PipelineConfig
from tasks import data, environment

STORED_EVENT = "rmflow.annotations.stored"


@flow(name="ingest")
def ingest(config: PipelineConfig) -> IngestReport:
    """Read the configured sources; if annotations were stored, emit an event, with which a trigger can retrain."""
    report = data.ingest(ingest_config(config))
    # Triggers need a server. Without one, the event would start a temporary server and be lost with it.
    if report.num_stored and environment.has_prefect_server():
        emit_event(
            STORED_EVENT,
            resource={"prefect.resource.id": f"rmflow.annotations.{report.table.path.parent.name}"},
            payload={"num_stored": report.num_stored, "table_version": report.table.version},
        )
    return report


def ingest_config(config: PipelineConfig) -> IngestConfig:
    """What to ingest; made-up annotations go to a separate table for each sample, so that they are never mixed."""
    if config.sample is None:
        return config.ingest
    sample = data.write_sample(config.sample)
    files = {"sources": (str(sample.path / SampleManifest.JUDGEMENTS_NAME),), "table": f"sample-{sample.digest[:12]}"}
    return config.ingest.model_copy(update=files)

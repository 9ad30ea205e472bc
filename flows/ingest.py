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
    """Read the configured sources, and say so if annotations were stored: a trigger starts a retraining."""
    report = data.ingest(ingest_config(config))
    # Triggers live on a server. Without one an event would start a server for itself and be lost with it.
    if report.num_stored and environment.has_prefect_server():
        emit_event(
            STORED_EVENT,
            resource={"prefect.resource.id": f"rmflow.annotations.{report.table.path.parent.name}"},
            payload={"num_stored": report.num_stored, "table_version": report.table.version},
        )
    return report


def ingest_config(config: PipelineConfig) -> IngestConfig:
    """What to ingest; made-up annotations go to a table of their own, one for each sample, and never mix."""
    if config.sample is None:
        return config.ingest
    sample = data.write_sample(config.sample)
    files = {"sources": (str(sample.path / SampleManifest.JUDGEMENTS_NAME),), "table": f"sample-{sample.digest[:12]}"}
    return config.ingest.model_copy(update=files)

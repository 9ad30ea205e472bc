"""From annotation files to token ids."""

from __future__ import annotations

from pathlib import Path

from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact

from rm.data import annotation_table, quarantine, sample, snapshots, store
from rm.data.config import IngestConfig, SampleConfig, SnapshotConfig
from rm.data.manifests import DatasetManifest, SampleManifest
from rm.engine import choice, engines
from rm.errors import DownloadError
from rm.files import replace_text
from rm.model import base_models
from rm.model.base_models import BaseModelRef
from rm.model.config import ComputeConfig, ModelConfig
from rm.tokens import tokenization
from rm.tokens.config import TokenizeConfig
from rm.tokens.manifests import TokenizedManifest
from tasks import environment, progress
from tasks.stages import stage


@stage(sample)
def write_sample(config: SampleConfig, *, folder: Path) -> SampleManifest:
    """Write made-up annotations whose true quality is known."""
    return sample.write(config, folder)


@task
def ingest(
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
    for counts in report.sources:
        get_run_logger().info(
            "%s: rows: %d, %d of them quarantined; judgements: %d = %d stored + %d duplicates",
            counts.source,
            counts.num_rows,
            counts.num_quarantined,
            counts.num_judgements,
            counts.num_stored,
            counts.num_duplicates,
        )
        if counts.left_out:
            get_run_logger().warning("%s: columns that no part is made of: %s", counts.source, counts.left_out)
    for reason in report.refused if config.on_bad_source == "skip" else ():  # else the flow says so
        get_run_logger().warning("refused: %s", reason)
    if report.sources:
        create_table_artifact(key="ingest", table=[counts.model_dump() for counts in report.sources])
        name = report.ingested_at.replace(":", "-")
        replace_text(folder / "ingests" / f"{name}.json", report.model_dump_json(indent=2) + "\n")
    return report


def _is_network_error(task_: object, task_run: object, state: object) -> bool:
    """Retry only if the hub did not answer: a wrong name or file stays wrong."""
    return isinstance(state.result(raise_on_failure=False), DownloadError)  # type: ignore[attr-defined]


@task(retries=3, retry_delay_seconds=[2, 10, 60], retry_condition_fn=_is_network_error)
def find_base_model(config: ModelConfig) -> BaseModelRef:
    """Find the base model; download it if it is on the hub."""
    return base_models.resolve(config)


@stage(snapshots)
def snapshot(table: annotation_table.TableVersion, config: SnapshotConfig, *, folder: Path) -> DatasetManifest:
    """Merge the annotations into one row per prompt and split the prompts."""
    dataset = snapshots.snapshot(table, config, folder)
    get_run_logger().info(
        "%d prompts, pairs %s; %d judgements = %d used + %d retracted",
        dataset.num_rows,
        dataset.num_pairs,
        table.num_stored,
        table.num_judgements,
        table.num_retracted,
    )
    return dataset


@stage(tokenization)
def tokenize(
    dataset: DatasetManifest, base: BaseModelRef, config: TokenizeConfig, compute: ComputeConfig, *, folder: Path
) -> TokenizedManifest:
    """Tokenize each prompt and each response once."""
    with progress.items("tokenize", "prompt") as advance:
        tokenized = tokenization.tokenize(
            dataset, base, config, folder, advance, choice.chosen(compute.engine, compute.num_workers)
        )
    for reason, lengths in tokenized.overlong.items():
        get_run_logger().warning("%s: %s", reason, lengths)
    if reasons := tokenization.read_refused(tokenized):
        table = annotation_table.TableVersion(
            path=dataset.inputs[0].path,
            digest=dataset.inputs[0].digest,
            version=dataset.table_version,
            num_judgements=dataset.num_judgements,
            num_retracted=dataset.num_retracted,
            retractions=dataset.retractions,
        )
        rows = quarantine.add_prompts(table, reasons)
        get_run_logger().warning("%d rows are now in quarantine, the first of them %s", len(rows), rows[0])
    return tokenized

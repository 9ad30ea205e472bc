"""From annotation files to token ids."""

from __future__ import annotations

from pathlib import Path

from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact

from rm.data import annotation_table, quarantine, sample, snapshots, store
from rm.data.config import IngestConfig, SampleConfig, SnapshotConfig
from rm.data.manifests import DatasetManifest, SampleManifest
from rm.engine import choice
from rm.errors import DownloadError, ManifestError
from rm.locations import Location
from rm.manifests import MANIFEST_NAME, is_whole
from rm.model.base_files import BaseModelRef
from rm.model.config import ComputeConfig, ModelConfig
from rm.tokens.config import TokenizeConfig
from rm.tokens.manifests import TokenizedManifest
from tasks import base_models, environment, progress, reading
from tasks.stages import stage


@stage("rm.data.sample")
def write_sample(config: SampleConfig, *, folder: Path) -> SampleManifest:
    """Write made-up annotations whose true quality is known."""
    return sample.write(config, folder)


@task
def ingest(
    config: IngestConfig, made_up: SampleManifest | None = None, compute: ComputeConfig | None = None
) -> store.IngestReport:
    """Read annotations into the table, and show the counts of each source in Prefect."""
    report = reading.read_in(config, made_up, compute)
    reading.log(report, config)
    if report.sources:
        table = [counts.model_dump() for counts in report.sources]
        create_table_artifact(key="ingest", table=table, description="Rows that were read, by source")
    return report


def _is_network_error(task_: object, task_run: object, state: object) -> bool:
    """Retry only if the hub did not answer: a wrong name or file stays wrong."""
    return isinstance(state.result(raise_on_failure=False), DownloadError)  # type: ignore[attr-defined]


@task(retries=3, retry_delay_seconds=[2, 10, 60], retry_condition_fn=_is_network_error)
def find_base_model(config: ModelConfig) -> BaseModelRef:
    """Find the base model; download it if it is on the hub."""
    return base_models.find(config)


@stage("rm.data.snapshots")
def snapshot(table: annotation_table.TableVersion, config: SnapshotConfig, *, folder: Path) -> DatasetManifest:
    """Merge the annotations into one row per prompt and split the prompts."""
    dataset = snapshots.snapshot(table, config, folder)
    get_run_logger().info(
        "%d prompts, pairs %s; %d judgements = %d used + %d retracted%s",
        dataset.num_rows,
        dataset.num_pairs,
        table.num_stored,
        dataset.num_judgements,
        table.num_retracted,
        f" + {dataset.num_excluded} left out by snapshot.exclude" if dataset.num_excluded else "",
    )
    if config.exclude is not None and (num_unknown := snapshots.num_unknown(table, dataset)):
        get_run_logger().warning("%s: ids that are not in %s: %d", config.exclude, table.path, num_unknown)
    return dataset


def table_of(dataset: DatasetManifest) -> annotation_table.TableVersion:
    """The annotations that a snapshot was made from."""
    return annotation_table.TableVersion(
        path=dataset.inputs[0].path,
        digest=dataset.inputs[0].digest,
        version=dataset.table_version,
        num_judgements=dataset.num_judgements,
        num_retracted=dataset.num_retracted,
        retractions=dataset.retractions,
    )


def previous_snapshot(dataset: DatasetManifest, place: Location | None = None) -> DatasetManifest | None:
    """The newest snapshot before this one of the same table, settings and judgements left out; None without one.

    Snapshots are found by their manifests, so that nothing has to be noted: one that was removed since is none.

    Parameters
    ----------
    dataset : DatasetManifest
    place : Path or Url, optional
        The table that the annotations of the snapshot are a copy of, with more added: all of its snapshots are older.
    """
    found: dict[tuple[int, int, str], DatasetManifest] = {}
    for file in (environment.home() / "stages" / "snapshot").glob(f"*/{MANIFEST_NAME}"):
        try:
            other = DatasetManifest.read(file.parent)
        except ManifestError:
            continue
        same = other.inputs[0].path == (place or dataset.inputs[0].path)
        same &= other.config_digest == dataset.config_digest and other.digest != dataset.digest
        # The settings name a list of what is left out, whose ids may have changed.
        same &= other.files.get(DatasetManifest.EXCLUDED_NAME) == dataset.files.get(DatasetManifest.EXCLUDED_NAME)
        if same and (place is not None or _age(other) < _age(dataset)):
            found[*_age(other), other.path.name] = other
    newest = (found[age] for age in sorted(found, reverse=True))
    return next((other for other in newest if is_whole(other.path, DatasetManifest)), None)


def _age(dataset: DatasetManifest) -> tuple[int, int]:
    return dataset.table_version, -1 if dataset.retractions is None else dataset.retractions


@stage("rm.tokens.tokenization")
def tokenize(
    dataset: DatasetManifest, base: BaseModelRef, config: TokenizeConfig, compute: ComputeConfig, *, folder: Path
) -> TokenizedManifest:
    """Tokenize each prompt and each response once."""
    from rm.tokens import tokenization

    with progress.items("tokenize", "prompt") as advance:
        tokenized = tokenization.tokenize(
            dataset, base, config, folder, advance, choice.chosen(compute.engine, compute.num_workers)
        )
    for reason, lengths in tokenized.overlong.items():
        get_run_logger().warning("%s: %s", reason, lengths)
    if reasons := tokenization.read_refused(tokenized):
        rows = quarantine.add_prompts(table_of(dataset), reasons)
        get_run_logger().warning("%d rows are now in quarantine, the first of them %s", len(rows), rows[0])
    return tokenized

"""What rmflow has logged to MLflow and nothing needs: models of no version, and artifacts of runs that were deleted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mlflow.entities import LoggedModel, Run, ViewType
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from tasks import registry, tracking
from tasks.leftovers import Leftover

_DAY_MS = 86_400_000.0
_ANOTHER_MACHINE_DAYS = 1 / 24
"""At a server, what is younger may be a version that another machine is about to register."""


class _Orphan(NamedTuple):
    name: str
    place: ArtifactRepository
    model_id: str | None
    """Of a model, whose entry is deleted too."""


def remove(client: MlflowClient, known: Sequence[ModelVersion], days: float, *, dry_run: bool) -> list[Leftover]:
    """Remove what was logged, or ended, some days ago.

    Parameters
    ----------
    client : MlflowClient
    known : sequence of ModelVersion
        Every version; what one of them needs stays.
    days : float
    dry_run : bool
        Whether to only say what would be removed.
    """
    if not tracking.is_local():
        days = max(days, _ANOTHER_MACHINE_DAYS)
    before_ms = time.time() * 1000 - days * _DAY_MS
    found = []
    for orphan in [*_models(client, known, before_ms), *_deleted_runs(client, known, before_ms)]:
        size = _size(orphan.place)
        if not size and not orphan.model_id:
            continue  # its artifacts went before
        found.append(Leftover(orphan.name, size))
        if not dry_run:
            orphan.place.delete_artifacts()
            if orphan.model_id:
                client.delete_logged_model(orphan.model_id)
    return found


def _models(client: MlflowClient, known: Sequence[ModelVersion], before_ms: float) -> Iterator[_Orphan]:
    """Models of a registration that was broken off, or of a version that was deleted."""
    sources = [
        place
        for version in known
        for place in (version.source, client.get_model_version_download_uri(version.name, version.version))
    ]
    for model in _logged_models(client):
        is_needed = any(model.model_id in place for place in sources if place)
        if not is_needed and model.last_updated_timestamp <= before_ms and _is_ours(client, model):
            yield _Orphan(
                f"model {model.model_id} of no version in MLflow",
                get_artifact_repository(model.artifact_location),
                model.model_id,
            )


def _logged_models(client: MlflowClient) -> Iterator[LoggedModel]:
    for experiment in client.search_experiments(view_type=ViewType.ALL):
        token = None
        while True:
            page = client.search_logged_models([experiment.experiment_id], page_token=token)
            yield from page
            if not (token := page.token):
                break


def _is_ours(client: MlflowClient, model: LoggedModel) -> bool:
    try:
        run = client.get_run(str(model.source_run_id))
    except MlflowException:
        return False
    return model.name == registry.MODEL_NAME and tracking.KEY_TAG in run.data.tags


def _deleted_runs(client: MlflowClient, known: Sequence[ModelVersion], before_ms: float) -> Iterator[_Orphan]:
    """Runs of trainings that a person has deleted in MLflow, but for those with the report of a version."""
    reported = {version.run_id for version in known}
    for run in _runs(client):
        if run.info.run_id not in reported and (run.info.end_time or run.info.start_time) <= before_ms:
            place = get_artifact_repository(run.info.artifact_uri)
            yield _Orphan(f"artifacts of the deleted run {run.info.run_id} in MLflow", place, None)


def _runs(client: MlflowClient) -> Iterator[Run]:
    experiments = [each.experiment_id for each in client.search_experiments(view_type=ViewType.ALL)]
    token = None
    while True:
        page = client.search_runs(experiments, run_view_type=ViewType.DELETED_ONLY, page_token=token, filter_string="")
        yield from (run for run in page if tracking.KEY_TAG in run.data.tags)
        if not (token := page.token):
            break


def _size(place: ArtifactRepository, folder: str | None = None) -> int:
    found = place.list_artifacts(folder) or []
    return sum(_size(place, each.path) if each.is_dir else each.file_size or 0 for each in found)

"""Stages: tasks that run once for the same content.

A stage's key is the digest of the content of its inputs, of its configuration and of the code that its module of `rm`
imports, directly or through others. Its files are in a folder named after the key, and Prefect's cache holds the
manifest under the same key, so that a reused stage is shown as Cached; a folder with another manifest is not believed.
With ``RMFLOW_STAGES``, a stage that this machine lacks is taken from there if another one has finished it, and what
this machine finishes is copied there.
"""

from __future__ import annotations

import functools
import inspect
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from prefect import Task, task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.context import TaskRunContext
from prefect.results import get_result_store
from pydantic import BaseModel

import rm
from rm import copies
from rm.audit.config import AuditConfig
from rm.audit.records import training
from rm.data import id_lists
from rm.data.annotation_table import TableVersion
from rm.data.config import SnapshotConfig
from rm.errors import ConfigError, ManifestError, writing
from rm.features import own
from rm.files import sha256_file, sha256_json
from rm.imports import code_digest
from rm.labels.config import LabelsConfig
from rm.locations import Url
from rm.manifests import MANIFEST_NAME, Manifest, is_whole, names_in
from rm.model.base_files import BaseModelRef
from rm.model.config import ComputeConfig
from rm.model.manifests import CheckpointManifest
from rm.score.manifests import ChampionManifest, ChampionRef
from tasks import environment
from tasks.locks import alone, lock_of, using

M = TypeVar("M", bound=Manifest)
_LOGGER = logging.getLogger(f"rm.{__name__}")  # whose messages Prefect shows with their run
_ROOT = Path(rm.__file__).parents[1]
ENTRIES: dict[str, str] = {}
"""Name of each stage to the module that does its work."""


def content_key(stage_name: str, module: str, inputs: dict[str, Any]) -> str:
    """Digest of a stage's name, the content of its inputs and its code; it does not depend on the inputs' paths.

    Parameters
    ----------
    stage_name : str
    module : str
        The module of `rm` that does the work, such as ``rm.tokens.tokenization``.
    inputs : dict
        Name of a parameter to its value.
    """
    parts = {name: _content(value) for name, value in inputs.items()}
    return sha256_json([stage_name, code_digest(module, _ROOT), parts])[:24]


def _content(value: Any) -> Any:
    if isinstance(value, ChampionRef | ChampionManifest):
        return [value.digest, value.name]  # which stands in the report
    if isinstance(value, CheckpointManifest):
        return [value.digest, training(value)]  # which stands in the report, and no file of the model has it
    if isinstance(value, Manifest | TableVersion):
        return value.digest
    if isinstance(value, BaseModelRef):
        # The path of the weights does not matter; the weights and the pooling do.
        return [value.digest, value.config.model_dump(mode="json", exclude={"path", "hub", "revision"})]
    if isinstance(value, ComputeConfig):
        return None  # an unfinished run may continue with other processes, and a finished one stays valid
    return _settings(value) if isinstance(value, BaseModel) else value


def _settings(value: BaseModel) -> Any:
    """The values of a section, and the digests of files that it names: they may change under their names."""
    if isinstance(value, AuditConfig):
        return [value.model_dump(mode="json"), own.digests(value.features)]
    if isinstance(value, SnapshotConfig):
        excluded = None if value.exclude is None else sorted(id_lists.read(value.exclude))
        return [value.model_dump(mode="json", exclude={"exclude"}), excluded]
    if isinstance(value, LabelsConfig):
        return [value.model_dump(mode="json", exclude={"benchmarks"}), _benchmarks(value)]
    return value.model_dump(mode="json")


def _benchmarks(config: LabelsConfig) -> dict[str, str]:
    """Name of each benchmark to the digest of its file."""
    for name, file in config.benchmarks.items():
        if not Path(file).is_file():
            raise ConfigError(f"labels.benchmarks.{name}: expected a file with the benchmark's prompts, got {file}")
    return {name: sha256_file(Path(file)) for name, file in config.benchmarks.items()}


class _Used:
    """The stages that something uses, with their locks."""

    def __init__(self, locks: ExitStack) -> None:
        self._locks = locks
        self._folders: set[Path] = set()

    def add(self, folder: Path) -> None:
        """Add a stage of this home; a folder elsewhere is not ours to clean."""
        if folder not in self._folders and folder.is_relative_to(environment.home() / "stages"):
            with writing(folder):
                self._locks.enter_context(using(lock_of(folder)))
            self._folders.add(folder)


_USED: ContextVar[_Used | None] = ContextVar("_USED", default=None)


@contextmanager
def kept() -> Iterator[_Used]:
    """Until the outermost of these ends, no cleaning takes a stage that is read or written within it."""
    if (used := _USED.get()) is not None:
        yield used
        return
    with ExitStack() as locks:
        token = _USED.set(used := _Used(locks))
        try:
            yield used
        finally:
            _USED.reset(token)


def stage(entry: str) -> Callable[[Callable[..., M]], Callable[..., M]]:
    """Turn a function that fills a folder and returns its manifest into a task.

    The function takes its inputs and the keyword ``folder``; callers leave ``folder`` out. A result whose files are
    gone or changed, or whose manifest is not the one that Prefect stored, is not used: the stage runs again. Files that
    the manifest does not list are moved to a hidden folder beside.

    Parameters
    ----------
    entry : str
        The module of `rm` that does the work. The stage runs again after a change of this module or of anything that
        it imports. The function imports it itself: a run whose stages are all done never does.
    """
    return functools.partial(_as_stage, entry)


def _as_stage(module: str, function: Callable[..., M]) -> Callable[..., M]:
    name = function.__name__
    kind: type[M] = get_type_hints(function)["return"]
    parameters = [key for key in inspect.signature(function).parameters if key != "folder"]

    def prefect_key(_: TaskRunContext, given: dict[str, Any]) -> str:
        inputs = {key: value for key, value in given.items() if key != "folder"}
        return f"{name}-{content_key(name, module, inputs)}"

    @functools.wraps(function)
    def once(*inputs: Any, folder: Path) -> M:
        with writing(folder), _alone_in(folder):
            folder.mkdir(parents=True, exist_ok=True)
            # Finished by a parallel run, or by a run that died before Prefect stored its result.
            if is_whole(folder, kind):
                return kind.read(folder)
            _clear(folder)
            return function(*inputs, folder=folder)

    once.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]  # Prefect shows the real names
    policy = CacheKeyFnPolicy(cache_key_fn=prefect_key)
    prefect_task = task(name=name, cache_policy=policy, persist_result=True, result_serializer="json")(once)

    @functools.wraps(function)
    def run(*inputs: Any) -> M:
        key = content_key(name, module, dict(zip(parameters, inputs, strict=True)))
        folder = environment.home() / "stages" / name / key
        with kept() as used:
            for each in (folder, *(value.path for value in inputs if isinstance(value, Manifest))):
                used.add(each)
            return reused_or_done(key, folder, inputs)

    def reused_or_done(key: str, folder: Path, inputs: Sequence[Any]) -> M:
        stored = _stored(prefect_task, f"{name}-{key}")
        _move_unlisted(folder, kind)
        has_folder = is_whole(folder, kind) and _is_as_stored(folder, stored)
        elsewhere = environment.copies_of_stages()
        if elsewhere is not None and not has_folder:
            _take(elsewhere / name / key, folder, kind, stored)
            has_folder = is_whole(folder, kind) and _is_as_stored(folder, stored)
        manifest: M = prefect_task.with_options(refresh_cache=not has_folder)(*inputs, folder=folder)
        manifest = manifest.model_copy(update={"path": folder})  # the cached path is out of date if the home was moved
        if elsewhere is not None and copies.upload(manifest, elsewhere / name / key):
            _LOGGER.info("%s: copied to %s", name, elsewhere / name / key)
        return manifest

    ENTRIES[name] = module
    return run


def _alone_in(folder: Path) -> AbstractContextManager[None]:
    """Wait until no other run fills this folder."""
    return alone(folder.with_name(f".{folder.name}.lock"))


def _clear(folder: Path) -> None:
    """Remove what an unfinished or changed stage left, so that no file of it is in the next manifest."""
    shutil.rmtree(folder)
    folder.mkdir()


def _move_unlisted(folder: Path, kind: type[Manifest]) -> None:
    """Move files that somebody put into a folder beside it: they are neither lost nor taken for the stage's own."""
    if not _unlisted(folder, kind):
        return  # without waiting for a run that fills the folder
    aside = folder.with_name(f".{folder.name}.aside")
    with _alone_in(folder):
        for name in (names := _unlisted(folder, kind)):
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).replace(aside / name)
    if names:
        _LOGGER.warning("%s: %s: no files of this stage, moved to %s", folder, ", ".join(names), aside)


def _unlisted(folder: Path, kind: type[Manifest]) -> list[str]:
    """Files beside those of a finished stage; an unfinished one is cleared before it runs."""
    try:
        listed = kind.read(folder).files
    except ManifestError:
        return []
    return sorted(names_in(folder) - listed.keys() - {MANIFEST_NAME})


def _stored(prefect_task: Task[..., M], key: str) -> M | None:
    """The manifest in Prefect's cache; None if there is none."""
    store: Any = get_result_store().update_for_task(prefect_task, _sync=True)  # type: ignore[call-arg]
    return store.read(key).result if store.exists(key) else None


def _is_as_stored(folder: Path, stored: Manifest | None) -> bool:
    """Whether a folder is the one that Prefect stored the manifest of; if not, it loses its manifest."""
    if stored is None or type(stored).read(folder).is_same(stored):
        return True
    with _alone_in(folder):
        (folder / MANIFEST_NAME).unlink(missing_ok=True)
    _LOGGER.warning("%s: not the result that Prefect stored, so the stage runs again", folder)
    return False


def _take(place: Url, folder: Path, kind: type[Manifest], stored: Manifest | None) -> None:
    """Fill a folder from a copy, if there is one, unless a parallel run has filled it meanwhile."""
    with _alone_in(folder):
        if not is_whole(folder, kind) and copies.fetch(place, folder, kind, None if stored is None else stored.digest):
            _LOGGER.info("%s: taken from %s", folder.parent.name, place)

"""A look at a recipe without a flow: all that is made for it goes into a temporary folder, so that nothing changes."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from rm.data import annotation_table, sample, sources, store
from rm.data.annotation_table import TableVersion
from rm.data.config import IngestConfig
from rm.data.manifests import DatasetManifest
from rm.errors import DataError, RmflowError
from rm.files import num_bytes, size_text, work_folder
from rm.locations import is_url
from rm.model.base_files import BaseModelRef
from rm.pipeline import preflight
from rm.pipeline.config import PipelineConfig
from rm.pipeline.preflight import Level, Preflight, Remark
from rm.tokens.counts import read_survey
from rm.tokens.manifests import SurveyManifest
from tasks import base_models, environment, prefect_server, processors

_MOST_BYTES = 64 << 20
"""Of a table on this machine and its sources: if they are larger, sources that were not read yet are not counted."""


def examined(surveyed: SurveyManifest, config: PipelineConfig, pairs_per_s: float | None = None) -> Preflight:
    """What can be said of a recipe, with the disk and the processors of this machine."""
    found = preflight.examine(read_survey(surveyed), config, shutil.disk_usage(environment.home()).free, pairs_per_s)
    torch = sys.modules.get("torch")  # not imported for this: where all stages are done, nothing needs its seconds
    remarks = thread_remarks(torch.get_num_threads(), processors.allowed()) if torch else ()
    return found.model_copy(update={"remarks": (*found.remarks, *remarks)})


def thread_remarks(num_threads: int, allowed: float | None) -> tuple[Remark, ...]:
    """What is to be said if torch has more threads than this process may use processors."""
    if allowed is None or num_threads <= max(1, allowed):
        return ()
    text = (
        f"torch has {num_threads} threads, but a container or an affinity lets this process use {allowed:g} processors "
        f"at a time; OMP_NUM_THREADS={max(1, int(allowed))} in the environment sets their number"
    )
    return (Remark(about="threads", level="warning", text=text),)


def look(config: PipelineConfig) -> Preflight:
    """Everything that `rmflow check` says of a recipe; what cannot be looked at is a remark too."""
    remarks = [*_attempt("folder", _folder), *_attempt("servers", _servers)]
    if any(remark.about == "folder" and remark.level == "error" for remark in remarks):
        return Preflight(remarks=tuple(remarks))
    with work_folder(".check", environment.home()) as temporary:
        try:
            found, counted = _examined_in(temporary, config)
        except RmflowError as error:
            found, counted = Preflight(), Remark(about="data", level="error", text=str(error))
    return Preflight(rows=found.rows, remarks=(*remarks, counted, *found.remarks))


def _attempt(about: str, look_at: Callable[[], str]) -> list[Remark]:
    level: Level = "fine"
    try:
        text = look_at()
    except RmflowError as error:
        level, text = "error", str(error)
    return [Remark(about=about, level=level, text=text)] if text else []


def _folder() -> str:
    environment.make_home()
    return f"{environment.home()} can be written to"


def _servers() -> str:
    answering = prefect_server.probe_configured()
    return ", ".join(f"{tool} at {address} answers" for tool, address in answering.items()) or "none is configured"


def _examined_in(folder: Path, config: PipelineConfig) -> tuple[Preflight, Remark]:
    # Here, since torch takes seconds to load and most mistakes are told without it.
    from rm.data import snapshots
    from rm.tokens import survey
    from rm.train import precision

    config = config.model_copy(update={"train": precision.settled(config.train)})
    table, counted = found_by(folder / "table", config)
    base = base_models.find(config.model)
    (folder / "dataset").mkdir()
    dataset = snapshots.snapshot(table, config.snapshot, folder / "dataset")
    surveyed = survey.survey(dataset, base, config.tokenize, folder / "survey")
    found = examined(surveyed, config)
    if found.stops:
        return found, counted
    try:
        rate = _rate(dataset, base, surveyed, config, folder)
    except (RmflowError, RuntimeError, MemoryError) as error:  # torch's own errors are RuntimeErrors
        reason = str(error).partition("\n")[0]
        level: Level = "error" if isinstance(error, RmflowError) else "warning"  # another machine may have the memory
        told = Remark(about="training", level=level, text=f"a step could not be taken on this machine: {reason}")
        return found.model_copy(update={"remarks": (*found.remarks, told)}), counted
    return examined(surveyed, config, rate), counted


def _rate(
    dataset: DatasetManifest, base: BaseModelRef, surveyed: SurveyManifest, config: PipelineConfig, folder: Path
) -> float | None:
    """Pairs per second of training; None if it would not fit into this machine's memory."""
    import torch

    from rm.train import rate

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if not torch.cuda.is_available() and preflight.memory_bytes(read_survey(surveyed), config) > memory / 2:
        return None
    return rate.pairs_per_s(dataset, base, config.tokenize, config.train, config.compute, folder / "rate")


def found_by(folder: Path, config: PipelineConfig) -> tuple[TableVersion, Remark]:
    """The annotations as a run would find them, if that is cheap, and what they are; a folder gets what is made."""
    if config.sample is not None:
        made_up = sample.write(config.sample, folder)
        read = store.append(sample.as_only_source(made_up, config.ingest).sources, folder, config.ingest)
        return read.table, Remark(about="data", level="fine", text="made-up annotations, as `sample` says")
    place = environment.annotations_at(config.ingest.table)
    files = [file for name in config.ingest.sources for file in sources.expanded(name)]
    if files and isinstance(place, Path) and _are_small(place, files):
        return _with_sources(place, folder, config.ingest)
    table = annotation_table.current(place)
    unread = sorted(set(files) - set(annotation_table.source_digests(table)))
    not_counted = (
        f"; {len(unread)} sources that were not read yet are not counted, such as {unread[0]}" if unread else ""
    )
    text = f"the table as it is: {table.num_judgements:,} judgements{not_counted}"
    return table, Remark(about="data", level="warning" if unread else "fine", text=text)


def _are_small(place: Path, files: list[str]) -> bool:
    if any(is_url(file) or file.startswith(sources.HUB_PREFIX) for file in files):
        return False
    return num_bytes(place) + sum(num_bytes(Path(file)) for file in files) <= _MOST_BYTES


def _with_sources(place: Path, folder: Path, config: IngestConfig) -> tuple[TableVersion, Remark]:
    """A copy of the table with its sources added."""
    if place.exists():
        shutil.copytree(place, folder)
    read = store.append(config.sources, folder, config)
    if read.refused and config.on_bad_source == "stop":
        raise DataError("; ".join(read.refused))
    text = f"the table with its sources ({size_text(num_bytes(folder))}): {read.table.num_judgements:,} judgements"
    more = f", {read.num_stored:,} of them not read before" if read.num_stored else ""
    return read.table, Remark(about="data", level="fine", text=text + more)

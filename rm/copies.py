"""Copies of finished stages below a URL, from which another machine takes them.

The copies of a stage lie in one place, each below its digest: two machines that finish the same stage at once, with
other weights, write no file of one another. A copy gets its manifest last; without one it is unfinished. Each use of a
copy writes its manifest again, so that its age says how long nobody has used it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, TypeVar

from pyarrow import fs
from pydantic import ValidationError

from rm import storage
from rm.errors import ManifestError, StorageError, writing
from rm.files import replace_text, sha256_json
from rm.locations import Location, Url
from rm.manifests import MANIFEST_NAME, InputRef, Manifest

M = TypeVar("M", bound=Manifest)
_LOGGER = logging.getLogger(__name__)
_BLOCK = 1 << 23
_RENEWED_AFTER_S = 3600.0
_NAME = re.compile(r"(?P<copy>[^/]+/[0-9a-f]{24}/(?P<digest>[0-9a-f]{64}))/.+")
"""Of a file of a copy: stage, key and digest come first."""


class Copy(NamedTuple):
    """A copy as it lies in storage, finished or not."""

    url: Url
    """Its name is the digest of the stage."""
    size: int
    """Bytes."""
    used_s: float
    """When it was last used or written to, in seconds since 1970."""
    inputs: frozenset[str] | None
    """Digests of what the stage was made from; None if the copy is not finished."""


def upload(manifest: Manifest, place: Url) -> bool:
    """Copy a finished stage, unless it is there already; then it counts as used now.

    Parameters
    ----------
    manifest : Manifest
        Of the stage's folder.
    place : Url
        Of the stage's copies.

    Returns
    -------
    bool
        Whether anything was copied.

    Raises
    ------
    ManifestError
        If a file is no longer what the manifest says.
    StorageError
        If the URL cannot be written to.
    """
    copy = place / manifest.digest
    with storage.explained(copy):
        files = storage.connected(copy)
        there = files.get_file_info((copy / MANIFEST_NAME).path)
        if there.type == fs.FileType.File:
            if time.time() - _changed_s(there) > _RENEWED_AFTER_S:
                with suppress(OSError):  # who may only read copies has no say in how long they stay
                    _write_manifest(files, manifest, copy)
            return False
        for name, digest in manifest.files.items():
            with (manifest.path / name).open("rb") as source, _created(files, copy / name) as target:
                found = _copy(source, target)
            if found != digest:
                raise ManifestError(f"{manifest.path / name}: changed since its manifest was written")
        _write_manifest(files, manifest, copy)
    return True


def _write_manifest(files: fs.FileSystem, manifest: Manifest, copy: Url) -> None:
    with _created(files, copy / MANIFEST_NAME) as target:
        target.write((manifest.path / MANIFEST_NAME).read_bytes())


def _changed_s(info: fs.FileInfo) -> float:
    return float(info.mtime_ns or 0) / 1e9


def _created(files: fs.FileSystem, url: Url) -> BinaryIO:
    stream: BinaryIO = files.open_output_stream(url.path, compression=None)  # which otherwise goes by the name
    return stream


def _copy(source: BinaryIO, target: BinaryIO) -> str:
    """Copy all bytes; return their SHA-256."""
    digest = hashlib.sha256()
    while block := source.read(_BLOCK):
        digest.update(block)
        target.write(block)
    return digest.hexdigest()


def fetch(place: Url, folder: Path, kind: type[M], digest: str | None = None) -> bool:
    """Put a copy of a finished stage into a folder; it appears there whole or not at all.

    Parameters
    ----------
    place : Url
        Of the stage's copies.
    folder : Path
        Replaced, with what an unfinished stage may have left there.
    kind : type of Manifest
    digest : str, optional
        Of the result, where it is known. Default: any copy is good.

    Returns
    -------
    bool
        Whether there was a copy whose files are those of its manifest. One whose files are not loses its manifest, so
        that the stage is copied again.

    Raises
    ------
    StorageError
        If the URL cannot be read.
    """
    with storage.explained(place):
        files = storage.connected(place)
        copies = files.get_file_info(fs.FileSelector(place.path, allow_not_found=True))
        if not copies and not storage.has_bucket(place):  # said here, and not after the stage was done for nothing
            raise FileNotFoundError
        digests = sorted(copy.base_name for copy in copies if copy.type == fs.FileType.Directory)
        good = (found for found in digests if digest in (None, found))
        return any(_fetch(files, place / found, folder, kind) for found in good)


def _fetch(files: fs.FileSystem, copy: Url, folder: Path, kind: type[M]) -> bool:
    try:
        with files.open_input_stream((copy / MANIFEST_NAME).path, compression=None) as stream:
            manifest = kind.model_validate_json(stream.read())
    except FileNotFoundError:
        return False  # unfinished
    except ValidationError:
        _LOGGER.warning("%s: not a manifest of this version of rmflow", copy)
        return False
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
    try:
        with writing(folder):
            _fill(partial, files, copy, manifest)
    except StorageError:  # such as a full disk, of which the copy knows nothing
        shutil.rmtree(partial, ignore_errors=True)
        raise
    except (ManifestError, FileNotFoundError) as problem:
        shutil.rmtree(partial)
        with suppress(FileNotFoundError):  # another machine has removed the copy
            files.delete_file((copy / MANIFEST_NAME).path)
        _LOGGER.warning("%s: not used: %s", copy, problem)
        return False
    here = manifest.model_copy(update={"path": folder, "inputs": tuple(_inputs_here(manifest, folder))})
    replace_text(partial / MANIFEST_NAME, here.model_dump_json(indent=2) + "\n")
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    return True


def _fill(partial: Path, files: fs.FileSystem, copy: Url, manifest: Manifest) -> None:
    partial.mkdir(parents=True)
    if not manifest.digest == sha256_json(manifest.files) == copy.name:
        raise ManifestError("its manifest is not that of its digest")
    for name, digest in manifest.files.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ManifestError(f"{name}: expected a name within the folder")
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        source = files.open_input_stream((copy / name).path, compression=None, buffer_size=_BLOCK)
        with source, (partial / name).open("wb") as target:
            found = _copy(source, target)
        if found != digest:
            raise ManifestError(f"{name}: SHA-256 {found[:12]} differs from the manifest's {digest[:12]}")


def _inputs_here(manifest: Manifest, folder: Path) -> Iterator[InputRef]:
    """The inputs with the paths that stages have beside this folder; their digests say whether they are the same."""
    for each in manifest.inputs:
        yield each.model_copy(update={"path": _here(each.path, manifest.path, folder)})


def _here(path: Location, written: Path, folder: Path) -> Location:
    stages = written.parents[1]
    is_stage = isinstance(path, Path) and path.is_relative_to(stages)
    return folder.parents[1] / path.relative_to(stages) if is_stage else path  # type: ignore[union-attr]


def found(place: Url) -> list[Copy]:
    """All copies of all stages, by their URLs; files that are not of a copy are left out.

    Parameters
    ----------
    place : Url
        Below it lie the copies of each stage and key.

    Raises
    ------
    StorageError
        If the URL cannot be read.
    """
    with storage.explained(place):
        files = storage.connected(place)
        infos = files.get_file_info(fs.FileSelector(place.path, allow_not_found=True, recursive=True))
        if not infos and not storage.has_bucket(place):
            raise FileNotFoundError
        by_copy: dict[str, list[fs.FileInfo]] = {}
        for info in infos:
            name = _NAME.fullmatch(info.path.removeprefix(f"{place.path}/"))
            if info.type == fs.FileType.File and name:
                by_copy.setdefault(name["copy"], []).append(info)
        return [_as_copy(files, place / name, by_copy[name]) for name in sorted(by_copy)]


def _as_copy(files: fs.FileSystem, url: Url, infos: Sequence[fs.FileInfo]) -> Copy:
    used_s = max(map(_changed_s, infos))
    return Copy(url, sum(info.size for info in infos), used_s, _inputs(files, url / MANIFEST_NAME))


def _inputs(files: fs.FileSystem, manifest: Url) -> frozenset[str] | None:
    """Of a manifest of any kind and version; None if there is none."""
    try:
        with files.open_input_stream(manifest.path, compression=None) as stream:
            return frozenset(each["digest"] for each in json.loads(stream.read())["inputs"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def remove(copy: Url) -> None:
    """Remove a copy, its manifest first: without one nobody takes it.

    Raises
    ------
    StorageError
        If the URL cannot be written to.
    """
    with storage.explained(copy):
        files = storage.connected(copy)
        with suppress(FileNotFoundError):
            files.delete_file((copy / MANIFEST_NAME).path)
        for folder in (copy, copy.parent):  # Arrow leaves an empty object in place of a folder that became empty
            with suppress(FileNotFoundError):
                if folder == copy or not files.get_file_info(fs.FileSelector(folder.path)):
                    files.delete_dir(folder.path)

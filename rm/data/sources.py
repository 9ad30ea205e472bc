"""Reading annotation files and hub data sets row by row, with the line and the raw content of each row."""

from __future__ import annotations

import csv
import glob
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from rm.data import contents, json_rows, parquet_rows
from rm.data.contents import Content
from rm.data.csv_rows import csv_rows
from rm.data.json_rows import Opened
from rm.data.source_row import Part, Row
from rm.data.unpacking import Unpacked
from rm.errors import DataError
from rm.files import sha256_file, sha256_json
from rm.locations import without_secrets

HUB_PREFIX = "hf:"
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}


class Source(NamedTuple):
    """An annotation file or hub data set, and the digest of its content; it can be sent to another process."""

    name: str
    digest: str
    read: Callable[[], Iterator[Row]]
    parts: tuple[Callable[[], Iterator[Row]], ...] = ()
    """What reads each part of a large file, one after another; empty if it cannot or need not be divided."""

    @property
    def rows(self) -> Iterator[Row]:
        """The rows from the first one on."""
        return self.read()


def expanded(name: str) -> list[str]:
    """The files that a name or pattern stands for; a hub data set stands for itself.

    Raises
    ------
    DataError
        If a pattern matches no file.
    """
    if url := contents.url_of(name):
        return contents.matching(url)
    is_pattern = glob.has_magic(name) and not Path(name).exists()  # "votes[1].jsonl" may be a file's name
    if name.startswith(HUB_PREFIX) or not is_pattern:
        return [name]
    if not (paths := sorted(glob.glob(name, recursive=True))):
        raise DataError(f"{name}: no file matches this pattern")
    return paths


def open_source(name: str, *, divided: bool = False) -> Source:
    """Open a file, an object of object storage or a hub data set.

    Parameters
    ----------
    name : str
    divided : bool, optional
        Whether to look where a large file can be divided, for which it is read once more.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    return _open_hub(name) if name.startswith(HUB_PREFIX) else _opened(contents.content(name), divided=divided)


def open_file(path: Path) -> Source:
    """Open one annotation file. Its rows are read one after another, so it may be larger than memory.

    Raises
    ------
    DataError
        If there is no such file or its name has no known ending; while its rows are read: if the file is broken.
    """
    return _opened(contents.LocalFile(path))


def _opened(content: Content, *, divided: bool = False) -> Source:
    endings = [ending.lower() for ending in Path(content.file_name).suffixes]
    compression = _COMPRESSIONS.get(endings[-1]) if endings else None
    ending = (endings[:-1] if compression else endings)[-1:]
    if not ending or ending[0] not in _ENDINGS:
        expected = f"{', '.join(_ENDINGS)}, plain or with .gz or .zst"
        raise DataError(f"{content.name}: expected {expected}, got {content.file_name!r}")
    source = Source(content.name, content.digest(), partial(_read, content, ending[0], compression))
    return source._replace(parts=_parts(content, ending[0])) if divided and compression is None else source


def _parts(content: Content, ending: str) -> tuple[Callable[[], Iterator[Row]], ...]:
    is_parquet = ending == ".parquet"
    if ending not in _DIVIDED or (content.size <= PART_SIZE and not is_parquet):
        return ()

    def opened() -> io.BufferedReader:
        return io.BufferedReader(content.opened(seekable=is_parquet), _BUFFER)

    try:
        found = _DIVIDED[ending][0](opened, PART_SIZE)
    except (OSError, ValueError, pa.ArrowException):  # said where it is read
        return ()
    return tuple(partial(_read, content, ending, None, part) for part in found) if len(found) > 1 else ()


PART_SIZE = 1 << 28
"""Bytes of a part of a source, about: a worker sends as much back at once."""


def _read(content: Content, ending: str, compression: str | None, part: Part | None = None) -> Iterator[Row]:
    def opened() -> io.BufferedReader:
        if part and ending != ".parquet":
            stream = content.opened(seekable=True).get_stream(part.start, part.end - part.start)
            return io.BufferedReader(stream, _BUFFER)
        # A compressed stream cannot be read from the middle, as Parquet is.
        file = content.opened(seekable=ending == ".parquet" and compression is None)
        if compression and not content.size:  # pyarrow would read it as empty content
            raise EOFError(f"an empty file is not {compression}")
        stream = Unpacked(file, compression, content.size) if compression else file
        return io.BufferedReader(stream, _BUFFER)

    try:
        if part is None or not part.start:
            with opened() as beginning:
                _check_beginning(content, beginning.peek(4)[:4])
        yield from _READERS[ending](opened) if part is None else _DIVIDED[ending][1](opened, part)
        content.check_unchanged()
    except json.JSONDecodeError as error:
        raise DataError(f"{content.name}: not JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        OverflowError,
        RecursionError,
        MemoryError,
        SystemError,  # of orjson, when memory ends
        csv.Error,
        pa.ArrowException,
    ) as error:
        is_memory = isinstance(error, MemoryError | SystemError)
        reason = "there is not enough memory" if is_memory else without_secrets(str(error))
        raise DataError(f"{content.name}: cannot be read: {reason}") from None


_BEGINNINGS = {
    b"\x1f\x8b": ("gzip data", "add .gz to its name"),
    b"\x28\xb5\x2f\xfd": ("zstd data", "add .zst to its name"),
    b"PK\x03\x04": ("a zip archive", "unpack it"),
    b"PAR1": ("Parquet", "name it .parquet"),
    b"\xff\xfe": ("text in UTF-16", "save it as UTF-8"),
    b"\xfe\xff": ("text in UTF-16", "save it as UTF-8"),
}


def _check_beginning(content: Content, head: bytes) -> None:
    """Refuse a file whose name says something else than its content."""
    for beginning, (found, remedy) in _BEGINNINGS.items():
        if head.startswith(beginning) and not (found == "Parquet" and ".parquet" in content.file_name.lower()):
            raise DataError(f"{content.name}: expected what its name says, got {found}; {remedy}")


_BUFFER = 1 << 20


_READERS: Mapping[str, Callable[[Opened], Iterator[Row]]] = {
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), json_rows.json_rows),
    ".parquet": parquet_rows.parquet_rows,
    ".csv": csv_rows,
    ".tsv": csv_rows,
}
_ENDINGS = tuple(_READERS)
_LINES = (json_rows.parts, json_rows.rows_of_part)
_DIVIDED: Mapping[str, tuple[Callable[[Opened, int], list[Part]], Callable[[Opened, Part], Iterator[Row]]]] = {
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), _LINES),
    ".parquet": (parquet_rows.parts, parquet_rows.parquet_rows),
}
"""What divides a file into parts, and what reads one."""


_HUB_NAME = re.compile(r"(?P<path>[^:@]+)(:(?P<split>[^@]+))?(@(?P<revision>.+))?")


def _open_hub(name: str) -> Source:
    import datasets  # here, since loading it takes a second and few runs read the hub

    found = _HUB_NAME.fullmatch(name.removeprefix(HUB_PREFIX))
    if found is None:
        raise DataError(f"{name}: expected hf:OWNER/NAME[/CONFIG][:SPLIT][@REVISION]")
    repository, config = _repository(found["path"])
    split = found["split"] or "train"
    try:
        builder = datasets.load_dataset_builder(repository, config, revision=found["revision"])
        dataset = builder.as_streaming_dataset(split=split)
        digest = sha256_json([config, split, [_content_of(file) for file in builder.config.data_files[split]]])
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be loaded from the hub: {error}") from error
    return Source(name, digest, partial(_hub_rows, name, dataset))


def _content_of(file: str) -> str:
    """The digest of a file of this machine; the address of one of the hub, which holds the commit."""
    return sha256_file(Path(file)) if Path(file).is_file() else file


def _hub_rows(name: str, dataset: Iterable[dict[str, Any]]) -> Iterator[Row]:
    try:
        for position, value in enumerate(dataset, start=1):
            yield Row(position, value)
    except Exception as error:  # of the hub's client, of the network below it, of Arrow, of datasets
        raise DataError(f"{name}: cannot be read from the hub: {error}") from error


def _repository(path: str) -> tuple[str, str | None]:
    """The repository and the configuration that a path names; a folder on this machine may stand for a repository."""
    if Path(path).is_dir():
        return path, None
    parent, _, last = path.rpartition("/")
    return (parent, last) if "/" in parent and (Path(parent).is_dir() or parent.count("/") == 1) else (path, None)

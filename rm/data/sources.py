"""Reading annotation files and hub data sets row by row, with the line and the raw content of each row."""

from __future__ import annotations

import csv
import glob
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from rm import parquet
from rm.data import contents
from rm.data.contents import Content
from rm.data.json_rows import Opened, json_rows
from rm.data.source_row import Row
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


def open_source(name: str) -> Source:
    """Open a file, an object of object storage or a hub data set.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    return _open_hub(name) if name.startswith(HUB_PREFIX) else _opened(contents.content(name))


def open_file(path: Path) -> Source:
    """Open one annotation file. Its rows are read one after another, so it may be larger than memory.

    Raises
    ------
    DataError
        If there is no such file or its name has no known ending; while its rows are read: if the file is broken.
    """
    return _opened(contents.LocalFile(path))


def _opened(content: Content) -> Source:
    endings = [ending.lower() for ending in Path(content.file_name).suffixes]
    compression = _COMPRESSIONS.get(endings[-1]) if endings else None
    ending = (endings[:-1] if compression else endings)[-1:]
    if not ending or ending[0] not in _ENDINGS:
        expected = f"{', '.join(_ENDINGS)}, plain or with .gz or .zst"
        raise DataError(f"{content.name}: expected {expected}, got {content.file_name!r}")
    return Source(content.name, content.digest(), partial(_read, content, ending[0], compression))


def _read(content: Content, ending: str, compression: str | None) -> Iterator[Row]:
    def opened() -> io.BufferedReader:
        # A compressed stream cannot be read from the middle, as Parquet is.
        file = content.opened(seekable=ending == ".parquet" and compression is None)
        if compression and not content.size:  # pyarrow would read it as empty content
            raise EOFError(f"an empty file is not {compression}")
        stream = pa.CompressedInputStream(file, compression) if compression else file
        return io.BufferedReader(stream, _BUFFER)

    try:
        with opened() as beginning:
            _check_beginning(content, beginning.peek(4)[:4])
        yield from _READERS[ending](opened)
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
        csv.Error,
        pa.ArrowException,
    ) as error:
        raise DataError(f"{content.name}: cannot be read: {without_secrets(str(error))}") from None


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


def _parquet_rows(opened: Opened) -> Iterator[Row]:
    with opened() as content:
        raw = content.raw
        file = pq.ParquetFile(raw if raw.seekable() else io.BytesIO(content.read()))
        _check_names(file.schema_arrow.names)
        rows = (value for batch in parquet.batches(file, 1024) for value in batch.to_pylist())
        for position, value in enumerate(rows, start=1):
            yield Row(position, value)


def _check_names(names: list[str]) -> None:
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"expected different names of columns, two are named {doubled[0]!r}")


def _csv_rows(opened: Opened) -> Iterator[Row]:
    """The first line has the names of the columns. CSV has no types: every cell is text, and an empty cell is null."""
    with opened() as content:
        has_backslashes = any(_ONLY_BACKSLASHED.search(line) for line in content)
    with opened() as content:
        lines = (_BACKSLASHED.sub('""', line) if has_backslashes else line for line in _decoded(content))
        head = next(lines, "")
        delimiter = max((",", ";", "\t"), key=lambda each: len(next(csv.reader([head], delimiter=each), [])))
        rows = csv.reader(chain([head], lines), delimiter=delimiter, strict=True)
        names = next(rows, [])
        _check_names(names)
        for position, cells in enumerate(filter(None, rows), start=1):
            given: dict[str, Any] = {name: text or None for name, text in zip(names, cells, strict=False)}
            wrong = f"expected {len(names)} cells, got {len(cells)}" if len(cells) != len(names) else None
            written = json.dumps(cells, ensure_ascii=False).encode() if wrong else None
            yield Row(position, None if wrong else given, written, wrong)


csv.field_size_limit(2**31 - 1)  # the default refuses cells of more than 131,072 characters
_BACKSLASHED = re.compile(r"(?<!\\)\\\"")
r"""A quote in a cell as Spark writes it: ``\"`` in place of two quotes."""
_ONLY_BACKSLASHED = re.compile(rb"(?:^|[,;\t])\"[^\"]*(?<!\\)\\\"[^\",;\t\r\n]")
"""Such a quote before another character than a quote or the end of the cell, which the usual form does not allow."""


def _decoded(content: io.BufferedReader) -> Iterator[str]:
    return iter(io.TextIOWrapper(content, "utf-8-sig", newline=""))


_READERS: Mapping[str, Callable[[Opened], Iterator[Row]]] = {
    ".json": json_rows,
    ".jsonl": json_rows,
    ".ndjson": json_rows,
    ".parquet": _parquet_rows,
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
}
_ENDINGS = tuple(_READERS)


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

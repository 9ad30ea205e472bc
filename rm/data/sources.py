"""Reading annotation files and hub data sets row by row, keeping each row's place and raw content."""

from __future__ import annotations

import csv
import glob
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from rm.errors import DataError
from rm.files import sha256_file

HUB_PREFIX = "hf:"
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_LAYOUTS = (".json", ".jsonl", ".parquet", ".csv")


class Row(NamedTuple):
    """One row of a source. ``value`` is what it says; ``error`` says why it could not be read."""

    line: int
    """Line of a JSONL file, or position in any other, from 1."""
    value: Any
    raw: str
    error: str | None = None


class Source(NamedTuple):
    """An annotation file or hub data set, and the digest of its content."""

    name: str
    digest: str
    rows: Iterator[Row]


def open_all(names: tuple[str, ...]) -> Iterator[Source]:
    """Open every file that the names and globs stand for, and every hub data set.

    Raises
    ------
    DataError
        If a name stands for no file, or a file cannot be read.
    """
    for name in names:
        if name.startswith(HUB_PREFIX):
            yield _open_hub(name)
            continue
        is_pattern = glob.has_magic(name) and not Path(name).exists()  # "votes[1].jsonl" may be a file's name
        paths = sorted(glob.glob(name, recursive=True)) if is_pattern else [name]
        if not paths:
            raise DataError(f"{name}: no file matches this pattern")
        for path in paths:
            yield open_file(Path(path))


def open_file(path: Path) -> Source:
    """Open one annotation file.

    Raises
    ------
    DataError
        If there is no such file or it has none of the known layouts; while its rows are read, if it is broken.
    """
    if not path.is_file():
        raise DataError(f"{path}: {'a folder, expected a file or a glob' if path.is_dir() else 'no such file'}")
    compression = _COMPRESSIONS.get(path.suffix)
    layout = path.with_suffix("").suffix if compression else path.suffix
    if layout not in _LAYOUTS:
        raise DataError(f"{path}: expected {', '.join(_LAYOUTS)}, plain or with .gz or .zst, got {path.name!r}")
    return Source(str(path), sha256_file(path), _read(path, layout, compression))


def _read(path: Path, layout: str, compression: str | None) -> Iterator[Row]:
    try:
        with pa.OSFile(str(path)) as file:
            if compression and not file.size():  # pyarrow takes it for compressed nothing
                raise EOFError(f"an empty file is not {compression}")
            stream = pa.CompressedInputStream(file, compression) if compression else file
            content = io.BytesIO(stream.read())
        yield from {".parquet": _parquet_rows, ".csv": _csv_rows}.get(layout, _json_rows)(content)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except (OSError, EOFError, ValueError, RecursionError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _json_rows(content: io.BytesIO) -> Iterator[Row]:
    """The elements of one array, or one object a line; many files named .json hold lines."""
    head = content.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    content.seek(0)
    if head.startswith(b"["):
        for place, value in enumerate(json.loads(content.read().decode("utf-8-sig", "surrogatepass")), start=1):
            yield Row(place, value, _compact(value))
        return
    for line, raw in enumerate(content, start=1):
        if stripped := raw.removeprefix(b"\xef\xbb\xbf").strip():
            yield _json_line(line, stripped)


def _json_line(line: int, raw: bytes) -> Row:
    shown = raw.decode("utf-8", "backslashreplace")
    try:
        return Row(line, json.loads(raw), shown)
    except UnicodeDecodeError as error:
        return Row(line, None, shown, f"not UTF-8 at byte {error.start + 1} of the line")
    except json.JSONDecodeError as error:
        return Row(line, None, shown, f"not JSON at column {error.colno}: {error.msg}")
    except (ValueError, RecursionError) as error:
        return Row(line, None, shown, f"JSON that Python cannot hold: {error}")


def _parquet_rows(content: io.BytesIO) -> Iterator[Row]:
    place = 0
    for batch in pq.ParquetFile(content).iter_batches(batch_size=1024):
        for value in batch.to_pylist():
            place += 1
            yield Row(place, value, _compact(value))


def _csv_rows(content: io.BytesIO) -> Iterator[Row]:
    """The first line names the columns. Every value is text, since CSV knows no types; an empty one is null."""
    head = io.TextIOWrapper(content, "utf-8-sig", newline="")
    names = next(csv.reader(head), [])
    head.detach()  # or it would close the content
    content.seek(0)
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two columns are named {doubled[0]!r}")
    if not names:
        return
    table = pyarrow.csv.read_csv(
        content,
        pyarrow.csv.ReadOptions(block_size=len(content.getbuffer()) + 1),  # a row must lie within one block
        pyarrow.csv.ParseOptions(newlines_in_values=True),
        pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    for place, value in enumerate(table.to_pylist(), start=1):
        given = {name: text or None for name, text in value.items()}
        yield Row(place, given, _compact(given))


def _open_hub(name: str) -> Source:
    import datasets  # here, because it takes a second to load and few runs read the hub

    repository, _, split = name.removeprefix(HUB_PREFIX).partition(":")
    try:
        dataset = datasets.load_dataset(repository, split=split or "train")
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be loaded from the hub: {error}") from error
    rows = (Row(place, value, _compact(value)) for place, value in enumerate(dataset, start=1))
    return Source(name, dataset._fingerprint, rows)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)

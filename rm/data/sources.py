"""Reading annotation files and hub data sets row by row, with the line and the raw content of each row."""

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

from rm.data.formats.row import RowError
from rm.errors import DataError
from rm.files import sha256_file

HUB_PREFIX = "hf:"
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_ENDINGS = (".json", ".jsonl", ".parquet", ".csv")


class Row(NamedTuple):
    """One row of a source."""

    line: int
    """Line of a JSONL file, or position in any other file, from 1."""
    value: Any
    """The parsed row; None if it could not be read."""
    raw: str
    """The row as text, for the quarantine."""
    error: str | None = None
    """Why the row could not be read."""

    def parsed(self) -> Any:
        """The parsed row; raises RowError if it could not be read."""
        if self.error:
            raise RowError(self.error)
        return self.value


class Source(NamedTuple):
    """An annotation file or hub data set, and the digest of its content."""

    name: str
    digest: str
    rows: Iterator[Row]


def open_all(names: tuple[str, ...]) -> Iterator[Source]:
    """Open all files and hub data sets.

    Parameters
    ----------
    names : tuple of str
        As in `rm.data.config.IngestConfig.sources`.

    Raises
    ------
    DataError
        If a name or pattern matches no file, or a file cannot be read.
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
        If there is no such file or its name has no known ending; while its rows are read: if the file is broken.
    """
    if not path.is_file():
        raise DataError(f"{path}: {'a folder, expected a file or a glob' if path.is_dir() else 'no such file'}")
    compression = _COMPRESSIONS.get(path.suffix)
    ending = path.with_suffix("").suffix if compression else path.suffix
    if ending not in _ENDINGS:
        raise DataError(f"{path}: expected {', '.join(_ENDINGS)}, plain or with .gz or .zst, got {path.name!r}")
    return Source(str(path), sha256_file(path), _read(path, ending, compression))


def _read(path: Path, ending: str, compression: str | None) -> Iterator[Row]:
    try:
        with pa.OSFile(str(path)) as file:
            if compression and not file.size():  # pyarrow would read it as empty content
                raise EOFError(f"an empty file is not {compression}")
            stream = pa.CompressedInputStream(file, compression) if compression else file
            content = io.BytesIO(stream.read())
        yield from {".parquet": _parquet_rows, ".csv": _csv_rows}.get(ending, _json_rows)(content)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except (OSError, EOFError, ValueError, RecursionError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _json_rows(content: io.BytesIO) -> Iterator[Row]:
    """The elements of one array, or one object per line: many files named .json hold lines."""
    head = content.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    content.seek(0)
    if head.startswith(b"["):
        for position, value in enumerate(json.loads(content.read().decode("utf-8-sig", "surrogatepass")), start=1):
            yield Row(position, value, _compact(value))
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
    batches = pq.ParquetFile(content).iter_batches(batch_size=1024)
    for position, value in enumerate((value for batch in batches for value in batch.to_pylist()), start=1):
        yield Row(position, value, _compact(value))


def _csv_rows(content: io.BytesIO) -> Iterator[Row]:
    """The first line has the names of the columns. CSV has no types: every cell is text, and an empty cell is null."""
    # Python's csv module reads only the names: it refuses cells of more than 131,072 characters.
    head = io.TextIOWrapper(content, "utf-8-sig", newline="")
    names = next(csv.reader(head), [])
    head.detach()  # so that it does not close the content
    content.seek(0)
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"expected different names of columns, two are named {doubled[0]!r}")
    if not names:
        return
    table = pyarrow.csv.read_csv(
        content,
        pyarrow.csv.ReadOptions(block_size=len(content.getbuffer()) + 1),  # pyarrow needs each row within one block
        pyarrow.csv.ParseOptions(newlines_in_values=True),
        pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    for position, value in enumerate(table.to_pylist(), start=1):
        given = {name: text or None for name, text in value.items()}
        yield Row(position, given, _compact(given))


def _open_hub(name: str) -> Source:
    import datasets  # here, since loading it takes a second and few runs read the hub

    repository, _, split = name.removeprefix(HUB_PREFIX).partition(":")
    try:
        dataset = datasets.load_dataset(repository, split=split or "train")
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be loaded from the hub: {error}") from error
    rows = (Row(position, value, _compact(value)) for position, value in enumerate(dataset, start=1))
    return Source(name, dataset._fingerprint, rows)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)

"""Reading annotation files and hub data sets row by row, with the line and the raw content of each row."""

from __future__ import annotations

import csv
import glob
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
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
    endings = [ending.lower() for ending in path.suffixes]
    compression = _COMPRESSIONS.get(endings[-1]) if endings else None
    ending = (endings[:-1] if compression else endings)[-1:]
    if not ending or ending[0] not in _ENDINGS:
        raise DataError(f"{path}: expected {', '.join(_ENDINGS)}, plain or with .gz or .zst, got {path.name!r}")
    return Source(str(path), sha256_file(path), _read(path, ending[0], compression))


def _read(path: Path, ending: str, compression: str | None) -> Iterator[Row]:
    try:
        with pa.OSFile(str(path)) as file:
            if compression and not file.size():  # pyarrow would read it as empty content
                raise EOFError(f"an empty file is not {compression}")
            stream = pa.CompressedInputStream(file, compression) if compression else file
            content = io.BytesIO(stream.read())
        _check_beginning(path, content.getbuffer()[:4])
        yield from _READERS[ending](content)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except (OSError, EOFError, ValueError, RecursionError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


_BEGINNINGS = {
    b"\x1f\x8b": ("gzip data", "add .gz to its name"),
    b"\x28\xb5\x2f\xfd": ("zstd data", "add .zst to its name"),
    b"PK\x03\x04": ("a zip archive", "unpack it"),
    b"PAR1": ("Parquet", "name it .parquet"),
    b"\xff\xfe": ("text in UTF-16", "save it as UTF-8"),
    b"\xfe\xff": ("text in UTF-16", "save it as UTF-8"),
}


def _check_beginning(path: Path, head: memoryview) -> None:
    """Refuse a file whose name says something else than its content."""
    for beginning, (found, remedy) in _BEGINNINGS.items():
        if bytes(head).startswith(beginning) and not (found == "Parquet" and ".parquet" in path.name.lower()):
            raise DataError(f"{path}: expected what its name says, got {found}; {remedy}")


_WRAPPERS = ("data", "rows", "examples", "instances", "items", "records")


def _json_rows(content: io.BytesIO) -> Iterator[Row]:
    """The elements of one array, alone or in an object, or one object per line: many files named .json hold lines."""
    whole = content.read().removeprefix(b"\xef\xbb\xbf")
    if whole.lstrip().startswith(b"["):
        return _elements(_parsed(whole))
    wrapped = _wrapped(whole) if whole.lstrip().startswith(b"{") else None
    return _json_lines(io.BytesIO(whole)) if wrapped is None else _elements(wrapped)


def _parsed(raw: bytes) -> Any:
    return json.loads(raw.decode("utf-8", "surrogatepass"), object_pairs_hook=_object)


def _elements(values: list[Any]) -> Iterator[Row]:
    for position, value in enumerate(values, start=1):
        yield Row(position, value, _compact(value))


def _wrapped(whole: bytes) -> list[Any] | None:
    """The rows of a file that is one object, as a list in it or the object alone; None if it has one per line."""
    line, _, rest = whole.lstrip().partition(b"\n")
    if line.rstrip().endswith(b"}") and rest.strip():
        return None
    try:
        value = _parsed(whole)
    except (ValueError, RecursionError):
        return None  # lines, the first of which is broken
    return next((value[key] for key in _WRAPPERS if isinstance(value.get(key), list)), [value])


def _json_lines(content: io.BytesIO) -> Iterator[Row]:
    for line, raw in enumerate(content, start=1):
        if stripped := raw.removeprefix(b"\xef\xbb\xbf").strip():
            yield _json_line(line, stripped)


def _json_line(line: int, raw: bytes) -> Row:
    shown = raw.decode("utf-8", "backslashreplace")
    try:
        return Row(line, json.loads(raw, object_pairs_hook=_object), shown)
    except UnicodeDecodeError as error:
        return Row(line, None, shown, f"not UTF-8 at byte {error.start + 1} of the line")
    except json.JSONDecodeError as error:
        return Row(line, None, shown, f"not JSON at column {error.colno}: {error.msg}")
    except RowError as error:
        return Row(line, None, shown, str(error))
    except (ValueError, RecursionError) as error:
        return Row(line, None, shown, f"JSON that Python cannot hold: {error}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object with each key once: of two values one would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise RowError(f"expected each key once, got {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return found


def _parquet_rows(content: io.BytesIO) -> Iterator[Row]:
    batches = pq.ParquetFile(content).iter_batches(batch_size=1024)
    for position, value in enumerate((value for batch in batches for value in batch.to_pylist()), start=1):
        yield Row(position, value, _compact(value))


def _csv_rows(content: io.BytesIO) -> Iterator[Row]:
    """The first line has the names of the columns. CSV has no types: every cell is text, and an empty cell is null."""
    text = _with_doubled_quotes(content.getvalue())
    # Python's csv module reads only the names: it refuses cells of more than 131,072 characters.
    delimiter, names = _header(text)
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"expected different names of columns, two are named {doubled[0]!r}")
    if not names:
        return
    table = pyarrow.csv.read_csv(
        io.BytesIO(text),
        pyarrow.csv.ReadOptions(block_size=len(text) + 1),  # pyarrow needs each row within one block
        pyarrow.csv.ParseOptions(newlines_in_values=True, delimiter=delimiter),
        pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    for position, value in enumerate(table.to_pylist(), start=1):
        given = {name: text or None for name, text in value.items()}
        yield Row(position, given, _compact(given))


_BACKSLASHED = re.compile(rb"(?<!\\)\\\"")


def _with_doubled_quotes(text: bytes) -> bytes:
    r"""The text with quotes in cells doubled, where Spark has written them as ``\"``.

    They are taken for such quotes only if another character than a quote or the end of the cell follows one of them,
    which the usual form does not allow.
    """
    return _BACKSLASHED.sub(b'""', text) if re.search(rb"(?<!\\)\\\"[^\",;\t\r\n]", text) else text


def _header(text: bytes) -> tuple[str, list[str]]:
    """The delimiter and the names of the columns: whichever of comma, semicolon and tab gives the most of them."""

    def names(delimiter: str) -> list[str]:
        lines = io.TextIOWrapper(io.BytesIO(text), "utf-8-sig", newline="")
        return next(csv.reader(lines, delimiter=delimiter), [])

    delimiter = max((",", ";", "\t"), key=lambda each: len(names(each)))
    return delimiter, names(delimiter)


_READERS: Mapping[str, Callable[[io.BytesIO], Iterator[Row]]] = {
    ".json": _json_rows,
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
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
    try:
        dataset = datasets.load_dataset(repository, config, split=found["split"] or "train", revision=found["revision"])
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be loaded from the hub: {error}") from error
    rows = (Row(position, value, _compact(value)) for position, value in enumerate(dataset, start=1))
    return Source(name, dataset._fingerprint, rows)


def _repository(path: str) -> tuple[str, str | None]:
    """The repository and the configuration that a path names; a folder on this machine may stand for a repository."""
    if Path(path).is_dir():
        return path, None
    parent, _, last = path.rpartition("/")
    return (parent, last) if "/" in parent and (Path(parent).is_dir() or parent.count("/") == 1) else (path, None)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)

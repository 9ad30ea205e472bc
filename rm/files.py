"""Files that appear whole or not at all, and their digests."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rm.errors import writing


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; on a clean exit that file replaces `path` in one step.

    A reader sees the old content or the new content, never a half-written file. After an error the temporary file is
    removed.

    Raises
    ------
    StorageError
        If the disk is full or read-only.
    """
    partial = path.with_name(path.name + ".partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            with partial.open("rb") as handle:
                os.fsync(handle.fileno())  # without it, a power cut could leave an empty file under the new name
            partial.replace(path)
        finally:
            with suppress(OSError):
                partial.unlink()


@contextmanager
def work_folder(name: str = "rmflow", above: Path | None = None) -> Iterator[Path]:
    """An empty folder that is removed at the end; a killed process leaves it, and `process_of` says whose it was.

    Parameters
    ----------
    name : str, optional
        What its name begins with.
    above : Path, optional
        Where it is made. Default: the folder for temporary files.
    """
    with TemporaryDirectory(prefix=f"{name}-{os.getpid()}-", dir=above) as folder:
        yield Path(folder)


def process_of(work_folder: Path) -> int | None:
    """Id of the process that made a `work_folder`; None if the folder is something else."""
    parts = work_folder.name.rsplit("-", 2)
    return int(parts[1]) if len(parts) == 3 and parts[1].isdecimal() else None


def replace_text(path: Path, text: str) -> None:
    """Write text to path whole or not at all, as UTF-8."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_bytes(content: bytes) -> str:
    """SHA-256 of bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def sha256_text(text: str) -> str:
    """SHA-256 of a text's UTF-8 bytes, in hex."""
    return sha256_bytes(text.encode("utf-8"))


def canonical_json(value: Any) -> str:
    """A JSON value with sorted keys and no spaces: equal values are equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_json(value: Any) -> str:
    """SHA-256 of a JSON value's `canonical_json`, in hex."""
    return sha256_text(canonical_json(value))


def sha256_folder(folder: Path, pattern: str = "**/*") -> str:
    """SHA-256 over the relative names and contents of a folder's files that match pattern, in hex.

    Hidden files and byte-code caches are left out: they appear and disappear without a change of content.
    """
    names = sorted(
        path.relative_to(folder)
        for path in folder.glob(pattern)
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in path.relative_to(folder).parts)
    )
    return sha256_json({name.as_posix(): sha256_file(folder / name) for name in names})


_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def size_text(size: int) -> str:
    """A number of bytes as people read it, such as ``1.5 GiB``."""
    power = min(max(size.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    return f"{size / 1024**power:.1f} {_UNITS[power]}" if power else f"{size} B"


def num_bytes(path: Path) -> int:
    """Size of a file, or of all files below a folder; 0 if there is none. Links count as what they are."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size if path.is_symlink() or path.exists() else 0
    return sum(num_bytes(each) for each in path.iterdir())

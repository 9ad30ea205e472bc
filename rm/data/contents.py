"""The bytes of annotation files, here or in object storage, and whether they changed while they were read."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

import pyarrow as pa
from pyarrow import fs

from rm import storage
from rm.errors import DataError
from rm.files import sha256_file
from rm.locations import Url


class Content(Protocol):
    """A file that can be read several times from its beginning."""

    name: str
    """As it was asked for."""
    file_name: str
    size: int
    """Bytes."""

    def digest(self) -> str:
        """SHA-256 of the bytes, in hex; what is read later must be these bytes."""
        ...

    def opened(self, *, seekable: bool) -> pa.NativeFile:
        """The bytes from the beginning; if they are read from anywhere, seekable."""
        ...

    def check_unchanged(self) -> None:
        """Raise DataError if the bytes may be others than those that were digested."""
        ...


class LocalFile:
    """A file of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name, self.file_name = str(path), path.name
        with self._explained():
            if not path.is_file():
                raise DataError(f"{path}: {'a folder, expected a file or a glob' if path.is_dir() else 'no such file'}")
            self._version = self._now()
            self.size = path.stat().st_size

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"{self.name:.300}: cannot be read: {error.strerror}") from None

    def _now(self) -> tuple[int, ...]:
        found = self._path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns

    def digest(self) -> str:
        """SHA-256 of the file."""
        with self._explained():
            return sha256_file(self._path)

    def opened(self, *, seekable: bool) -> pa.NativeFile:
        """The file, opened."""
        return pa.OSFile(self.name)

    def check_unchanged(self) -> None:
        """Compare size and time of the last change."""
        if self._now() != self._version:
            raise _changed(self.name)


class RemoteFile:
    """An object of object storage, read as a stream: neither memory nor disk holds it whole."""

    def __init__(self, url: Url) -> None:
        self._url = url
        self.name, self.file_name = str(url), url.name
        with storage.explained(url, DataError):
            found = storage.connected(url).get_file_info(url.path)
            if found.type == fs.FileType.NotFound:
                raise FileNotFoundError
        if found.type == fs.FileType.Directory:
            raise DataError(f"{url}: a folder, expected a file or a glob")
        self.size = found.size
        self._version: dict[str, bytes] | None = None

    def digest(self) -> str:
        """SHA-256 of the object, from a first reading."""
        with storage.explained(self._url, DataError), self.opened(seekable=False) as stream:
            digest = hashlib.sha256()
            while block := stream.read(_BUFFER):
                digest.update(block)
        self.check_unchanged()
        return digest.hexdigest()

    def opened(self, *, seekable: bool) -> pa.NativeFile:
        """The object, opened; refused if it is no longer the one that was opened first."""
        with storage.explained(self._url, DataError):
            # Not kept: in another process, credentials come from the environment of that one.
            files = storage.connected(self._url)
            stream = (
                files.open_input_file(self._url.path)
                if seekable
                # Each reading of the stream asks the storage: in small pieces it would take hours.
                else files.open_input_stream(self._url.path, compression=None, buffer_size=_BUFFER)
            )
            version = {key.lower(): value for key, value in stream.metadata().items() if key.lower() in _VERSION}
        if self._version is None:
            self._version = version
        if version != self._version:
            stream.close()
            raise _changed(self.name)
        return stream

    def check_unchanged(self) -> None:
        """Compare what the storage says of the object: its ETag, which differs for other bytes, size and time."""
        self.opened(seekable=True).close()


_BUFFER = 1 << 22
_VERSION = {"etag", "last-modified", "content-length", "generation"}


def _changed(name: str) -> DataError:
    return DataError(f"{name}: changed while it was read; expected a file that nobody writes to any more")


def content(name: str) -> Content:
    """The content that a path or URL names.

    Raises
    ------
    DataError
        If there is no such file, or no access to it.
    """
    return LocalFile(Path(name)) if (url := url_of(name)) is None else RemoteFile(url)


def url_of(name: str) -> Url | None:
    """The URL that a name is; None if it is a path."""
    if "://" not in name:
        return None
    try:
        return Url.parse(name)
    except ValueError as error:
        raise DataError(f"{error}") from None


def matching(url: Url) -> list[str]:
    """The objects that a URL with a pattern stands for, in order; a URL without one stands for itself.

    As in a path, ``*``, ``?`` and ``[...]`` match within a part and ``**`` any number of parts.

    Raises
    ------
    DataError
        If there is no such bucket, no access to it, or no object that matches.
    """
    if not glob.has_magic(url.key):
        return [str(url)]
    parts = url.key.split("/")
    plain = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    start = Url(url.scheme, url.bucket, "/".join(parts[:plain]))
    with storage.explained(url, DataError):
        files = storage.connected(url)
        if files.get_file_info(url.path).type == fs.FileType.File:  # "votes[1].jsonl" may be a file's name
            return [str(url)]
        below = fs.FileSelector(start.path, recursive=True, allow_not_found=True)
        names = [info.path.removeprefix(f"{start.path}/") for info in files.get_file_info(below) if info.is_file]
        if not names and not storage.has_bucket(url):
            raise FileNotFoundError
    found = sorted(str(start / name) for name in names if _matches(name.split("/"), parts[plain:]))
    if not found:
        raise DataError(f"{url}: no file matches this pattern")
    return found


def _matches(parts: list[str], patterns: list[str]) -> bool:
    if not parts or not patterns:
        return not parts and not patterns
    if patterns == ["**"]:
        return not any(part.startswith(".") for part in parts)
    if patterns[0] == "**":
        return _matches(parts, patterns[1:]) or (not parts[0].startswith(".") and _matches(parts[1:], patterns))
    is_hidden = parts[0].startswith(".") and not patterns[0].startswith(".")
    return not is_hidden and fnmatchcase(parts[0], patterns[0]) and _matches(parts[1:], patterns[1:])

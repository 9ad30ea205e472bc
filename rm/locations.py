"""Where data lies: in a folder of this machine, or below a URL of object storage."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from rm.errors import without_logins

SCHEMES = ("s3", "gs", "az")
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<bucket>[^/]*)/?(?P<key>.*)", re.DOTALL | re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_QUERY = re.compile(r"\?[\w.-]+=\S*")
"""Settings behind a URL, such as keys and signatures; a question mark alone is a part of a pattern."""


def is_url(name: str) -> bool:
    """Whether a name is a URL of any kind and not a path."""
    return _URL.fullmatch(name) is not None


def without_secrets(text: str) -> str:
    """The text with what may be a login or a key in its URLs replaced by ``...``."""
    return _QUERY.sub("?...", without_logins(text))


@dataclass(frozen=True)
class Url:
    """An object, or all objects whose keys begin with ``key/``, in a bucket of object storage (Azure: a container)."""

    scheme: str
    """One of `SCHEMES`."""
    bucket: str
    key: str
    """Parts between slashes; empty for the whole bucket."""

    @classmethod
    def parse(cls, text: str) -> Url:
        """Read ``scheme://bucket/key``.

        Raises
        ------
        ValueError
            If it is no such URL, or holds a login or settings; the message does not repeat them.
        """
        found = _URL.fullmatch(text)
        shown = without_secrets(text)
        if found is None or found["scheme"] not in SCHEMES:
            raise ValueError(
                f"expected a URL that begins with {', '.join(f'{name}://' for name in SCHEMES)}; got {shown}"
            )
        if shown != text:
            raise ValueError(
                f"expected a URL without login, key or other settings, which come from the environment; got {shown}"
            )
        if not _BUCKET.fullmatch(found["bucket"]):
            raise ValueError(f"expected the name of a bucket behind {found['scheme']}://; got {shown}")
        return cls(found["scheme"], found["bucket"], found["key"].rstrip("/"))

    @property
    def path(self) -> str:
        """Bucket and key, as Arrow's file systems name it."""
        return f"{self.bucket}/{self.key}" if self.key else self.bucket

    @property
    def name(self) -> str:
        """The last part."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> Url:
        """The URL without its last part; a bucket is its own parent."""
        return Url(self.scheme, self.bucket, self.key.rpartition("/")[0])

    def __truediv__(self, name: str) -> Url:
        return Url(self.scheme, self.bucket, f"{self.key}/{name}" if self.key else name)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}"


def _location(value: Any) -> Path | Url:
    if isinstance(value, Path | Url):
        return value
    if not isinstance(value, str):
        raise ValueError(f"expected a path or a URL, got {type(value).__name__}")
    return Url.parse(value) if is_url(value) else Path(value)


Location = Annotated[Path | Url, PlainValidator(_location), PlainSerializer(str, return_type=str, when_used="json")]
"""A path or a URL; text in JSON."""

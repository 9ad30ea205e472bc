"""Compressed files as streams, which a small file that unpacks to a huge one does not outlast."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa

MOST_TIMES, ALLOWED = 200, 1 << 30
"""A file that unpacks to more than so many times its size, and to more than so many bytes, is refused: texts of people
and models become 3 to 20 times smaller."""


class Unpacked(io.RawIOBase):
    """What a compressed file unpacks to.

    Parameters
    ----------
    packed : pa.NativeFile
    compression : str
        As Arrow names it.
    size : int
        Bytes of the compressed file.
    """

    def __init__(self, packed: pa.NativeFile, compression: str, size: int) -> None:
        self._stream = pa.CompressedInputStream(packed, compression)
        self._most = max(ALLOWED, MOST_TIMES * size)
        self._num_bytes = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; raises ValueError if the file unpacks to too much."""
        found = self._stream.read(len(buffer))
        buffer[: len(found)] = found
        self._num_bytes += len(found)
        if self._num_bytes > self._most:
            raise ValueError(
                f"expected a file that unpacks to at most {MOST_TIMES} times its size or {ALLOWED >> 30} GiB, got more"
            )
        return len(found)

    def close(self) -> None:
        """Close the file, too."""
        if not self.closed:
            self._stream.close()
        super().close()

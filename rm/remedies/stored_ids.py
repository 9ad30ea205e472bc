"""Token ids of responses that a remedy makes before a training."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray


class StoredIds:
    """The ids of one made response for each of P prompts that has one.

    Parameters
    ----------
    rows : iterable of P sequences of int, or None
        None: the prompt has none.

    Notes
    -----
    The ids lie in a file without a name, so that memory does not grow with them.
    """

    def __init__(self, rows: Iterable[Sequence[int] | None]) -> None:
        ends, there = [0], []
        with tempfile.TemporaryFile() as file:
            for row in rows:
                ids = np.asarray(() if row is None else row, dtype=np.int32)
                there.append(row is not None)
                ends.append(ends[-1] + len(ids))
                file.write(ids.tobytes())
            file.flush()
            self._ids: NDArray[np.int32] = np.memmap(file, np.int32, "r") if ends[-1] else np.empty(0, np.int32)
        self._ends, self._there = np.array(ends), np.array(there, dtype=bool)

    def are_there(self) -> NDArray[np.bool_]:
        """Whether each prompt has one, shape (P,)."""
        return self._there

    def __getitem__(self, index: int) -> Sequence[int] | None:
        """The ids for a prompt, an int32 array; None if it has none."""
        ids = self._ids[self._ends[index] : self._ends[index + 1]]
        return cast(Sequence[int], ids) if self._there[index] else None

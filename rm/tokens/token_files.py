"""The token ids of a split in an Arrow file that is memory-mapped: a reader's memory does not grow with the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rm.data import prompt_groups
from rm.data.preferences import Comparison
from rm.files import replacing
from rm.tokens.items import TokenizedPrompt

TOKENS_SCHEMA = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("prompt_ids", pa.list_(pa.int32())),
        ("prompt_cut", pa.bool_()),
        ("response_indices", pa.list_(pa.int32())),
        ("response_ids", pa.list_(pa.list_(pa.int32()))),
        ("response_attributes", prompt_groups.GROUP_SCHEMA.field("response_attributes").type),
        ("comparisons", prompt_groups.GROUP_SCHEMA.field("comparisons").type),
    ]
)


def token_batch(prompts: Sequence[TokenizedPrompt]) -> pa.RecordBatch:
    """Prompts as rows of a file."""
    rows = [
        {field.name: getattr(prompt, field.name) for field in dataclasses.fields(prompt)}
        | {"comparisons": [dataclasses.asdict(pair) for pair in prompt.comparisons]}
        for prompt in prompts
    ]
    return pa.RecordBatch.from_pylist(rows, schema=TOKENS_SCHEMA)


class TokenWriter:
    """Writes prompts to an Arrow file that appears whole or not at all.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    num_prompts, num_pairs, num_tokens : int
        What was written; each prompt and each response counts once.
    """

    def __init__(self, path: Path) -> None:
        self.num_prompts = self.num_pairs = self.num_tokens = 0
        self._opened = ExitStack()
        partial = self._opened.enter_context(replacing(path))
        # Not compressed: compressed ids would have to be held in memory to be read.
        self._file = self._opened.enter_context(pa.ipc.new_file(str(partial), TOKENS_SCHEMA))

    def write(self, batch: pa.RecordBatch) -> None:
        """Write the rows of `token_batch`."""
        if not batch.num_rows:
            return
        self.num_prompts += batch.num_rows
        self.num_pairs += len(batch.column("comparisons").flatten())
        responses = batch.column("response_ids").flatten()
        self.num_tokens += len(batch.column("prompt_ids").flatten()) + len(responses.flatten())
        self._file.write_batch(batch)

    def __enter__(self) -> TokenWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)


class Compared(NamedTuple):
    """The C comparisons of some prompts."""

    first_tokens: NDArray[Any]
    """(C,), tokens of the first response."""
    second_tokens: NDArray[Any]
    """(C,), tokens of the second response."""
    preference: NDArray[Any]
    """(C,), share of votes for the first response."""
    weight: NDArray[Any]
    """(C,)."""


class TokenizedSplit(Sequence[TokenizedPrompt]):
    """The prompts of a split, in order of prompt id; one is read from the file when it is asked for.

    Token ids are int32 arrays that lie in the file, which is memory-mapped: processes on one machine share it.

    Parameters
    ----------
    path : Path
        A file of `TokenWriter`.
    indices : array of shape (P,), optional
        The prompts of the file to show, in this order; default: all.
    """

    def __init__(self, path: Path, indices: NDArray[np.int64] | None = None) -> None:
        self.path = path
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        self._parts = [_Part(batch) for batch in table.to_batches()]
        self._starts = np.cumsum([0, *(batch.num_rows for batch in table.to_batches())])
        self._rows = np.arange(table.num_rows) if indices is None else indices

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> TokenizedPrompt:  # type: ignore[override]  # no slices: `subset` takes indices
        row = int(self._rows[index])
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._parts[part].prompt(row - int(self._starts[part]))

    def num_comparisons(self) -> NDArray[np.int64]:
        """Number of comparisons of each prompt, shape (P,)."""
        return self._by_prompt(_Part.num_comparisons)

    def longest(self) -> NDArray[np.int64]:
        """Number of tokens of each prompt with its longest response, shape (P,)."""
        return self._by_prompt(_Part.longest)

    def prompt_tokens(self) -> NDArray[np.int64]:
        """Number of tokens of each prompt, shape (P,)."""
        return self._by_prompt(_Part.prompt_tokens)

    def compared(self) -> Compared:
        """All comparisons, in order of the prompts, as arrays."""
        parts = [part.compared() for part in self._parts]
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [np.empty(0)] * 4
        every = np.concatenate([np.empty(0, np.int64), *(part.num_comparisons() for part in self._parts)])
        counts, starts = every[self._rows], (np.cumsum(every) - every)[self._rows]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        places = np.repeat(starts, counts) + within
        return Compared(*(column[places] for column in columns))

    def mean_weight(self) -> float:
        """Of all comparisons; 1 if there is none."""
        weight = self.compared().weight
        return float(weight.mean()) if len(weight) else 1.0

    def _by_prompt(self, numbers: Callable[[_Part], NDArray[np.int64]]) -> NDArray[np.int64]:
        return np.concatenate([np.empty(0, np.int64), *map(numbers, self._parts)])[self._rows]

    def subset(self, indices: NDArray[np.int64]) -> TokenizedSplit:
        """Some of these prompts, by their indices here, in the given order."""
        return TokenizedSplit(self.path, self._rows[indices])


class _Part:
    """Prompts that were written together, as arrays that lie in the file; scalars of Arrow would be slow."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        self._prompt_id, self._prompt_cut = columns["prompt_id"], columns["prompt_cut"]
        self._prompt_ids = _Lists(columns["prompt_ids"])
        self._responses = _Lists(columns["response_indices"])
        self._response_ids = _Lists(columns["response_ids"].values)
        self._attributes = columns["response_attributes"]
        self._rated = _starts(self._attributes), _starts(self._attributes.values)
        self._compared = _starts(columns["comparisons"])
        pairs = columns["comparisons"].values
        self._pairs = {field.name: _numbers(pairs.field(field.name)) for field in pairs.type}

    def num_comparisons(self) -> NDArray[np.int64]:
        """Number of comparisons of each prompt."""
        return np.diff(self._compared).astype(np.int64)

    def prompt_tokens(self) -> NDArray[np.int64]:
        """Number of tokens of each prompt."""
        return np.diff(self._prompt_ids.starts).astype(np.int64)

    def compared(self) -> Compared:
        """All comparisons."""
        num_tokens = np.diff(self._response_ids.starts)
        responses = np.repeat(self._responses.starts[:-1], self.num_comparisons())
        within = slice(int(self._compared[0]), int(self._compared[-1]))
        first, second = (num_tokens[responses + self._pairs[name][within]] for name in ("first", "second"))
        return Compared(first, second, self._pairs["preference"][within], self._pairs["weight"][within])

    def longest(self) -> NDArray[np.int64]:
        """Number of tokens of each prompt with its longest response."""
        responses = np.append(np.diff(self._response_ids.starts), 0)  # so that each start below is a place
        longest = np.maximum.reduceat(responses, self._responses.starts[:-1])
        has_responses = np.diff(self._responses.starts) > 0
        return self.prompt_tokens() + np.where(has_responses, longest, 0)

    def prompt(self, row: int) -> TokenizedPrompt:
        responses = self._responses.starts[row : row + 2].tolist()
        return TokenizedPrompt(
            prompt_id=self._prompt_id[row].as_py(),
            prompt_ids=self._prompt_ids[row],
            prompt_cut=self._prompt_cut[row].as_py(),
            response_indices=list(map(int, self._responses[row])),
            response_ids=[self._response_ids[place] for place in range(*responses)],
            response_attributes=self._attributes_of(row, responses[1] - responses[0]),
            comparisons=self._comparisons(*self._compared[row : row + 2].tolist()),
        )

    def _attributes_of(self, row: int, num_responses: int) -> list[dict[str, float]]:
        lists, entries = self._rated
        if entries[lists[row]] == entries[lists[row + 1]]:
            return [{} for _ in range(num_responses)]
        return self._attributes[row].as_py(maps_as_pydicts="strict")  # type: ignore[no-any-return]

    def _comparisons(self, start: int, end: int) -> list[Comparison]:
        rows = zip(*(values[start:end].tolist() for values in self._pairs.values()), strict=True)
        return [Comparison(**dict(zip(self._pairs, row, strict=True))) for row in rows]


class _Lists:
    """A column of lists of numbers."""

    def __init__(self, column: pa.ListArray) -> None:
        self.starts = _starts(column)
        self._values: NDArray[np.int32] = column.values.to_numpy()

    def __getitem__(self, row: int) -> Sequence[int]:
        return cast(Sequence[int], self._values[self.starts[row] : self.starts[row + 1]])


def _starts(column: pa.ListArray | pa.MapArray) -> NDArray[np.int32]:
    """Where each list begins among the values of all lists; the last one's end at the end."""
    return column.offsets.to_numpy()  # type: ignore[no-any-return]


def _numbers(values: pa.Array) -> NDArray[Any]:
    """Numbers as an array; None where they are missing."""
    return np.array(values.to_pylist(), dtype=object) if values.null_count else values.to_numpy()

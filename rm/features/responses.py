"""Responses with their prompts, read once for all features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rm.features import words
from rm.stats.clustered import Floats, Ints

Hashes = NDArray[np.uint64]

_ABBREVIATION = (
    r"\b(Dr|Mrs?|Ms|Prof|St|[Vv]s|[Ee]\.g|[Ii]\.e|[Cc]f)\."
    r"|\b([Ee]tc|[AaPp]\.[Mm]|[A-Z](?:\.[A-Z])+|[Aa]pprox|Jr|Sr|Inc|Ltd)\.(\)?\s+\p{Ll})"
)
"""With a full stop that ends no sentence: always, or before a small letter."""
_CODE_BLOCK = r"(?ms)^[ \t]*```[^`\n]*$.*?(?:^[ \t]*```[^\n]*|\z)"


@dataclass(frozen=True)
class Tokens:
    """The words of N texts, one after another, as numbers of a vocabulary."""

    number: Ints
    """(W,), in [0, V)."""
    row: Ints
    """(W,), text that the word is in, in [0, N); never falling."""
    num_texts: int
    num_words: int
    """V, the size of the vocabulary."""

    @cached_property
    def counts(self) -> Floats:
        """Words of each text, shape (N,)."""
        return np.bincount(self.row, minlength=self.num_texts).astype(np.float64)

    def sums(self, values: Floats) -> Floats:
        """Sum over the words of each text of a value that each word of the vocabulary has, shape (N,)."""
        return np.asarray(np.bincount(self.row, values[self.number], self.num_texts), dtype=np.float64)

    @cached_property
    def distinct(self) -> Tokens:
        """Each word once per text."""
        keys = _each_once(self.row * self.num_words + self.number)
        return Tokens(keys % self.num_words, keys // self.num_words, self.num_texts, self.num_words)

    def runs(self, length: int) -> tuple[Hashes, Ints]:
        """Each run of so many words within a text, as a hash, and the text that it is in."""
        if len(self.number) < length:
            return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
        last = len(self.number) - length + 1
        mixed = np.zeros(last, dtype=np.uint64)
        for start in range(length):
            mixed = (mixed ^ self.number[start : start + last].astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
        within = self.row[:last] == self.row[length - 1 :]
        return mixed[within], self.row[:last][within]


class Responses:
    """N responses, each with its prompt.

    Parameters
    ----------
    texts : sequence of str
    prompts : sequence of str
        The prompt of each response.
    """

    def __init__(self, texts: Sequence[str], prompts: Sequence[str]) -> None:
        if len(texts) != len(prompts):
            raise ValueError(f"expected as many prompts as responses, got {len(prompts)} and {len(texts)}")
        self._texts = tuple(texts)
        number: dict[str, int] = {}
        self.prompt_of: Ints = np.array([number.setdefault(prompt, len(number)) for prompt in prompts], dtype=np.int64)
        self.prompts = tuple(number)

    def __len__(self) -> int:
        return len(self._texts)

    @cached_property
    def raw(self) -> pa.Array:
        """The responses as they came, shape (N,)."""
        return pa.array(self._texts, pa.string())

    @cached_property
    def text(self) -> pa.Array:
        """The responses with line ends of one character, shape (N,)."""
        return pc.replace_substring(self.raw, "\r\n", "\n")

    @cached_property
    def lower(self) -> pa.Array:
        """The responses in lower case, with straight apostrophes."""
        return pc.replace_substring(pc.utf8_lower(self.text), "\u2019", "'")

    @cached_property
    def outside_code(self) -> pa.Array:
        """The responses without their blocks of code; one that is not closed goes to the end."""
        return pc.replace_substring_regex(self.text, _CODE_BLOCK, "")

    @cached_property
    def unabbreviated(self) -> pa.Array:
        """The responses without the full stops of abbreviations within sentences."""
        return pc.replace_substring_regex(self.text, _ABBREVIATION, r"\1\2\3")

    @cached_property
    def characters(self) -> Floats:
        """Code points of each response, shape (N,)."""
        return np.asarray(pc.utf8_length(self.text), dtype=np.float64)

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Words of all responses and prompts, in lower case."""
        return tuple(self._read[0])

    @cached_property
    def tokens(self) -> Tokens:
        """The words of the responses."""
        return self._read[1]

    @cached_property
    def prompt_tokens(self) -> Tokens:
        """The words of the distinct prompts."""
        return self._read[2]

    @cached_property
    def _read(self) -> tuple[words.Numbers, Tokens, Tokens]:
        numbers = words.Numbers()
        found = [words.read(texts, numbers) for texts in (self._texts, self.prompts)]
        sizes = (len(self._texts), len(self.prompts))
        tokens = [Tokens(*each, size, len(numbers)) for each, size in zip(found, sizes, strict=True)]
        return numbers, tokens[0], tokens[1]

    @cached_property
    def from_prompt(self) -> Floats:
        """Distinct words of each response that its prompt has too, shape (N,)."""
        own, asked = self.tokens.distinct, self.prompt_tokens.distinct
        keys = self.prompt_of[own.row] * own.num_words + own.number
        shared = is_among(keys, asked.row * own.num_words + asked.number)
        return np.bincount(own.row[shared], minlength=len(self)).astype(np.float64)

    def blocks(self, size: int) -> Iterator[tuple[Ints, Responses]]:
        """Rows and their responses, at most so many at a time; those to one prompt are together."""
        order = np.argsort(self.prompt_of, kind="stable")
        for start in range(0, len(self), size):
            rows = order[start : start + size]
            texts = [self._texts[row] for row in rows.tolist()]
            yield rows, Responses(texts, [self.prompts[number] for number in self.prompt_of[rows].tolist()])

    def occurrences(self, pattern: str, *, lower: bool = False) -> Floats:
        """How often a regular expression (RE2) is found in each response, shape (N,)."""
        return count(self.lower if lower else self.text, pattern)

    def occurrences_of_words(self, listed: frozenset[str]) -> Floats:
        """How many words of each response are in a list, shape (N,)."""
        return self.count_listed(self.tokens, listed)

    def count_listed(self, tokens: Tokens, listed: frozenset[str]) -> Floats:
        """How many words of each text are in a list; the texts are the responses or the distinct prompts."""
        numbers = self._read[0]
        wanted = np.zeros(tokens.num_words, dtype=bool)
        wanted[[numbers[word] for word in listed if word in numbers]] = True
        return np.bincount(tokens.row[wanted[tokens.number]], minlength=tokens.num_texts).astype(np.float64)


def count(texts: pa.Array, pattern: str) -> Floats:
    """How often a regular expression (RE2) is found in each text, shape (N,).

    After each match the search begins anew, as if the text began there: a pattern that begins with ``^`` has to match
    the whole line, or it is found in the rest of the line again.
    """
    return np.asarray(pc.count_substring_regex(texts, pattern), dtype=np.float64)


def is_among(keys: NDArray[Any], known: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each key is one of the known ones, which rise."""
    if not len(known):
        return np.zeros(len(keys), dtype=bool)
    found: NDArray[np.bool_] = known.take(np.searchsorted(known, keys), mode="clip") == keys
    return found


def _each_once(keys: Ints) -> Ints:
    keys = np.sort(keys)  # much faster than np.unique
    first = np.ones(len(keys), dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    return keys[first]

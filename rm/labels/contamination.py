"""Prompts that are where they should not be: held-out ones in training, and a benchmark's in the annotations."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rm.benchmarks.catalog import Benchmark, benchmark_of
from rm.data import sources
from rm.data.formats.catalog import read_row
from rm.data.formats.chosen_rejected import prompt_of
from rm.data.formats.row import RowError
from rm.data.near_duplicates import clusters
from rm.data.preferences import Message, prompt_text
from rm.data.source_row import Row
from rm.errors import DataError
from rm.features import words
from rm.labels.pairs import Prompts
from rm.labels.records import BenchmarkRow

_GRAM = 8
"""Words in a row that are looked for; a prompt with fewer is looked for as a whole."""
_MIN_WORDS = 5
_FOUND = 0.7
"""Share of a benchmark prompt's runs of words that one of the annotations' prompts must have."""
_TEMPLATE = 20
"""A run of words that more prompts of the benchmark have belongs to a template, and is not looked for."""
_EXAMPLES = 5
_GIVEN = frozenset({"system", "tools"})
_NOT_SPOKEN = _GIVEN | {"result_of"}
_PROMPT_KEYS = ("prompt", "question", "instruction", "input", "query")


def near_duplicates(prompts: Prompts) -> tuple[int, int, tuple[tuple[str, str], ...]]:
    """Held-out prompts that have a near-duplicate among the training prompts.

    Returns
    -------
    int
        How many.
    int
        Number of held-out prompts.
    tuple of (str, str)
        Some of them, each with the training prompt.

    Notes
    -----
    Near-duplicates as `rm.data.near_duplicates.clusters` finds them, with system messages and tools that are
    near-duplicates too: equal words of a user ask for something else where the task stands in the system message. So
    the same words with and without a system message do not count.
    """
    heldout = [identifier for identifier, split in prompts.split.items() if split == "heldout"]
    asked = {prompts.cluster[identifier] for identifier in heldout}
    train = [one for one, split in prompts.split.items() if split == "train" and prompts.cluster[one] in asked]
    given = _given(prompts, [*heldout, *train])
    known: dict[tuple[int, int], str] = {}
    for identifier in train:
        known.setdefault((prompts.cluster[identifier], given[identifier]), identifier)
    beside = [(one, known.get((prompts.cluster[one], given[one]))) for one in heldout]
    found = [(one, other) for one, other in beside if other is not None]
    texts = [(prompt_text(prompts.texts[one]), prompt_text(prompts.texts[other])) for one, other in found[:_EXAMPLES]]
    return len(found), len(heldout), tuple(texts)


def _given(prompts: Prompts, identifiers: Sequence[str]) -> dict[str, int]:
    """Each prompt's number by its system messages and tools; near-duplicates have one number."""
    texts = [
        "\n\n".join(message.content for message in prompts.texts[identifier] if message.role in _GIVEN)
        for identifier in identifiers
    ]
    # A user's message, since those of systems are not compared there.
    numbers = clusters([(Message("user", text),) for text in texts])
    return dict(zip(identifiers, numbers.tolist(), strict=True))


def benchmarks(files: Mapping[str, str], prompts: Prompts) -> tuple[BenchmarkRow, ...]:
    """How much of each benchmark is in the annotations.

    Parameters
    ----------
    files : mapping of str to str
        Name of a benchmark to its file.
    prompts : Prompts

    Raises
    ------
    DataError
        If a file cannot be read, or a row has no prompt.

    Notes
    -----
    A prompt of a benchmark is found in one of the annotations' prompts if that has at least 0.7 of its runs of eight
    words; case and marks do not count, nor do system messages and tools. So a question is found within a longer
    conversation and behind a template. A prompt of five to seven words must be there as a whole. A shorter one is not
    looked for, as it may well be there by chance, nor one of which each run of words belongs to a template.
    """
    return tuple(_row(name, _Sought(read_prompts(Path(path))), prompts) for name, path in files.items())


def _row(name: str, sought: _Sought, prompts: Prompts) -> BenchmarkRow:
    found: dict[str, set[int]] = {"train": set(), "heldout": set(), "validation": set()}
    for identifier, prompt in prompts.texts.items():
        found[prompts.split[identifier]] |= sought.within(prompt)
    return BenchmarkRow(
        benchmark=name,
        num_prompts=sought.num_prompts,
        num_skipped=sought.num_skipped,
        num_train=len(found["train"]),
        num_heldout=len(found["heldout"]),
        examples=tuple(sought.texts[at] for at in sorted(found["train"])[:_EXAMPLES]),
    )


class _Sought:
    """The prompts of a benchmark, each once, by their runs of words."""

    def __init__(self, prompts: Iterable[Sequence[Message]]) -> None:
        self.texts = list(dict.fromkeys(_spoken(prompt) for prompt in prompts))
        self.num_prompts = len(self.texts)
        split = [words.split(text) for text in self.texts]
        holders: dict[str, set[int]] = defaultdict(set)
        for number, one in enumerate(split):
            for gram in _grams(one) if len(one) >= _MIN_WORDS else ():
                holders[gram].add(number)
        self._holders = {gram: numbers for gram, numbers in holders.items() if len(numbers) <= _TEMPLATE}
        self._sizes: Counter[int] = Counter(number for numbers in self._holders.values() for number in numbers)
        self.num_skipped = self.num_prompts - len(self._sizes)
        self._lengths = sorted({len(gram.split()) for gram in self._holders})

    def within(self, prompt: Sequence[Message]) -> set[int]:
        """Numbers of the benchmark's prompts that are in a prompt."""
        split = words.split(_spoken(prompt))
        grams = {gram for length in self._lengths for gram in _runs(split, length)}
        hits = Counter(number for gram in grams & self._holders.keys() for number in self._holders[gram])
        return {number for number, count in hits.items() if count >= _FOUND * self._sizes[number]}


def _spoken(prompt: Sequence[Message]) -> str:
    return "\n\n".join(message.content for message in prompt if message.role not in _NOT_SPOKEN)


def _grams(found: Sequence[str]) -> Iterable[str]:
    return _runs(found, min(_GRAM, len(found)))


def _runs(found: Sequence[str], length: int) -> set[str]:
    return {" ".join(found[start : start + length]) for start in range(len(found) - length + 1)}


def read_prompts(path: Path) -> list[tuple[Message, ...]]:
    """The prompts of a benchmark's file: of a known benchmark, of annotations, or in a column of that name.

    Raises
    ------
    DataError
        If it cannot be read, has no rows, or a row has no prompt.
    """
    prompts = []
    benchmark: Benchmark | None = None
    for row in sources.open_file(path).rows:
        benchmark = benchmark or benchmark_of(row.value)
        try:
            prompts += _prompts_of(row, benchmark, path.name.partition(".")[0])
        except RowError as error:
            raise DataError(f"{path}: row {row.line}: {error}") from None
    if not prompts:
        raise DataError(f"{path}: expected rows with prompts, got none")
    return prompts


def _prompts_of(row: Row, benchmark: Benchmark | None, stem: str) -> list[tuple[Message, ...]]:
    value: Any = row.parsed()
    if benchmark is not None and benchmark.matches(value):
        return [benchmark.read(value, stem).prompt]
    key = next((key for key in _PROMPT_KEYS if isinstance(value, dict) and value.get(key)), None)
    if key is not None:
        return [prompt_of(value, key, None if key == "input" else "input")]
    return [judgement.prompt for judgement in read_row(value).judgements]

"""The prompts and pairs of a snapshot, as they are trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from rm.data import near_duplicates
from rm.data.manifests import DatasetManifest
from rm.data.preferences import Comparison, Message, PromptGroup, Split, prompt_text, response_id
from rm.data.prompt_groups import batches, each_group
from rm.stats.clustered import Floats, Ints

MOST_COMPARED = 250_000
"""Prompts that are compared with each other; those of more would not fit into memory. Held-out ones come first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """All prompts of a snapshot."""

    texts: Mapping[str, tuple[Message, ...]]
    """By id."""
    split: Mapping[str, Split]
    """By id."""
    cluster: Mapping[str, int]
    """By id; near-duplicates have one number."""
    num_alone: int
    """Training prompts beyond `MOST_COMPARED`, which were not compared with others."""

    @classmethod
    def read(cls, dataset: DatasetManifest) -> Prompts:
        """Read the prompts, and find near-duplicates."""
        texts: dict[str, tuple[Message, ...]] = {}
        split: dict[str, Split] = {}
        for batch in batches(dataset, 4096, ["prompt_id", "split", "prompt"]):
            for row in batch.to_pylist():
                texts[row["prompt_id"]] = tuple(Message(turn["role"], turn["content"]) for turn in row["prompt"])
                split[row["prompt_id"]] = row["split"]
        in_order = sorted(texts, key=lambda one: split[one] == "train")  # a hash orders those of a split
        compared = in_order[:MOST_COMPARED]
        numbers = near_duplicates.clusters([texts[one] for one in compared]).tolist()
        cluster = dict(zip(compared, numbers, strict=True))
        for one in in_order[MOST_COMPARED:]:
            cluster[one] = len(cluster)
        return cls(texts=texts, split=split, cluster=cluster, num_alone=len(in_order) - len(compared))


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPairs:
    """B pairs in the order of the snapshot, which a digest of the responses decides and no label."""

    prompts: tuple[str, ...]
    first: tuple[str, ...]
    second: tuple[str, ...]
    preference: Floats
    """(B,), share of votes for the first."""
    cluster: Ints
    """(B,), number of the prompt among near-duplicates, in [0, num_clusters)."""
    num_clusters: int
    is_new: Floats
    """(B,), 1 where the last snapshot did not have the pair, else 0; NaN without one."""

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def log_length(self) -> Floats:
        """Log of the first response's characters minus that of the second's, shape (B,)."""
        sizes = [np.array([len(text) for text in side], dtype=np.float64) for side in (self.first, self.second)]
        difference: Floats = np.log1p(sizes[0]) - np.log1p(sizes[1])
        return difference

    @property
    def has_own_texts(self) -> NDArray[np.bool_]:
        """Whether both responses of each pair answer no other cluster of prompts, shape (B,)."""
        answered: dict[str, int] = {}
        for text, cluster in zip(self.first + self.second, np.tile(self.cluster, 2).tolist(), strict=True):
            answered[text] = cluster if answered.get(text, cluster) == cluster else -1
        sides = zip(self.first, self.second, strict=True)
        return np.array([min(answered[one], answered[other]) >= 0 for one, other in sides], dtype=np.bool_)

    @property
    def decided(self) -> Ints:
        """Places of the pairs with a majority."""
        return np.flatnonzero(self.preference != 0.5)

    def sides(self, rows: Ints) -> tuple[list[str], list[str]]:
        """Chosen and rejected responses of some decided pairs."""
        first_wins = (self.preference > 0.5).tolist()
        both = [(self.first[at], self.second[at])[:: 1 if first_wins[at] else -1] for at in rows.tolist()]
        return [one for one, _ in both], [other for _, other in both]


def pair_key(prompt_id: str, first: str, second: str) -> bytes:
    """Identifies a pair of responses, given by their ids, in whatever order: 16 bytes, as one of millions is kept."""
    return sha256(f"{prompt_id}{min(first, second)}{max(first, second)}".encode()).digest()[:16]


def keys_of(group: PromptGroup) -> list[bytes]:
    """The key of each comparison of a prompt."""
    ids = [response_id(text) for text in group.responses]
    return [pair_key(group.prompt_id, ids[pair.first], ids[pair.second]) for pair in group.comparisons]


def known_pairs(dataset: DatasetManifest | None) -> frozenset[bytes] | None:
    """The keys of all training pairs of a snapshot; None without one."""
    if dataset is None:
        return None
    return frozenset(key for group in each_group(dataset, "train") for key in keys_of(group))


def read_pairs(
    dataset: DatasetManifest, split: Split, prompts: Prompts, known: frozenset[bytes] | None, most: int
) -> LabelledPairs:
    """The first pairs of a split: prompts are in the order of a hash, so they are a random sample.

    Parameters
    ----------
    dataset : DatasetManifest
    split : Split
    prompts : Prompts
    known : frozenset of bytes or None
        Keys of the last snapshot's pairs.
    most : int
        Pairs that are read at most.
    """
    return _collected(_within(_each_pair(dataset, split, known), most), prompts)


def read_old_and_new(dataset: DatasetManifest, prompts: Prompts, known: frozenset[bytes], most: int) -> LabelledPairs:
    """Training pairs of which the last snapshot had at most so many, and at most so many that it did not have."""
    left = {0.0: most, 1.0: most}

    def wanted(pair: _Pair) -> bool:
        left[pair.is_new] -= 1
        return left[pair.is_new] >= 0

    return _collected(filter(wanted, _each_pair(dataset, "train", known)), prompts)


@dataclass(frozen=True, slots=True)
class _Pair:
    group: PromptGroup
    comparison: Comparison
    is_new: float


def _each_pair(dataset: DatasetManifest, split: Split, known: frozenset[bytes] | None) -> Iterator[_Pair]:
    for group in each_group(dataset, split):
        keys = keys_of(group) if known is not None else [b""] * len(group.comparisons)
        for key, comparison in zip(keys, group.comparisons, strict=True):
            yield _Pair(group, comparison, float("nan") if known is None else float(key not in known))


def _within(pairs: Iterator[_Pair], most: int) -> Iterator[_Pair]:
    for _, pair in zip(range(most), pairs, strict=False):
        yield pair


def _collected(pairs: Iterable[_Pair], prompts: Prompts) -> LabelledPairs:
    rows = list(pairs)
    numbers = [prompts.cluster[row.group.prompt_id] for row in rows]
    cluster = np.unique(np.array(numbers, dtype=np.int64), return_inverse=True)[1].astype(np.int64)
    return LabelledPairs(
        prompts=tuple(prompt_text(row.group.prompt) for row in rows),
        first=tuple(row.group.responses[row.comparison.first] for row in rows),
        second=tuple(row.group.responses[row.comparison.second] for row in rows),
        preference=np.array([row.comparison.preference for row in rows], dtype=np.float64),
        cluster=cluster,
        num_clusters=int(cluster.max(initial=-1)) + 1,
        is_new=np.array([row.is_new for row in rows], dtype=np.float64),
    )

"""Who voted how on which pair: the judgements of a table, which the snapshot merges."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from rm.data import annotation_table, snapshots
from rm.data.annotation_table import TableVersion
from rm.data.manifests import DatasetManifest
from rm.data.preferences import Message, prompt_id, response_id
from rm.labels.pairs import Prompts, pair_key
from rm.stats.clustered import Floats, Ints

_COLUMNS = ["prompt", "first", "second", "preference", "annotator", "source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """V judgements, or the votes that they are merged into."""

    pair: Ints
    """(V,), number of the pair, in [0, P)."""
    cluster: Ints
    """(V,), number of the prompt among near-duplicates, in [0, num_clusters)."""
    num_clusters: int
    preference: Floats
    """(V,), for the response of the pair whose id is smaller."""
    for_longer: Floats
    """(V,), for the longer response; NaN where both have one length."""
    for_first: Floats
    """(V,), for the response that the source has first."""
    voter: Ints
    """(V,), number of the annotator; where none is named, each judgement has a number of its own, below 0."""
    annotators: tuple[str, ...]
    source: Ints
    """(V,), number of the source."""
    sources: tuple[str, ...]
    is_new: Floats
    """(V,), 1 where the last snapshot did not have the pair, else 0; NaN without one, and outside of training."""

    def __len__(self) -> int:
        return len(self.pair)

    @property
    def num_pairs(self) -> int:
        """Different pairs."""
        return int(self.pair.max(initial=-1)) + 1

    def merged(self) -> tuple[Votes, Ints]:
        """One vote for each annotator and pair, the mean of what they said, as the snapshot has it.

        Returns
        -------
        Votes
            Their source is that of the first judgement.
        array of shape (V,)
            The vote of each judgement.
        """
        known, first, place = np.unique(
            np.column_stack([self.pair, self.voter]), axis=0, return_index=True, return_inverse=True
        )
        place = place.reshape(-1).astype(np.int64)
        count = np.bincount(place, minlength=len(known))
        values = (self.preference, self.for_longer, self.for_first)
        smaller, longer, shown = (np.bincount(place, each, len(known)) / count for each in values)
        votes = replace(
            self,
            pair=known[:, 0],
            cluster=self.cluster[first],
            preference=smaller,
            for_longer=longer,
            for_first=shown,
            voter=known[:, 1],
            source=self.source[first],
            is_new=self.is_new[first],
        )
        return votes, place


def read_votes(
    table: TableVersion, dataset: DatasetManifest, prompts: Prompts, known: frozenset[bytes] | None
) -> Votes:
    """The judgements of a table that its snapshot was made from, without those that its recipe leaves out.

    Parameters
    ----------
    table : TableVersion
        The one that the snapshot was made from.
    dataset : DatasetManifest
    prompts : Prompts
        Of the snapshot.
    known : frozenset of bytes or None
        Keys of the last snapshot's training pairs.
    """
    rows = _Rows(prompts, known)
    for batch in annotation_table.columns_of(table, _COLUMNS, snapshots.read_excluded(dataset)):
        rows.add(annotation_table.prompts_of(batch), batch.to_pydict())
    clusters = np.frombuffer(rows.clusters, dtype=np.int64)
    cluster = np.unique(clusters, return_inverse=True)[1].astype(np.int64)
    pair, voter, source = np.frombuffer(rows.numbers, dtype=np.int64).reshape(-1, 3).T
    smaller, longer, first = np.frombuffer(rows.values, dtype=np.float64).reshape(-1, 3).T
    return Votes(
        pair=pair,
        cluster=cluster[pair],
        num_clusters=int(cluster.max(initial=-1)) + 1,
        preference=smaller,
        for_longer=longer,
        for_first=first,
        voter=np.where(voter < 0, -1 - np.arange(len(voter)), voter),
        annotators=tuple(rows.annotators),
        source=source,
        sources=tuple(rows.sources),
        is_new=np.frombuffer(rows.is_new, dtype=np.float64)[pair],
    )


class _Rows:
    """Judgements as numbers, one after another; arrays, as a list of numbers takes five times as much."""

    def __init__(self, prompts: Prompts, known: frozenset[bytes] | None) -> None:
        self._prompts, self._known = prompts, known
        self.pairs: dict[bytes, int] = {}
        self.annotators: dict[str, int] = {}
        self.sources: dict[str, int] = {}
        self.clusters = array("q")
        """Of each pair."""
        self.is_new = array("d")
        """Of each pair."""
        self.numbers = array("q")
        """Pair, annotator and source of each judgement."""
        self.values = array("d")
        """Preferences for the smaller id, the longer response and the first one, of each judgement."""

    def add(self, prompts: Iterable[tuple[Message, ...]], columns: Mapping[str, list[object]]) -> None:
        """Add the judgements of a batch."""
        given = (columns[name] for name in _COLUMNS[1:])
        for prompt, first, second, preference, annotator, source in zip(prompts, *given, strict=True):
            asked, one, other = prompt_id(prompt), response_id(str(first)), response_id(str(second))
            key = pair_key(asked, one, other)
            if (pair := self.pairs.setdefault(key, len(self.pairs))) == len(self.clusters):
                self.clusters.append(self._prompts.cluster[asked])
                counts = self._known is not None and self._prompts.split[asked] == "train"
                self.is_new.append(float(key not in (self._known or ())) if counts else float("nan"))
            who = -1 if annotator is None else self.annotators.setdefault(str(annotator), len(self.annotators))
            self.numbers.extend((pair, who, self.sources.setdefault(str(source), len(self.sources))))
            value = float(str(preference))
            longer = len(str(first)) - len(str(second))
            self.values.extend(
                (
                    value if one < other else 1 - value,
                    float("nan") if not longer else value if longer > 0 else 1 - value,
                    value,
                )
            )

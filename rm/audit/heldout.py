"""Held-out responses with their rewards, and the pairs that annotators decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rm.audit import parts
from rm.audit.parts import Part
from rm.data import near_duplicates, prompt_groups
from rm.data.conversation import turns
from rm.data.manifests import DatasetManifest
from rm.data.preferences import Comparison, Message, PromptGroup, prompt_text
from rm.errors import AuditError, NothingToAudit
from rm.score.manifests import ScoresManifest
from rm.stats import clustered
from rm.stats.clustered import Floats, Ints, Statistic

Bools = NDArray[np.bool_]
LengthUnit = Literal["tokens", "characters"]

PAIRS_SCHEMA = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("prompt", pa.string()),
        ("chosen", pa.string()),
        ("rejected", pa.string()),
        ("preference", pa.float64()),
        ("num_judgements", pa.int32()),
        ("num_undecided", pa.int32()),
        ("sampling_probability", pa.float64()),
        ("reward_chosen", pa.float64()),
        ("reward_rejected", pa.float64()),
        ("length_chosen", pa.int32()),
        ("length_rejected", pa.int32()),
        ("length_unit", pa.string()),
        ("num_turns", pa.int32()),
        ("prompt_characters", pa.int32()),
        ("domain", pa.string()),
        ("source", pa.string()),
    ]
)
"""One row per pair, in the order of `ScoredPairs`. ``num_undecided`` votes are ties or shares; ``num_turns`` counts the
prompt's messages, a system message too, ``prompt_characters`` the code points of all of them; domain, source and
sampling probability are null where unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredResponses:
    """N responses, each once."""

    prompt: Ints
    """(N,), number of the prompt, in [0, P)."""
    cluster: Ints
    """(N,), number of the prompt's cluster, in [0, num_clusters): near-duplicate prompts have one, since what is
    measured on them is not independent."""
    reward: Floats
    length: Floats
    """(N,), in the unit that `Heldout.length_unit` names."""
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPairs:
    """B pairs in which a majority prefers one response; that one is the chosen response."""

    prompt: Ints
    """(B,), number of the prompt, as in `ScoredResponses`."""
    cluster: Ints
    """(B,), number of the prompt's cluster, as in `ScoredResponses`."""
    reward_chosen: Floats
    reward_rejected: Floats
    length_chosen: Floats
    """(B,), in the unit that `Heldout.length_unit` names."""
    length_rejected: Floats
    preference: Floats
    """(B,), share of votes for the chosen response, above 0.5."""
    sampling_probability: Floats | None = None
    """(B,), probability with which each pair was sampled, in (0, 1]; None: not known."""
    prompts: tuple[str, ...]
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    own: Mapping[str, Floats] = field(default_factory=dict)
    """(B,), features that came with the rewards, by name: chosen minus rejected."""

    @property
    def weight(self) -> Floats:
        """(B,), one over the sampling probability, with mean 1; 1 where probabilities are not known."""
        if self.sampling_probability is None:
            return np.ones(len(self.reward_chosen))
        relative = self.sampling_probability.min() / self.sampling_probability  # equal ones give exactly 1
        weight: Floats = relative / relative.mean()
        return weight

    @property
    def num_effective(self) -> float:
        """As many pairs of one weight would have means as precise: ``(sum w)^2 / sum w^2`` (Kish 1965)."""
        return float(self.weight.sum() ** 2 / (self.weight**2).sum())

    def mean(self, values: Floats, num_clusters: int, where: Bools | None = None) -> Statistic:
        """Weighted mean of one value per pair, or of those where ``where`` is true; see `rm.stats.clustered.mean`."""
        return clustered.mean(values, self.cluster, num_clusters, where, self.weight)

    @property
    def margin(self) -> Floats:
        """Reward of the chosen response minus the rejected one's."""
        return self.reward_chosen - self.reward_rejected

    @property
    def correct(self) -> Floats:
        """1 where the chosen response has the higher reward, 0 where it has the lower, 0.5 where they tie."""
        return clustered.win_indicator(self.margin)

    @property
    def length_difference(self) -> Floats:
        """Length of the chosen response minus the rejected one's."""
        return self.length_chosen - self.length_rejected

    @property
    def log_length_difference(self) -> Floats:
        """Log of the chosen response's characters minus that of the rejected one's; the same for every model."""
        sizes = [np.array([len(text) for text in side], dtype=np.float64) for side in (self.chosen, self.rejected)]
        return np.log1p(sizes[0]) - np.log1p(sizes[1])

    @property
    def keys(self) -> list[tuple[int, str, str]]:
        """Number of the prompt, chosen and rejected text: they identify a pair when two models are compared."""
        return list(zip(self.prompt.tolist(), self.chosen, self.rejected, strict=True))

    @property
    def cluster_texts(self) -> list[str]:
        """For each pair one text of its cluster, the same for all of them: what is split by it splits no cluster."""
        first: dict[int, str] = {}
        for number, text in zip(self.cluster.tolist(), self.prompts, strict=True):
            first[number] = min(first.get(number, text), text)
        return [first[number] for number in self.cluster.tolist()]

    def take(self, indices: Ints) -> ScoredPairs:
        """The pairs at these indices, in this order."""
        taken: dict[str, Any] = {"own": {name: values[indices] for name, values in self.own.items()}}
        for each in fields(self):
            if each.name in taken:
                continue
            value = getattr(self, each.name)
            if isinstance(value, tuple):
                taken[each.name] = tuple(value[index] for index in indices)
            else:
                taken[each.name] = None if value is None else value[indices]
        return ScoredPairs(**taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heldout:
    """Everything that was scored on the held-out prompts."""

    num_clusters: int
    """Number of prompts that are not near-duplicates of one another."""
    num_label_ties: int
    num_unscored: int
    """Responses without a reward, left out: the model had no room for them."""
    length_unit: LengthUnit
    prompt_ids: tuple[str, ...]
    """(P,), one per prompt."""
    clusters: Ints
    """(P,), cluster of each prompt."""
    prompts: tuple[tuple[Message, ...], ...]
    """(P,), one per prompt, as a scorer reads them."""
    responses: ScoredResponses
    pairs: ScoredPairs
    table: pa.Table
    """The pairs, with `PAIRS_SCHEMA`."""


def join_scores(dataset: DatasetManifest, scores: ScoresManifest, part: Part = "whole") -> Heldout:
    """Join the rewards of held-out responses with their texts and labels.

    Parameters
    ----------
    dataset, scores : manifests
    part : str
        The part of the held-out prompts that is wanted.

    Raises
    ------
    AuditError
        If no pair with a majority was scored, a reward is not finite, or a scored prompt is not held out.
    """
    table = pq.read_table(scores.path / ScoresManifest.SCORES_NAME)
    found = np.asarray(table["reward"], dtype=np.float64)
    if not np.isfinite(found).all():
        raise AuditError(f"{scores.path}: {int((~np.isfinite(found)).sum())} rewards are not finite")
    groups = prompt_groups.read_groups(dataset, "heldout")
    index_of = {group.prompt_id: index for index, group in enumerate(groups)}
    if strangers := set(table["prompt_id"].to_pylist()) - set(index_of):
        raise AuditError(f"{scores.path}: scores of {len(strangers)} prompts that {dataset.path} does not hold out")
    rewards = [np.full(len(group.responses), np.nan) for group in groups]  # a response that was too long has none
    num_tokens = [np.zeros(len(group.responses), dtype=np.int64) for group in groups]
    for row in table.select(["prompt_id", "response", "reward", "num_tokens"]).to_pylist():
        index, response = index_of[row["prompt_id"]], row["response"]
        rewards[index][response], num_tokens[index][response] = row["reward"], row["num_tokens"]
    indices, clusters = parts.members(groups, part)
    return build_heldout(
        [groups[index] for index in indices],
        [rewards[index] for index in indices],
        [num_tokens[index] for index in indices],
        str(scores.path),
        clusters=clusters,
    )


def build_heldout(
    groups: Sequence[PromptGroup],
    rewards: Sequence[Floats],
    num_tokens: Sequence[Ints] | None,
    name: str,
    own: Mapping[str, Sequence[Floats]] | None = None,
    clusters: Ints | None = None,
) -> Heldout:
    """Join prompts, responses and labels with rewards from any source.

    Parameters
    ----------
    groups : sequence of PromptGroup, P of them
    rewards : sequence of arrays of shape (K,)
        Rewards of each group's responses. A response with NaN has none; it is left out with its pairs, and counted.
    num_tokens : sequence of arrays of shape (K,), or None
        Length of each response in the model's tokens. If None, lengths are in characters (Unicode code points).
    name : str
        Where the rewards come from, for error messages.
    own : mapping of name to sequence of arrays of shape (K,), optional
        Features that came with the rewards, of each group's responses.
    clusters : array of shape (P,), optional
        Cluster of each prompt, numbered from 0. Default: near-duplicate prompts are one (`rm.data.near_duplicates`).

    Raises
    ------
    AuditError
        If a reward is infinite, no pair has a majority and two rewards, or only some pairs have a sampling probability.
    """
    if num_infinite := sum(int(np.isinf(values).sum()) for values in rewards):
        raise AuditError(f"{name}: {num_infinite} rewards are infinite")
    lengths = num_tokens or [np.array([len(text) for text in group.responses], dtype=np.int64) for group in groups]
    unit: LengthUnit = "characters" if num_tokens is None else "tokens"
    rows, prompts = [], []
    for prompt, (group, reward, length) in enumerate(zip(groups, rewards, lengths, strict=True)):
        found = [{**row, "length_unit": unit} for row in _pair_rows(group, reward, length)]
        rows += found
        prompts += [prompt] * len(found)
    margins = np.array([row["reward_chosen"] - row["reward_rejected"] for row in rows])
    if not np.isfinite(margins**2).all():
        raise AuditError(f"{name}: rewards are so large that their differences, or the squares of these, are infinite")
    if not rows:
        raise NothingToAudit(f"{name}: none of the held-out pairs has a majority and two rewards")
    _check_probabilities(rows, name)
    clusters = near_duplicates.clusters([group.prompt for group in groups]) if clusters is None else clusters
    return Heldout(
        num_clusters=int(clusters.max()) + 1,
        num_label_ties=sum(pair.preference == 0.5 for group in groups for pair in group.comparisons),
        num_unscored=sum(int(np.isnan(values).sum()) for values in rewards),
        length_unit=unit,
        prompt_ids=tuple(group.prompt_id for group in groups),
        clusters=clusters,
        prompts=tuple(group.prompt for group in groups),
        responses=_responses(groups, rewards, lengths, clusters),
        pairs=_pairs(rows, np.array(prompts, dtype=np.int64), clusters, _own_differences(groups, rewards, own or {})),
        table=pa.Table.from_pylist(rows, schema=PAIRS_SCHEMA),
    )


def _check_probabilities(rows: Sequence[dict[str, Any]], name: str) -> None:
    without = [row for row in rows if row["sampling_probability"] is None]
    if 0 < len(without) < len(rows):
        raise AuditError(
            f"{name}: sampling_probability: expected it of every pair or of none, got it of "
            f"{len(rows) - len(without)} of {len(rows)} pairs; the first without has the prompt "
            f"{without[0]['prompt']!r:.60}"
        )


def _responses(
    groups: Sequence[PromptGroup], rewards: Sequence[Floats], lengths: Sequence[Ints], clusters: Ints
) -> ScoredResponses:
    reward = np.concatenate(rewards)
    scored = ~np.isnan(reward)
    texts = [text for group in groups for text in group.responses]
    prompt = np.repeat(np.arange(len(groups)), [len(group.responses) for group in groups])[scored]
    return ScoredResponses(
        prompt=prompt,
        cluster=clusters[prompt],
        reward=reward[scored],
        length=np.concatenate(lengths).astype(np.float64)[scored],
        texts=tuple(texts[index] for index in np.flatnonzero(scored)),
    )


def _pair_rows(group: PromptGroup, rewards: Floats, lengths: Ints) -> Iterator[dict[str, Any]]:
    """Rows of `PAIRS_SCHEMA` without the unit."""
    shared = {
        "prompt_id": group.prompt_id,
        "prompt": prompt_text(group.prompt),
        "num_turns": len(turns(group.prompt)),
        "prompt_characters": sum(len(content) for _, content in group.prompt),
        "domain": group.domain,
        "source": group.source,
    }
    for pair, chosen, rejected in _decided(group, rewards):
        yield {
            **shared,
            "chosen": group.responses[chosen],
            "rejected": group.responses[rejected],
            "preference": max(pair.preference, 1 - pair.preference),
            "num_judgements": pair.num_judgements,
            "num_undecided": pair.num_undecided,
            "sampling_probability": pair.sampling_probability,
            "reward_chosen": float(rewards[chosen]),
            "reward_rejected": float(rewards[rejected]),
            "length_chosen": int(lengths[chosen]),
            "length_rejected": int(lengths[rejected]),
        }


def _decided(group: PromptGroup, rewards: Floats) -> Iterator[tuple[Comparison, int, int]]:
    """Each pair with a majority and two rewards, with the indices of its chosen and its rejected response."""
    for pair in group.comparisons:
        chosen, rejected = (pair.first, pair.second) if pair.preference > 0.5 else (pair.second, pair.first)
        if pair.preference == 0.5 or np.isnan(rewards[[chosen, rejected]]).any():
            continue  # a tie has no chosen response; a response that was too long has no reward
        yield pair, chosen, rejected


def _own_differences(
    groups: Sequence[PromptGroup], rewards: Sequence[Floats], own: Mapping[str, Sequence[Floats]]
) -> dict[str, Floats]:
    """Each feature of the chosen response minus that of the rejected one, in the order of the pairs."""
    return {
        name: np.array(
            [
                one[chosen] - one[rejected]
                for group, reward, one in zip(groups, rewards, values, strict=True)
                for _, chosen, rejected in _decided(group, reward)
            ],
            dtype=np.float64,
        )
        for name, values in own.items()
    }


def _pairs(rows: Sequence[dict[str, Any]], prompt: Ints, clusters: Ints, own: Mapping[str, Floats]) -> ScoredPairs:
    def column(name: str) -> Floats:
        return np.array([row[name] for row in rows], dtype=np.float64)

    return ScoredPairs(
        prompt=prompt,
        cluster=clusters[prompt],
        reward_chosen=column("reward_chosen"),
        reward_rejected=column("reward_rejected"),
        length_chosen=column("length_chosen"),
        length_rejected=column("length_rejected"),
        preference=column("preference"),
        sampling_probability=None if rows[0]["sampling_probability"] is None else column("sampling_probability"),
        prompts=tuple(row["prompt"] for row in rows),
        chosen=tuple(row["chosen"] for row in rows),
        rejected=tuple(row["rejected"] for row in rows),
        own=own,
    )


def decided_texts(groups: Iterable[PromptGroup], max_pairs: int) -> tuple[list[str], list[str]]:
    """Chosen and rejected texts of the pairs with a majority, of whole prompts until there are max_pairs."""
    chosen: list[str] = []
    rejected: list[str] = []
    for group in groups:
        if len(chosen) >= max_pairs:
            break
        for pair in group.comparisons:
            if pair.preference != 0.5:
                better, worse = (pair.first, pair.second) if pair.preference > 0.5 else (pair.second, pair.first)
                chosen.append(group.responses[better])
                rejected.append(group.responses[worse])
    return chosen, rejected

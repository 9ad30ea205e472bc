"""The judgements that a model was trained on, each with its place among the responses of its prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from rm.data import annotation_table
from rm.data.annotation_table import TableVersion
from rm.data.preferences import PromptGroup, prompt_id, response_id


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedJudgement:
    """One judgement of a training prompt."""

    judgement_id: str
    source: str
    annotator: str | None
    prompt: int
    """Number of the prompt's group."""
    first: int
    second: int
    """Indices of its responses in the group."""
    preference: float
    """For the first one."""
    weight: float
    """Of its share in the comparison that the judgements of a pair became."""


_COLUMNS = ["judgement_id", "source", "annotator", "prompt", "first", "second", "preference"]


def trained_on(
    table: TableVersion, groups: Sequence[PromptGroup], excluded: Set[str] = frozenset()
) -> list[TrainedJudgement]:
    """The judgements behind the comparisons of some prompts.

    Parameters
    ----------
    table : TableVersion
        What the snapshot was made from.
    groups : sequence of PromptGroup
        The training prompts.
    excluded : set of str
        Ids of judgements that the snapshot left out.

    Notes
    -----
    A comparison's weight is divided evenly among the judgements of its pair, which is exact unless an annotator judged
    a pair more than once.
    """
    number = {group.prompt_id: index for index, group in enumerate(groups)}
    places = [{response_id(text): place for place, text in enumerate(group.responses)} for group in groups]
    weights = [{(pair.first, pair.second): pair.weight for pair in group.comparisons} for group in groups]
    found = list(_found(table, number, places, weights, excluded))
    votes = Counter((each.prompt, *sorted((each.first, each.second))) for each in found)
    return [
        TrainedJudgement(
            judgement_id=each.judgement_id,
            source=each.source,
            annotator=each.annotator,
            prompt=each.prompt,
            first=each.first,
            second=each.second,
            preference=each.preference,
            weight=each.weight / votes[each.prompt, *sorted((each.first, each.second))],
        )
        for each in found
    ]


def _found(
    table: TableVersion,
    number: Mapping[str, int],
    places: Sequence[Mapping[str, int]],
    weights: Sequence[Mapping[tuple[int, int], float]],
    excluded: Set[str],
) -> Iterator[TrainedJudgement]:
    for batch in annotation_table.columns_of(table, _COLUMNS, excluded):
        ids = [prompt_id(prompt) for prompt in annotation_table.prompts_of(batch)]
        for name, row in zip(ids, batch.drop_columns("prompt").to_pylist(), strict=True):
            if (index := number.get(name)) is None:
                continue
            first, second = (places[index].get(response_id(row[side])) for side in ("first", "second"))
            if first is None or second is None:
                continue
            weight = weights[index].get((first, second), weights[index].get((second, first)))
            if weight is not None:
                yield TrainedJudgement(
                    judgement_id=row["judgement_id"],
                    source=row["source"],
                    annotator=row["annotator"],
                    prompt=index,
                    first=first,
                    second=second,
                    preference=row["preference"],
                    weight=weight,
                )

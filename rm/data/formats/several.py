"""Rows with several responses to one prompt, each rated or ranked: every two of them are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from rm.data.formats.row import Origin, RowError
from rm.data.preferences import Judgement, Message, response_id


def preferred(first: float, second: float) -> float:
    """The preference for the response with the first value, where higher is better; equal values are a tie."""
    return 0.5 if first == second else float(first > second)


def judged_by_value(
    prompt: tuple[Message, ...],
    responses: Sequence[str],
    values: Sequence[float],
    origin: Origin,
    attributes: Sequence[Mapping[str, float]] | None = None,
) -> list[Judgement]:
    """A judgement for every two responses; equal values are a tie.

    Parameters
    ----------
    prompt : tuple of Message
    responses : sequence of N texts
        Of equal texts only the first counts: a text cannot be compared with itself.
    values : sequence of N floats
        Higher is better, so a rank enters with its sign turned.
    origin : Origin
    attributes : sequence of N mappings, optional
        Ratings of each response by name.

    Returns
    -------
    list of Judgement
        N (N - 1) / 2 of them, in the order of the responses.

    Raises
    ------
    RowError
        If the numbers of responses and values differ.
    """
    if len(responses) != len(values):
        raise RowError(f"expected a value for each response, got {len(values)} for {len(responses)} responses")
    firsts: dict[str, int] = {}
    for place, response in enumerate(responses):
        firsts.setdefault(response_id(response), place)
    given = attributes or [{}] * len(responses)
    return [
        Judgement(
            prompt=prompt,
            first=responses[one],
            second=responses[other],
            preference=preferred(values[one], values[other]),
            attributes_first=given[one],
            attributes_second=given[other],
            **origin,
        )
        for one, other in combinations(firsts.values(), 2)
    ]

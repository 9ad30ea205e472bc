"""Building prompt groups row by row: each prompt with its distinct responses and which response was chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rm.data.formats.row import RowError
from rm.data.preferences import Comparison, Message, PromptGroup, prompt_id, response_id


@dataclass(slots=True, kw_only=True)
class PromptBuilder:
    """One prompt, with the responses and choices that rows have added so far."""

    index: int
    """Index of the prompt, in order of appearance."""
    key: str
    prompt: tuple[Message, ...]
    responses: list[str] = field(default_factory=list)
    domain: str | None = None
    source: str | None = None
    _indices: dict[str, int] = field(default_factory=dict)
    _choices: dict[tuple[int, int], set[int]] = field(default_factory=dict)
    _probabilities: dict[tuple[int, int], float | None] = field(default_factory=dict)

    def add_response(self, response: str) -> int:
        """Add a response unless it is there already, and return its index.

        Texts that are equal after Unicode NFC and trimming are one response, in the spelling that came first.
        """
        index = self._indices.setdefault(response_id(response), len(self.responses))
        if index == len(self.responses):
            self.responses.append(response)
        return index

    def choose(self, chosen: int, rejected: int, probability: float | None = None) -> bool:
        """Record that one response was chosen over another, by their indices; False if that was recorded before.

        Raises
        ------
        RowError
            If the pair was recorded with another sampling probability.
        """
        pair = min(chosen, rejected), max(chosen, rejected)
        if (before := self._probabilities.setdefault(pair, probability)) != probability:
            raise RowError(
                f"sampling_probability: expected {before} as in an earlier row with the same pair, got {probability}"
            )
        winners = self._choices.setdefault(pair, set())
        if chosen in winners:
            return False
        winners.add(chosen)
        return True

    def group(self) -> PromptGroup:
        """The prompt with its responses and comparisons; a pair that was decided both ways is a tie."""
        return PromptGroup(
            prompt_id=self.key,
            prompt=self.prompt,
            responses=tuple(self.responses),
            response_attributes=tuple({} for _ in self.responses),
            comparisons=tuple(
                Comparison(
                    first=first,
                    second=second,
                    preference=0.5 if len(winners) == 2 else float(first in winners),
                    target_margin=0.0,
                    weight=1.0,
                    num_judgements=len(winners),
                    sampling_probability=self._probabilities[first, second],
                )
                for (first, second), winners in self._choices.items()
            ),
            domain=self.domain,
            source=self.source,
        )


class PromptBuilders:
    """The builders of all prompts so far, in order of appearance."""

    def __init__(self) -> None:
        self._builders: dict[str, PromptBuilder] = {}

    def find_or_add(
        self,
        prompt: Sequence[Message],
        key: str | None = None,
        *,
        domain: str | None = None,
        source: str | None = None,
    ) -> PromptBuilder:
        """The builder of a prompt.

        Parameters
        ----------
        prompt : sequence of Message
        key : str, optional
            Identifies the prompt; default: the prompt's text does.
        domain, source : str, optional
            Kept with the prompt if it has none yet.

        Raises
        ------
        RowError
            If an earlier row has the same key with another prompt.
        """
        new = PromptBuilder(index=len(self._builders), key=key or prompt_id(prompt), prompt=tuple(prompt))
        builder = self._builders.setdefault(new.key, new)
        if builder is not new and prompt_id(builder.prompt) != prompt_id(prompt):
            raise RowError(f"prompt_id: an earlier row has {key!r} with another prompt; expected one prompt per id")
        builder.domain, builder.source = builder.domain or domain, builder.source or source
        return builder

    def __iter__(self) -> Iterator[PromptBuilder]:
        return iter(self._builders.values())

    def groups(self) -> tuple[PromptGroup, ...]:
        """Every prompt as a group."""
        return tuple(builder.group() for builder in self)

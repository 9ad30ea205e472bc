"""Prompts, their distinct responses and which was chosen over which, collected row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rm.data.formats.row import RowError
from rm.data.preferences import Comparison, Message, PromptGroup, prompt_id, response_id


@dataclass(slots=True, kw_only=True)
class PromptBuilder:
    """One prompt, to which rows add responses and choices."""

    number: int
    """Place among the drafts."""
    key: str
    prompt: tuple[Message, ...]
    responses: list[str] = field(default_factory=list)
    domain: str | None = None
    source: str | None = None
    _places: dict[str, int] = field(default_factory=dict)
    _choices: dict[tuple[int, int], set[int]] = field(default_factory=dict)

    def place(self, response: str) -> int:
        """Place of a response; texts that are equal after Unicode NFC and trimming are one, spelt as at first."""
        place = self._places.setdefault(response_id(response), len(self.responses))
        if place == len(self.responses):
            self.responses.append(response)
        return place

    def choose(self, chosen: int, rejected: int) -> bool:
        """Say that one response, by its place, is better than another; False if that was said before."""
        said = self._choices.setdefault((min(chosen, rejected), max(chosen, rejected)), set())
        if chosen in said:
            return False
        said.add(chosen)
        return True

    def group(self) -> PromptGroup:
        """The prompt as it stands; a pair that was decided both ways is a tie."""
        return PromptGroup(
            prompt_id=self.key,
            prompt=self.prompt,
            responses=tuple(self.responses),
            response_attributes=tuple({} for _ in self.responses),
            comparisons=tuple(
                Comparison(
                    first=first,
                    second=second,
                    preference=0.5 if len(said) == 2 else float(first in said),
                    target_margin=0.0,
                    weight=1.0,
                    num_judgements=len(said),
                )
                for (first, second), said in self._choices.items()
            ),
            domain=self.domain,
            source=self.source,
        )


class PromptBuilders:
    """All prompts so far, in order of appearance."""

    def __init__(self) -> None:
        self._drafts: dict[str, PromptBuilder] = {}

    def draft(
        self,
        prompt: Sequence[Message],
        key: str | None = None,
        *,
        domain: str | None = None,
        source: str | None = None,
    ) -> PromptBuilder:
        """The prompt's draft, found by its key, or by its text where it has none.

        Raises
        ------
        RowError
            If the key stood for another prompt before.
        """
        found = PromptBuilder(number=len(self._drafts), key=key or prompt_id(prompt), prompt=tuple(prompt))
        draft = self._drafts.setdefault(found.key, found)
        if draft is not found and prompt_id(draft.prompt) != prompt_id(prompt):
            raise RowError(f"prompt_id: {key!r} stood for another prompt before; expected one prompt for each")
        draft.domain, draft.source = draft.domain or domain, draft.source or source
        return draft

    def __iter__(self) -> Iterator[PromptBuilder]:
        return iter(self._drafts.values())

    def groups(self) -> tuple[PromptGroup, ...]:
        """Every prompt as a group."""
        return tuple(draft.group() for draft in self)

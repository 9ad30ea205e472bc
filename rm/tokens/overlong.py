"""What does not fit into `TokenizeConfig.max_tokens`: counted by length, and refused where it is too much."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from rm.errors import ModelError
from rm.tokens.config import TokenizeConfig

DROPPED, CUT = "response dropped", "prompt cut at its beginning"
_BUCKET = 256


@dataclass(slots=True)
class Fit:
    """How many responses and pairs there were, and which of them did not fit."""

    num_responses: int = 0
    num_pairs: int = 0
    num_lost_pairs: int = 0
    overlong: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """`DROPPED` or `CUT` to length, as `bucket` names it, to number of responses."""

    @property
    def num_lost(self) -> int:
        """Responses that were dropped."""
        return self.overlong[DROPPED].total() if DROPPED in self.overlong else 0

    def add(self, other: Fit) -> None:
        """Count another part."""
        self.num_responses += other.num_responses
        self.num_pairs += other.num_pairs
        self.num_lost_pairs += other.num_lost_pairs
        for reason, lengths in other.overlong.items():
            self.overlong[reason].update(lengths)

    def by_reason(self) -> dict[str, dict[str, int]]:
        """`overlong` in order."""
        return {reason: dict(sorted(lengths.items())) for reason, lengths in sorted(self.overlong.items())}


def total(fits: Iterable[Fit]) -> Fit:
    """All of them together."""
    summed = Fit()
    for fit in fits:
        summed.add(fit)
    return summed


def bucket(num_tokens: int) -> str:
    """The length of a prompt with a response, as it is counted."""
    low = num_tokens // _BUCKET * _BUCKET
    return f"{low:05d}-{low + _BUCKET - 1:05d} tokens"


def problem(fit: Fit, config: TokenizeConfig, max_tokens: int) -> str | None:
    """Why too much is lost, with what would be enough; None if it is not."""
    if fit.num_lost <= config.max_lost_share * fit.num_responses:
        return None
    return (
        f"tokenize.max_tokens {max_tokens}: {described(fit)}, more than the share of {config.max_lost_share:g} "
        f"that tokenize.max_lost_share allows; {_enough(fit, config.max_lost_share)} tokens would be enough"
    )


def check(fit: Fit, config: TokenizeConfig, max_tokens: int) -> None:
    """Refuse a limit that loses too much.

    Raises
    ------
    ModelError
        With what is lost and how long it is.
    """
    if reason := problem(fit, config, max_tokens):
        raise ModelError(reason)


def described(fit: Fit) -> str:
    """What is lost, and how long the most of it is."""
    lengths = fit.overlong.get(DROPPED)
    if not lengths:
        return f"all of {fit.num_responses:,} responses fit"
    most, count = max(sorted(lengths.items()), key=lambda item: item[1])
    low, high = (int(end) for end in most.removesuffix(" tokens").split("-"))
    return (
        f"{fit.num_lost:,} of {fit.num_responses:,} responses ({fit.num_lost / fit.num_responses:.1%}) do not fit, and "
        f"{fit.num_lost_pairs:,} of {fit.num_pairs:,} pairs with them ({count:,} of {low:,} to {high:,} tokens with "
        "their prompt)"
    )


def _enough(fit: Fit, max_lost_share: float) -> int:
    """A limit with which few enough would be lost."""
    left = fit.num_lost
    ends = {int(name.removesuffix(" tokens").split("-")[1]) + 1: count for name, count in fit.overlong[DROPPED].items()}
    for end, count in sorted(ends.items()):
        left -= count
        if left <= max_lost_share * fit.num_responses:
            return end
    raise AssertionError("nothing is left after the last one")

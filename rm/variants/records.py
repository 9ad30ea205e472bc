"""The variants of a reward, with what they were fitted and measured by; and how a server applies them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from rm.errors import DataError
from rm.stats.clustered import Floats
from rm.stats.finding import Finding, Record

Name = Literal["calibrated", "without_length"]
NAMES: tuple[Name, ...] = get_args(Name)
AS_TRAINED = "as_trained"
"""Name of the reward itself."""


class Variant(Record):
    """Another reward: ``scale * (reward - per_log_character * log(1 + characters))``."""

    scale: float = 1.0
    per_log_character: float = 0.0
    """In units of the reward; 0 keeps the order of all responses, so that what the gate judged holds for it too."""
    fitted: Finding
    """The one number that was fitted, with its interval."""
    before: tuple[Finding, ...]
    """Of the reward itself, on prompts on which nothing was fitted."""
    after: tuple[Finding, ...]
    """The same findings of the variant."""
    changes: tuple[Finding, ...]
    """After minus before, paired."""

    def rewards(self, rewards: Floats, texts: Sequence[str]) -> Floats:
        """The variant's rewards of responses.

        Parameters
        ----------
        rewards : array of shape (N,)
        texts : sequence of str, N of them
            The responses; their characters are Unicode code points.
        """
        characters = np.array([len(text) for text in texts], dtype=np.float64)
        return self.scale * (rewards - self.per_log_character * np.log1p(characters))


class Variants(Record):
    """The variants of one checkpoint's reward."""

    checkpoint_digest: str
    variants: Mapping[str, Variant]
    missing: Mapping[str, str]
    """Why others could not be fitted."""

    @classmethod
    def read(cls, path: Path) -> Variants:
        """Read the file that the stage wrote."""
        return cls.model_validate_json(path.read_bytes())

    def told(self) -> Iterator[tuple[str, str]]:
        """Each variant's name, with what it changes, or why it is not there."""
        for name, variant in self.variants.items():
            yield name, ", ".join(_told(change) for change in variant.changes)
        for name, why in self.missing.items():
            yield name, f"not there: {why}"

    def rewards(self, name: str, rewards: Floats, texts: Sequence[str]) -> Floats:
        """Rewards by the variant of this name, or as they are for ``as_trained``; otherwise as `Variant.rewards`.

        Raises
        ------
        DataError
            If there is no such variant.
        """
        if name == AS_TRAINED:
            return rewards
        if name not in self.variants:
            why = f", which could not be fitted: {self.missing[name]}" if name in self.missing else ""
            raise DataError(f"variant: expected one of {', '.join([AS_TRAINED, *self.variants])}, got {name}{why}")
        return self.variants[name].rewards(rewards, texts)


def _told(change: Finding) -> str:
    kind = change.kind.replace("_", " ")
    return f"{kind} {change.estimate:+.3f} [{change.ci_low:+.3f}, {change.ci_high:+.3f}]"

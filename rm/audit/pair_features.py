"""What can be seen of the held-out pairs without understanding them: features, and kinds of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rm.audit.heldout import Heldout
from rm.features import battery, own, prompt_kinds
from rm.features.battery import BATTERY, LOG_LENGTH, Feature
from rm.features.prompt_kinds import Bools
from rm.features.responses import Responses
from rm.stats.clustered import Floats, Ints
from rm.stats.sufficiency import Judged


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFeatures:
    """Features of B pairs, chosen minus rejected."""

    features: tuple[Feature, ...]
    differences: Floats
    """(B, F)."""
    kinds: dict[str, Bools]
    """By name of a kind of prompt, whether the pair belongs to it, shape (B,)."""

    @classmethod
    def of(cls, heldout: Heldout, names: Sequence[str] = ()) -> PairFeatures:
        """Read the features of all held-out pairs.

        Parameters
        ----------
        heldout : Heldout
        names : sequence of str
            Features of your own (`rm.features.own`), beside the battery and those that came with the rewards.
        """
        pairs, table = heldout.pairs, heldout.table
        read = battery.read(BATTERY, Responses([*pairs.chosen, *pairs.rejected], [*pairs.prompts, *pairs.prompts]))
        known = {name: table[name].to_pylist() for name in ("domain", "source")}
        kinds = prompt_kinds.kinds(pairs.prompts, table["num_turns"].to_pylist(), known)
        count = len(pairs.prompts)
        added, differences = own.differences(names, pairs.prompts, pairs.chosen, pairs.rejected, pairs.own)
        return cls(
            features=BATTERY + added,
            differences=np.hstack([read[:count] - read[count:], differences]),
            kinds=kinds,
        )

    @property
    def log_length(self) -> Floats:
        """Difference of log length, shape (B,)."""
        names = [feature.name for feature in self.features]
        length: Floats = self.differences[:, names.index(LOG_LENGTH)]
        return length


def judged(heldout: Heldout, log_length: Floats) -> Judged:
    """The pairs as `rm.stats.sufficiency` tests them; a stratum is a domain, or a source where no domain is known."""
    pairs = heldout.pairs
    return Judged(
        margin=pairs.margin,
        preference=pairs.preference,
        cluster=pairs.cluster,
        num_clusters=heldout.num_clusters,
        stratum=_strata(heldout),
        length=log_length,
        weight=pairs.weight,
    )


def _strata(heldout: Heldout) -> Ints:
    columns = (heldout.table[name].to_pylist() for name in ("domain", "source"))
    values = next((column for column in columns if any(column)), [None] * len(heldout.pairs.margin))
    number: dict[str | None, int] = {}
    return np.array([number.setdefault(value, len(number)) for value in values], dtype=np.int64)

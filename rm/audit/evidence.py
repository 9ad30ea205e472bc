"""What an audit looks at. Only the held-out pairs are required; the report names what was not tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from rm.audit import style_features
from rm.audit.heldout import Heldout
from rm.audit.twin_results import TwinResult
from rm.stats.clustered import Floats
from rm.stats.finding import Finding


@dataclass(frozen=True, kw_only=True)
class TrainTexts:
    """Texts of training pairs that have a majority, all or a sample; the baselines are fitted on them."""

    chosen: Sequence[str]
    rejected: Sequence[str]

    @cached_property
    def style(self) -> Floats:
        """`rm.audit.style_features.differences` of them."""
        return style_features.differences(self.chosen, self.rejected)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Rewards on held-out pairs, and what else is known about the model that gave them."""

    heldout: Heldout
    train: TrainTexts | None = None
    """None: the baselines are cross-fitted on the held-out pairs."""
    champion: Heldout | None = None
    """Rewards of the model in use for the same prompts."""
    incomparable: tuple[Finding, ...] = ()
    """`rm.audit.champion.incomparable`, where the model in use has too few of them."""
    probes: pa.Table | None = None
    """`rm.probes.scoring.PROBES_SCHEMA`: rewards of edited responses."""
    invariances: tuple[Finding, ...] = ()
    flawed_pairs: Sequence[dict[str, Any]] = ()
    """Rows of `rm.probes.flawed_pairs.FLAWED_SCHEMA`."""
    formulas: tuple[Finding, ...] = ()
    """A benchmark's own numbers."""
    twins: tuple[TwinResult, ...] = ()
    """What changes on twins of other texts, by kind; see `rm.audit.twins`."""
    best_of_n: tuple[Finding, ...] = ()
    """`rm.audit.best_of_n_labels`: what the model picks among given candidates."""

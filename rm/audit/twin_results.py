"""What was measured on twins."""

from __future__ import annotations

from rm.stats.finding import Finding, Record


class TwinExample(Record):
    """A twin whose reward is far from its original's."""

    original: str
    twin: str
    reward: float
    reward_twin: float


class TwinResult(Record):
    """What was measured on the twins of one kind."""

    kind: str | None
    """Such as ``dialect``; None if the twins have no kind."""
    num_prompts: int
    num_twins: int
    """Number of responses that have a twin."""
    num_pairs: int
    """Number of pairs whose two responses have a twin; 0 if the labels are not known."""
    spread: float
    """Population standard deviation of the originals' rewards; NaN if all are equal."""
    p_value: float
    """Of a mean change of 0, from `rm.audit.twins.sign_flip_p`; not corrected for the number of kinds."""
    accuracy: float | None
    """Of the originals, ties 1/2; None without pairs."""
    accuracy_twin: float | None
    temperature: float | None
    """Units of reward per log-odds, fitted on the original pairs; NaN if their rewards do not follow the labels."""
    findings: tuple[Finding, ...]
    examples: tuple[TwinExample, ...] = ()
    """The largest changes of the reward, if the texts are known."""

    @property
    def by_kind(self) -> dict[str, Finding]:
        """The findings by their kind, such as ``twin_change``."""
        return {finding.kind: finding for finding in self.findings}

"""What a probe found."""

from __future__ import annotations

from rm.stats.finding import Finding, Record


class ProbeExample(Record):
    """An edit that moved the reward the wrong way."""

    prompt: str
    edited_prompt: str | None
    """None if the prompt was not edited."""
    response: str
    edited: str
    reward: float
    reward_edited: float


class ProbeDose(Record):
    """How the reward reacts to one dose of an edit, or to one word."""

    dose: str
    """Empty if the probe has only one dose."""
    applicability: float
    """Share of the parents to which the edit applies."""
    num_parents: int
    """Parents to which the edit applies and whose edited text fits into the model's context."""
    win_rate: Finding
    over_placebo: Finding | None
    effect: Finding


class ProbeResult(Record):
    """How the reward reacts to one kind of edit."""

    name: str
    family: str
    kind: str
    """MFT, INV or DIR, the kinds of CheckList."""
    expected: str
    """lower, not_higher, same or report."""
    about: str
    source: str
    applicability: float
    num_parents: int
    win_rate: Finding
    """Share of parents whose edit has the higher reward, ties 1/2; at the strongest dose, or over all words."""
    over_placebo: Finding | None
    """Win rate of the edit minus the placebo's, on the parents that have both."""
    effect: Finding
    """Mean change of the reward, in standard deviations of the parents' rewards."""
    dose_response: Finding | None
    """Mean change of the reward from one dose to the next, in the same unit; None if the doses have no order."""
    doses: tuple[ProbeDose, ...]
    low: float | None
    """Limits on the win rate; if the doses are words, on that of every word."""
    high: float | None
    as_expected: bool | None
    """Whether the win rate's estimate lies on the expected side of 1/2, or within the limits if the reward should stay
    the same; None if nothing is expected or the estimate is undefined."""
    examples: tuple[ProbeExample, ...]
    """The largest changes in the wrong direction, or in any direction if the reward should stay the same."""

    def findings(self) -> tuple[Finding, ...]:
        """Every finding, each name once."""
        own = (self.win_rate, self.over_placebo, self.effect, self.dose_response)
        by_dose = [found for dose in self.doses for found in (dose.win_rate, dose.over_placebo, dose.effect)]
        return tuple({found.name: found for found in (*own, *by_dose) if found is not None}.values())

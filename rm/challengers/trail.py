"""What was tried against a bias, and what came of it."""

from __future__ import annotations

from typing import ClassVar, Literal

from rm.challengers.standing import Standing
from rm.gate.decision import Verdict
from rm.manifests import Manifest
from rm.remedies.catalog import Bias, Setting
from rm.stats.finding import Record

Ending = Literal["all tried", "no remedy", "not shown", "runs", "minutes", "judged before", "too few"]
ENDINGS: dict[Ending, str] = {
    "all tried": "All remedies for these biases were tried.",
    "no remedy": "No remedy is known for what failed.",
    "not shown": "What failed on all held-out prompts does not show on those on which a remedy is chosen, which are a "
    "third of them. More held-out prompts would show it, or set train.remedies in the recipe.",
    "runs": "More remedies are known; remedy.max_runs ended the search.",
    "minutes": "More remedies are known; remedy.max_minutes ended the search.",
    "judged before": "More remedies are known, but these prompts have judged a challenger, and judge no other one.",
    "too few": "There are too few held-out prompts to choose a remedy on.",
}


class Try(Record):
    """One training."""

    remedy: str
    """Its name; empty for the training that the gate failed."""
    settings: dict[str, Setting]
    """Keys below ``train.remedies`` that the remedy sets, with all that they were trained with."""
    checkpoint_digest: str
    """Empty if there is no verdict on it: see `error`."""
    run_id: str
    """Of the run in MLflow; empty if there is none."""
    minutes: float | None
    """Of training, scoring and audit, also where finished stages are used again in a repeated search. None without
    remedy."""
    standing: Standing | None
    error: str = ""
    """Why it has no standing: its training broke, or the gate had failed it before."""

    @property
    def title(self) -> str:
        """What a table calls it."""
        return self.remedy or "no remedy"


class Judgement(Record):
    """The verdict on the challenger that was chosen, by prompts on which nothing was chosen."""

    index: int
    """Of the challenger among the tries."""
    verdict: Verdict
    reasons: tuple[str, ...]


class Trail(Record):
    """A search for a remedy from its beginning to its end."""

    biases: tuple[Bias, ...]
    """What failed without remedy."""
    plain: Try
    tries: tuple[Try, ...]
    ending: Ending
    """Why no more were tried."""
    judged: Judgement | None
    """None if no challenger was worth a verdict."""
    refused: int | None = None
    """Index of the challenger that was chosen, but not judged: the prompts that judge had judged another one before."""

    @property
    def controlled(self) -> frozenset[str]:
        """What the trainings of some tries controlled for."""
        found = (each.settings.get("controlled") for each in self.tries)
        return frozenset(name for names in found if isinstance(names, tuple) for name in names)

    @property
    def remedy(self) -> str | None:
        """The remedy of the model that passed; None if none did."""
        if self.judged is None or self.judged.verdict not in ("passed", "passed_with_warnings"):
            return None
        return self.tries[self.judged.index].remedy


class TrailManifest(Manifest):
    """A trail for people and programs to read; rows are trainings."""

    KIND: ClassVar[str] = "remedies"
    PAGE_NAME: ClassVar[str] = "remedies.html"
    JSON_NAME: ClassVar[str] = "remedies.json"
    PICTURE_NAME: ClassVar[str] = "trade_off.svg"

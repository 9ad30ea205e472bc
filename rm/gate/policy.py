"""The conditions under which a model is registered, and the exceptions for which people take responsibility."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from rm.gate.checks import (
    BEST_OF_N_CHECKS,
    CHAMPION_CHECKS,
    DEFAULT_CHECKS,
    PROBE_CHECKS,
    RETIRED,
    Check,
    Group,
)
from rm.section import Section

LONGEST_WAIVER = timedelta(days=90)
LONGEST_IN_ALL = timedelta(days=180)
"""Of all waivers of one check in a policy: what does not hold for longer should not be a check."""


_DRAWN_AS_NOTHING = frozenset("\u115f\u1160\u3164\uffa0")
"""Fillers of Hangul, which Unicode counts among the letters."""


def is_legible(text: str) -> bool:
    """Whether it has letters or digits: spaces, and what is drawn as nothing, name nobody and give no reason."""
    return any(char.isalnum() and char not in _DRAWN_AS_NOTHING for char in text)


def _legible(text: str) -> str:
    if not is_legible(text):
        raise ValueError("expected a text with letters or digits")
    return text


Legible = Annotated[str, Field(pattern=r"\S"), AfterValidator(_legible)]


class Waiver(Section):
    """Lets one hard check not hold for a while: who says so, why, and until when."""

    name: str
    """Name of the check."""
    reason: Legible
    """Why the check need not hold."""
    by: Legible
    """Who is responsible for it."""
    granted: date
    """First day on which it holds (UTC)."""
    expires: date
    """Last day on which it holds (UTC); at most 90 days after `granted`."""
    checkpoint_digest: str | None = Field(None, pattern=r"^[0-9a-f]{8,64}$")
    """First characters of the digest of the checkpoint that the waiver is for. Default: any checkpoint."""

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if not self.granted <= self.expires <= self.granted + LONGEST_WAIVER:
            raise ValueError(
                f"the waiver of {self.name!r} is granted on {self.granted} and expires on {self.expires}; expected "
                f"no earlier than it is granted and at most {LONGEST_WAIVER.days} days after"
            )
        return self

    @property
    def duration(self) -> timedelta:
        """From the first day to the last, both included."""
        return self.expires - self.granted + timedelta(days=1)

    def flaw(self, checkpoint_digest: str, today: date) -> str | None:
        """Why it does not hold for this checkpoint on this day, or None if it does."""
        if today < self.granted:
            return f"a waiver by {self.by} holds only from {self.granted}"
        if today > self.expires:
            return f"a waiver by {self.by} expired on {self.expires}"
        if self.checkpoint_digest is not None and not checkpoint_digest.startswith(self.checkpoint_digest):
            return f"a waiver by {self.by} is for checkpoint {self.checkpoint_digest[:12]}"
        return None


class GatePolicy(Section):
    """The conditions under which a model is registered; every hard check must hold."""

    checks: tuple[Check, ...] = Field(DEFAULT_CHECKS, min_length=1)
    """Always applied."""
    probe_checks: tuple[Check, ...] = PROBE_CHECKS
    """Also applied if responses were edited and scored again, as in every run of the pipeline. To refuse audits
    without edits, such as of a file of scores, put the check in `checks` instead."""
    champion_checks: tuple[Check, ...] = CHAMPION_CHECKS
    """Also applied if there is a champion; an inconclusive one only warns."""
    best_of_n_checks: tuple[Check, ...] = BEST_OF_N_CHECKS
    """Also applied if the model picked among candidates that have labels from outside."""
    inconclusive: Literal["block", "allow"] = "block"
    """Whether an inconclusive hard check keeps the model out or only warns. With ``allow`` less data can turn a
    rejection into a pass with warnings, since they decide less: use it for development, not for models in use."""
    plain_length_limit: bool = False
    """Whether the check of `length_following` has its plain limit, whatever else the model knows."""
    waivers: tuple[Waiver, ...] = ()
    """Hard checks that need not hold for a while."""

    @property
    def every_check(self) -> tuple[Check, ...]:
        """All checks, whatever they are applied to."""
        return (*self.checks, *self.probe_checks, *self.champion_checks, *self.best_of_n_checks)

    def group_of(self, check: Check) -> Group:
        """The group of the list that a check is in."""
        lists: dict[Group, tuple[Check, ...]] = {"probes": self.probe_checks, "champion": self.champion_checks}
        return next((group for group, checks in lists.items() if check.name in {each.name for each in checks}), "pairs")

    def sharpened(self, names: Iterable[str]) -> GatePolicy:
        """The policy in which checks of these names that decide by bound decide by estimate.

        For a second look at what a first one has shown: by bound a check fails only where a fault is shown, so that the
        same fault, looked at again on fewer pairs, would often pass.
        """
        wanted = set(names)
        lists = {
            field: tuple(
                check.model_copy(update={"decides": "estimate", "warns_beyond": None})
                if check.name in wanted and check.decides == "bound"
                else check
                for check in getattr(self, field)
            )
            for field in ("checks", "probe_checks", "champion_checks", "best_of_n_checks")
        }
        return self.model_copy(update=lists)

    @model_validator(mode="after")
    def _none_is_retired(self) -> Self:
        for name in (*(check.name for check in self.every_check), *(waiver.name for waiver in self.waivers)):
            if name in RETIRED:
                raise ValueError(f"{name!r} is no longer measured; its successor is {RETIRED[name]}")
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [check.name for check in self.every_check]
        if len(set(names)) != len(names):
            raise ValueError(f"two checks share a name: {sorted(names)}")
        return self

    @model_validator(mode="after")
    def _can_reject(self) -> Self:
        blocking = ("model", "data") if self.inconclusive == "block" else ("model",)
        if not any(
            check.severity == "hard" and not check.if_measured and check.about in blocking for check in self.checks
        ):
            wanted = "" if self.inconclusive == "block" else " about the model"
            raise ValueError(f"no check{wanted} is hard and asks for its finding: the gate could reject nothing")
        return self

    @model_validator(mode="after")
    def _waivers_are_of_hard_checks(self) -> Self:
        severities = {check.name: check.severity for check in self.every_check}
        for waiver in self.waivers:
            if waiver.name not in severities:
                raise ValueError(f"a waiver of {waiver.name!r}, which is not a check; checks: {sorted(severities)}")
            if severities[waiver.name] == "soft":
                raise ValueError(f"a waiver of {waiver.name!r}, which is soft: it rejects nothing anyway")
        return self

    @model_validator(mode="after")
    def _waivers_end(self) -> Self:
        in_all: Counter[str] = Counter()
        for waiver in self.waivers:
            in_all[waiver.name] += waiver.duration.days
        for name, days in in_all.items():
            if days > LONGEST_IN_ALL.days:
                raise ValueError(
                    f"the waivers of {name!r} hold for {days} days together; expected at most {LONGEST_IN_ALL.days}, "
                    "or a check without this limit"
                )
        return self

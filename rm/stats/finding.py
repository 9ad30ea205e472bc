"""One measured number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rm.stats.finding_names import flat_name


class Record(BaseModel):
    """A frozen record of what was measured; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


@dataclass(frozen=True, slots=True)
class Key:
    """What is measured: a kind of number, and labels that say of what. `key` makes one."""

    kind: str
    labels: tuple[tuple[str, str], ...] = ()
    """Sorted by label."""

    @property
    def name(self) -> str:
        """The flat name, for use outside the library."""
        return flat_name(self.kind, dict(self.labels))


def key(kind: str, /, **labels: str) -> Key:
    """The key of a kind and labels, such as ``key("coefficient", of="added", feature="bold")``."""
    return Key(kind, tuple(sorted(labels.items())))


class Finding(Record):
    """One measured number. An undefined estimate or bound is NaN (null in `audit.json`); the gate lets no NaN pass."""

    name: str = ""
    """For people, policies and trackers; `rm.stats.finding_names` makes it from kind and labels."""
    kind: str
    """The kind of number, such as ``probe_win_rate``."""
    labels: dict[str, str] = Field(default_factory=dict)
    """What it is about, such as ``{"probe": "emoji"}``."""
    estimate: float
    ci_low: float
    ci_high: float
    num_pairs: int
    """Number of pairs that it was measured on, or of responses if the unit says so."""
    unit: str
    method: str
    detail: str = ""
    """What in particular: of a largest value, which one it is."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not isinstance(values.get("kind"), str):
            return values  # the fields' own validation reports it
        name = flat_name(values["kind"], values.get("labels") or {})
        if values.get("name", name) != name:
            raise ValueError(f"a finding is called {values['name']!r}, but its kind and labels give {name!r}")
        return {**values, "name": name}

    def is_a(self, kind: str, /, **labels: str) -> bool:
        """Whether it is of this kind and has at least these labels."""
        return self.kind == kind and labels.items() <= self.labels.items()

"""One measured number."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen record of what was measured; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Finding(Record):
    """One measured number. An undefined estimate or bound is NaN, which no gate lets pass."""

    name: str
    estimate: float
    ci_low: float
    ci_high: float
    num_pairs: int
    """Pairs, or responses where the unit says so, behind the number."""
    unit: str
    method: str

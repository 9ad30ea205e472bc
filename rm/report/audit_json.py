"""The report as JSON for programs, and its JSON schema."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from rm.audit.records import AuditReport
from rm.gate.decision import GateDecision, Verdict
from rm.report.summary import Summary, summarize

SCHEMA_VERSION = 6
"""Increases with every change of the schema. Files before 2 have no version, and their findings no kind and labels;
those before 3 have overshoots and a self-test, and neither a summary nor a table of overpaid features."""


class _AsWritten(GenerateJsonSchema):
    """Every field is written, and an undefined number as null."""

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {**super().float_schema(schema), "type": ["number", "null"]}

    def field_is_required(self, field: Any, total: bool) -> bool:
        return True


def values(report: AuditReport, decision: GateDecision) -> dict[str, Any]:
    """All that was measured and decided, as values of strict JSON: an undefined or infinite number is None.

    Parameters
    ----------
    report : AuditReport
    decision : GateDecision
    """
    measured: dict[str, Any] = without_nan(report.model_dump())
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": decision.verdict,
        "summary": summarize(report, decision).model_dump(mode="json"),
        **decision.model_dump(mode="json"),
        **measured,
    }


def read_summary(file: Path) -> Summary:
    """The summary in a report that was written before."""
    return Summary.model_validate(json.loads(file.read_text(encoding="utf-8"))["summary"])


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of `values`, generated from the records."""
    _, definitions = models_json_schema(
        [(record, "serialization") for record in (GateDecision, AuditReport, Summary)],
        schema_generator=_AsWritten,
    )
    records = definitions["$defs"]
    decision, report = records.pop("GateDecision"), records.pop("AuditReport")
    properties = {
        "schema_version": {"const": SCHEMA_VERSION},
        "verdict": {"enum": list(get_args(Verdict))},
        "summary": {"$ref": "#/$defs/Summary"},
        **decision["properties"],
        **report["properties"],
    }
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "title": "Audit of a reward model",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        "$defs": records,
    }


def without_nan(value: Any) -> Any:
    """The value with None in place of every number that is undefined or infinite."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

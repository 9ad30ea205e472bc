import hashlib
import json
import math
from functools import cache

import pytest
from jsonschema import Draft202012Validator, ValidationError

from rm.report import audit_json
from rm.report.summary import summarize
from tests.rm import toy_reports
from tests.schema_check import SchemaCheck

DIGESTS = {
    3: "ceaa04549b38c02a08368f909d7144bbd38ed54e04a9ca0af6118313fce2f786",
    4: "13d584b112d6f535c0d499f8dcec53284da71c189edd81663ddb37c85bb2864f",
    5: "efdec1b7f6f69edb340aad944b7910dfa3604c9ba6284624a86e4b0b04c41313",
    6: "7a60866bbc1fbdb6d982da445c49d733c43891cbdd912927e91cb0bd90b7bbd1",
}
"""Of the schema, by version: one that changes needs a version of its own."""


def validate(values):
    Draft202012Validator(audit_json.schema()).validate(values)


@cache
def full_text():
    report = toy_reports.full()
    return json.dumps(audit_json.values(report, toy_reports.decision(report)), allow_nan=False)


def without_words(schema):
    """The schema without what is only said of it."""
    if isinstance(schema, dict):
        return {key: without_words(part) for key, part in schema.items() if key not in ("title", "description")}
    return [without_words(part) for part in schema] if isinstance(schema, list) else schema


def test_a_schema_of_one_version_stays_as_it_is():
    text = json.dumps(without_words(audit_json.schema()), sort_keys=True)
    assert hashlib.sha256(text.encode("utf-8")).hexdigest() == DIGESTS[audit_json.SCHEMA_VERSION]
    assert max(DIGESTS) == audit_json.SCHEMA_VERSION


def test_the_schema_is_one_and_a_full_and_a_bare_report_hold_to_it():
    Draft202012Validator.check_schema(audit_json.schema())
    report, _ = toy_reports.bare()
    bare = json.dumps(audit_json.values(report, toy_reports.decision(report)), allow_nan=False)
    for values in (json.loads(full_text()), json.loads(bare)):
        validate(values)
        assert values["schema_version"] == audit_json.SCHEMA_VERSION


def test_a_written_summary_is_read_again(tmp_path):
    (tmp_path / "audit.json").write_text(full_text(), encoding="utf-8")
    report = toy_reports.full()
    assert audit_json.read_summary(tmp_path / "audit.json") == summarize(report, toy_reports.decision(report))


def test_undefined_and_infinite_numbers_are_null():
    report = toy_reports.full()
    broken = report.findings[0].model_copy(update={"estimate": math.nan, "ci_high": math.inf})
    report = report.model_copy(update={"findings": (broken,)})
    values = audit_json.values(report, toy_reports.decision(report))
    validate(values)
    assert (values["findings"][0]["estimate"], values["findings"][0]["ci_high"]) == (None, None)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda values: values.pop("schema_version"),
        lambda values: values.update(schema_version=1),
        lambda values: values.update(verdict="fine"),
        lambda values: values.update(more=1),
        lambda values: values["findings"][0].pop("kind"),
        lambda values: values["findings"][0].pop("labels"),
        lambda values: values["findings"][0].update(estimate="NaN"),
        lambda values: values["findings"][0].update(num_pairs=None),
        lambda values: values["checks"][0].update(group="others"),
        lambda values: values["summary"].pop("next_steps"),
        lambda values: values["summary"]["reasons"][0].update(topic="weather"),
        lambda values: values["overpaid"]["rows"][0].update(verdict="fine"),
    ],
)
def test_what_is_missing_or_not_as_said_does_not_hold_to_it_even_after_one_that_does(spoil):
    values, check = json.loads(full_text()), SchemaCheck(audit_json.schema())
    check.validate(values)
    spoil(values)
    with pytest.raises(ValidationError):
        check.validate(values)

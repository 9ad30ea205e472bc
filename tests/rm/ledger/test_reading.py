import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.errors import AuditError
from rm.ledger.reading import read
from rm.report import audit_json
from tests.rm import toy_reports
from tests.rm.ledger import made_up
from tests.rm.ledger.made_up import audit, feature, finding, probe


def by_key(audited):
    return {quantity.key: (quantity, reading) for quantity, reading in audited.readings.items()}


def excess_of(asked, paid, error=0.01, critical=3.0):
    values = audit(features=[feature("bold", "typography", asked, paid, error)])
    values["overpaid"]["critical_value"] = critical
    return by_key(made_up.read(values))["overpaid/bold"][1]


def test_what_is_overpaid_is_the_smaller_of_paid_and_asked_with_the_bounds_of_both():
    found = excess_of(-0.06, 0.10)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.06, 0.03, 0.09))
    assert found.error == 0.01
    found = excess_of(0.10, -0.06)  # over-punished
    assert (found.estimate, found.low, found.high) == pytest.approx((-0.06, -0.09, -0.03))


def test_what_the_labels_ask_for_too_is_no_excess_and_its_bounds_hold_zero():
    found = excess_of(0.02, 0.05)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.0, 0.0, 0.01))


numbers = st.floats(-0.3, 0.3)


@given(numbers, numbers, st.floats(0.001, 0.1))
def test_turning_both_signs_turns_the_excess_and_its_interval(asked, paid, error):
    one, other = excess_of(asked, paid, error), excess_of(-asked, -paid, error)
    assert (one.estimate, one.low, one.high) == pytest.approx((-other.estimate, -other.high, -other.low))
    assert one.low <= one.estimate <= one.high


def test_the_error_of_an_interval_is_its_width_over_twice_1_96_and_never_none():
    known = by_key(made_up.read(audit([finding("length_following", "length_following", 0.2, 0.03)])))
    assert known["length_following"][1].error == pytest.approx(0.03)
    certain = finding("accuracy", "accuracy", 1.0, 0.0, num_pairs=46)
    assert by_key(made_up.read(audit([certain])))["accuracy"][1].error == pytest.approx(2**0.5 / 50)


def test_a_feature_within_a_kind_of_prompt_and_an_edit_without_expectation_are_not_followed():
    values = audit(
        features=[feature("bold", "typography", -0.1, 0.1, within="question")],
        probes=[probe("refusal", "report", 0.9), probe("empty", "lower", 0.1)],
    )
    assert list(by_key(made_up.read(values))) == ["probe_empty"]


def test_every_word_that_an_edit_adds_is_followed_but_no_dose_of_one_kind():
    words = probe("keywords", "not_higher", 0.5, delve=0.6, crucial=0.4)
    doses = {**probe("emoji", "not_higher", 0.5, one=0.6, three=0.4), "dose_response": finding("x", "x", 0.1)}
    found = by_key(made_up.read(audit(probes=[words, doses])))
    assert list(found) == ["probe_keywords", "probe_keywords_delve", "probe_keywords_crucial", "probe_emoji"]
    assert found["probe_keywords_delve"][0].title == "edit: keywords delve"


def test_undefined_numbers_are_not_read():
    broken = [finding("accuracy", "accuracy", 0.7), finding("length_following", "length_following", 0.7)]
    broken[0]["ci_low"] = None
    broken[1]["num_pairs"] = 0
    values = audit(broken, [feature("bold", "typography", None, 0.1), feature("headers", "structure", 0.1, 0.1, 0.0)])
    assert by_key(made_up.read(values)) == {}


def test_a_report_in_which_no_feature_could_be_tested_is_read():
    values = audit([finding("accuracy", "accuracy", 0.7)], [feature("bold", "typography", None, None, None)])
    values["overpaid"]["critical_value"] = None
    assert list(by_key(made_up.read(values))) == ["accuracy"]


def test_the_report_of_a_bare_audit_is_read():
    report, _ = toy_reports.bare()
    text = json.dumps(audit_json.values(report, toy_reports.decision(report)))
    found = by_key(read(text, run_id="r", name="n", version=None, time=made_up.START))
    assert "accuracy" in found and not any(key.startswith("overpaid/") for key in found)


def test_a_real_report_is_read_whole():
    report = toy_reports.full()
    text = json.dumps(audit_json.values(report, toy_reports.decision(report)))
    audited = read(text, run_id="r", name="n", version="3", time=made_up.START)
    found = by_key(audited)
    assert found["accuracy"][1].estimate == report.finding("accuracy").estimate
    for row in report.overpaid.rows:
        if row.within is None and f"overpaid/{row.feature}" in found:
            reading = found[f"overpaid/{row.feature}"][1]
            assert reading.estimate == pytest.approx(row.excess)
            largest = max(abs(reading.low), abs(reading.high)) if reading.low <= 0 <= reading.high else None
            assert largest is not None or min(abs(reading.low), abs(reading.high)) == pytest.approx(row.bound)
    assert {"length_following", "joint_overpaid_words", "gain_without_surface", "probe_double"} <= set(found)
    paired = report.find("over_champion", of="gain_without_length")
    assert audited.paired["gain_without_length"].difference == paired.estimate
    assert audited.run.champion_digest == "e" * 64
    assert len(found) > 60


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "its audit.json is not JSON"),
        ("[" * 100_000, "its audit.json is not JSON"),
        (b"\xff\xfe", "its audit.json is not JSON"),
        ("[]", "is not the report of an audit"),
        ('{"schema_version": 3}', r"is not the report of an audit \(verdict: Field required\)"),
        (json.dumps(audit(schema_version=1)), "older than version 2 of the schema"),
        (json.dumps({**audit(), "findings": [{"name": "accuracy"}]}), r"findings\.0\.kind"),
    ],
)
def test_what_is_no_report_is_refused_in_one_sentence(text, message):
    with pytest.raises(AuditError, match=message):
        read(text, run_id="r", name="n", version=None, time=made_up.START)


def test_a_report_before_there_was_a_table_of_features_is_read_as_far_as_it_goes():
    values = {**audit([finding("accuracy", "accuracy", 0.7)]), "schema_version": 2}
    del values["overpaid"]
    assert list(by_key(made_up.read(values))) == ["accuracy"]

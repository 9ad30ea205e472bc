from datetime import date, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from rm.errors import ConfigError
from rm.gate.checks import RETIRED, Check
from rm.gate.policy import GatePolicy
from rm.pipeline import load
from tests.rm.gate.made_up import TODAY

DOCS = (Path(__file__).parents[3] / "docs" / "gate.md").read_text(encoding="utf-8")
NUMBER = Check(name="number", min_value=0.9)


def waiver(**changes):
    facts = {"name": "number", "reason": "a pilot", "by": "the owner", "granted": TODAY, "expires": TODAY}
    return facts | changes


def test_the_documented_policy_file_is_one(tmp_path):
    (text,) = [part.partition("```")[0] for part in DOCS.split("```yaml\n")[1:]]
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    policy = load.load_policy(path)
    assert policy.waivers
    assert {check.severity for check in policy.checks} == {"hard", "soft"}
    assert {check.decides for check in policy.checks} == {"interval", "estimate", "bound"}
    assert any(check.unless for check in policy.checks)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("checks: [{name: a, max_val: 1}]", "checks.0.max_val: unknown key, did you mean max_value?"),
        ("checks: []", "checks: .*at least 1"),
        ("inconclusive: pass", "inconclusive: .*'block' or 'allow', got 'pass'"),
        ("- 1", "expected a mapping of sections at the top, got list"),
        ("gate: {}", "gate: unknown key"),
        ("checks: [", "cannot be read as YAML"),
        ("waivers: [{name: a, reason: b, by: c, granted: 2026-02-30, expires: 2026-03-01}]", "cannot be read as YAML"),
        ("waivers: [{name: a, reason: b, by: c, granted: soon, expires: 2026-03-01}]", "waivers.0.granted: .*'soon'"),
        ("waivers: [{name: a, reason: b, by: c, expires: 2026-03-01}]", "waivers.0.granted: missing"),
        (
            "waivers: [{name: a, reason: b, by: c, granted: 2026-01-01, expires: 2026-03-01}]",
            "'a', which is not a check",
        ),
        (
            "checks: [{name: largest_phrase_excess, max_value: 0.3}]",
            "'largest_phrase_excess' is no longer measured; its successor is num_phrases",
        ),
    ],
)
def test_a_mistake_in_a_policy_file_is_named_with_its_file_and_key(tmp_path, text, message):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        load.load_policy(path)
    assert str(error.value).startswith(f"{path}: ")


def test_a_policy_file_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file; expected a gate's policy"):
        load.load_policy(Path("nowhere.yaml"))


def test_a_policy_comes_back_from_its_own_dump(tmp_path):
    made = waiver(name="unexplained_tie_share", granted="2026-01-01", expires=date(2026, 3, 1))
    policy = GatePolicy(waivers=(made,), plain_length_limit=True)
    path = tmp_path / "policy.yaml"
    path.write_text(policy.model_dump_json())  # JSON is YAML
    assert load.load_policy(path) == policy


@pytest.mark.parametrize("name", RETIRED)
@pytest.mark.parametrize("place", ["checks", "probe_checks", "champion_checks"])
def test_a_retired_name_is_refused_with_its_successor_wherever_it_stands(name, place):
    check = Check(name=name, max_value=0.5)
    with pytest.raises(ValidationError, match="is no longer measured; its successor is") as error:
        GatePolicy.model_validate({"checks": (NUMBER,), **{place: (check,)}})
    assert RETIRED[name] in str(error.value)


@pytest.mark.parametrize("name", RETIRED)
def test_a_waiver_of_a_retired_name_is_refused_with_its_successor(name):
    with pytest.raises(ValidationError, match="is no longer measured; its successor is"):
        GatePolicy(waivers=(waiver(name=name),))


def test_checks_that_could_not_fail_or_pass_or_share_a_name_are_refused():
    with pytest.raises(ValidationError, match="it could not fail"):
        Check(name="number")
    with pytest.raises(ValidationError, match="two checks share a name"):
        GatePolicy(checks=(Check(name="number", min_value=0), Check(name="number", max_value=1)))
    with pytest.raises(ValidationError, match="min_value 1 above max_value 0: it could not pass"):
        Check(name="number", min_value=1, max_value=0)
    with pytest.raises(ValidationError, match="warns_beyond, which goes with decides: bound only"):
        Check(name="number", min_value=1, warns_beyond=0)


@pytest.mark.parametrize("changes", [{"severity": "soft"}, {"if_measured": True}])
def test_a_policy_that_could_reject_nothing_is_refused(changes):
    with pytest.raises(ValidationError, match="at least 1 item"):
        GatePolicy(checks=())
    with pytest.raises(ValidationError, match="the gate could reject nothing"):
        GatePolicy(checks=(NUMBER.model_copy(update=changes),))


def test_a_policy_that_lets_too_few_data_pass_needs_a_check_of_the_model():
    about_data = NUMBER.model_copy(update={"about": "data"})
    GatePolicy(checks=(about_data,))
    with pytest.raises(ValidationError, match=r"no check about the model is hard .* could reject nothing"):
        GatePolicy(checks=(about_data,), inconclusive="allow")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "nmber"}, "a waiver of 'nmber', which is not a check"),
        ({"name": "style"}, "which is soft: it rejects nothing anyway"),
        ({"expires": TODAY + timedelta(days=91)}, "at most 90 days after"),
        ({"expires": TODAY - timedelta(days=1)}, "no earlier than it is granted"),
        ({"by": " "}, "by"),
        ({"by": "\u200b\u2060"}, "by"),
        ({"by": "\u3164\u115f\u1160\uffa0"}, "by"),
        ({"reason": ""}, "reason"),
        ({"checkpoint_digest": ""}, "checkpoint_digest"),
        ({"checkpoint_digest": "c" * 7}, "checkpoint_digest"),
        ({"forever": True}, "forever"),
    ],
)
def test_a_waiver_that_says_too_little_or_too_much_is_refused(changes, message):
    made = (NUMBER, Check(name="style", min_value=0.9, severity="soft"))
    GatePolicy(checks=made, waivers=(waiver(expires=TODAY + timedelta(days=90)),))
    with pytest.raises(ValidationError, match=message):
        GatePolicy(checks=made, waivers=(waiver(**changes),))


def test_waivers_one_after_the_other_end_too():
    def a_row(num):
        """Of ninety days and one each."""
        starts = [TODAY + timedelta(days=91 * place) for place in range(num)]
        return tuple(waiver(granted=day, expires=day + timedelta(days=89)) for day in starts)

    assert len(GatePolicy(checks=(NUMBER,), waivers=a_row(2)).waivers) == 2
    with pytest.raises(ValidationError, match="'number' hold for 3600 days together; expected at most 180"):
        GatePolicy(checks=(NUMBER,), waivers=a_row(40))
    other = Check(name="other", min_value=0.9)
    two = (*a_row(2), *({**each, "name": "other"} for each in a_row(2)))
    GatePolicy(checks=(NUMBER, other), waivers=two)


def test_a_check_is_of_the_group_of_its_list_whatever_became_of_its_limits():
    probe, against = Check(name="probe", min_value=0.0), Check(name="champion", min_value=0.0)
    policy = GatePolicy(checks=(NUMBER,), probe_checks=(probe,), champion_checks=(against,))
    wider = {"min_value": -1.0}
    groups = [policy.group_of(check.model_copy(update=wider)) for check in (NUMBER, probe, against)]
    assert groups == ["pairs", "probes", "champion"]

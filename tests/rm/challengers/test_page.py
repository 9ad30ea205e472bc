"""What a person reads of a search for a remedy."""

import json

import pytest

from rm.challengers import page, stage
from rm.challengers.standing import Standing
from rm.challengers.trail import Judgement, Trail, TrailManifest, Try
from rm.errors import ManifestError
from tests.rm.gate.made_up import finding
from tests.rm.html_page import Page

HOSTILE = "<script>alert(1)</script>"


def tried(remedy, accuracy=0.7, bias=0.05, failed=(), what="log characters", **more):
    worst = None
    if bias is not None:
        facts = {"labels": {"family": "length"}, "detail": what}
        worst = finding(bias, bias - 0.02, bias + 0.02, name="overpaid", **facts)
    right = finding(accuracy, accuracy - 0.05, accuracy + 0.05, name="accuracy")
    verdict = "failed" if failed else "passed"
    stands = Standing(verdict=verdict, failed=failed, missed=failed, accuracy=right, worst_bias=worst)
    facts = {"settings": {"controlled": ("length", "bold")} if remedy else {}, "minutes": 1.5 if remedy else None}
    return Try(**{"remedy": remedy, "checkpoint_digest": "c", "run_id": "r", "standing": stands, **facts, **more})


PLAIN = tried("", 0.8, 0.2, ("overpaid_length", "gain_without_length"))
CRASHED = tried("sum to zero", standing=None, checkpoint_digest="", run_id="", error=f"loss inf {HOSTILE}")
TRIES = (
    tried("controlled length", what=HOSTILE),
    CRASHED,
    tried("foreign responses", 0.75, None, ("overpaid_length",)),
)


def trail(judged=None, tries=TRIES, ending="all tried"):
    return Trail(biases=("length",), plain=PLAIN, tries=tries, ending=ending, judged=judged)


PASSED = trail(Judgement(index=0, verdict="passed", reasons=()))
FAILED = trail(Judgement(index=0, verdict="failed", reasons=(f"It overpays {HOSTILE}",)))


def test_the_title_says_whether_a_remedy_passed():
    assert PASSED.remedy == "controlled length"
    assert page.title(PASSED) == "Passed with controlled length"
    for other in (FAILED, trail(), trail(tries=(), ending="no remedy")):
        assert other.remedy is None
        assert page.title(other) == "No remedy passed"


def test_the_outcome_says_why():
    assert page.outcome(PASSED).endswith("chosen: passed.")
    assert "It overpays" in page.outcome(FAILED)
    undecided = trail(Judgement(index=0, verdict="inconclusive", reasons=("undecided: x is 0.1; more edits",)))
    assert page.outcome(undecided).endswith("chosen: undecided: x is 0.1; more edits.")
    assert "a hard check failed for every challenger" in page.outcome(trail())
    refused = trail().model_copy(update={"refused": 2})
    assert '"foreign responses" was chosen, but the prompts that judge have judged another' in page.outcome(refused)
    assert page.title(refused) == "No remedy passed"
    assert page.outcome(trail(tries=(), ending="no remedy")) == "No remedy is known for what failed."


@pytest.mark.parametrize("shown", [PASSED, FAILED, trail(), trail(tries=(), ending="no remedy")])
def test_the_page_shows_each_training_and_nothing_runs(shown):
    text = page.page(shown)
    found = Page(text)
    assert HOSTILE not in text
    assert not [tag for tag, _ in found.elements if tag == "script"]
    assert "default-src 'none'" in text
    for each in (PLAIN, *shown.tries):
        assert each.title in found.text
    assert len([tag for tag, _ in found.elements if tag == "tr"]) == 2 + len(shown.tries)
    assert ("(chosen)" in found.text) == (shown.judged is not None)


def test_the_accuracy_by_which_one_is_chosen_is_shown():
    first = TRIES[0].standing.model_copy(update={"balanced": finding(0.65, 0.6, 0.7)})
    shown = trail(tries=(TRIES[0].model_copy(update={"standing": first}), *TRIES[1:]))
    assert "0.700 [0.650, 0.750], with lengths balanced 0.650;" in page.lines(shown)[2]
    for text in (page.page(shown), page.markdown(shown)):
        assert "0.650" in text
        assert "undefined" in text  # of the others


def test_the_lines_and_the_table_name_each_training_once():
    for text in ("\n".join(page.lines(PASSED)), page.markdown(PASSED)):
        for each in (PLAIN, *TRIES):
            assert text.count(each.title) >= 1
        assert "overpaid length (failed), gain without length (failed)" in text
    assert "0.700 [0.650, 0.750]" in page.lines(PASSED)[2]
    assert len(page.lines(PASSED)) == 2 + len(TRIES)


def test_a_trail_is_written_whole_and_read_again(tmp_path):
    manifest = stage.write(FAILED, tmp_path / "trail")
    assert set(manifest.files) == {"remedies.html", "remedies.json", "trade_off.svg"}
    assert stage.read(manifest.path) == FAILED
    assert json.loads((manifest.path / TrailManifest.JSON_NAME).read_text())["ending"] == "all tried"
    (manifest.path / TrailManifest.JSON_NAME).write_text("{}")
    with pytest.raises(ManifestError, match=r"remedies\.json: SHA-256"):
        manifest.check()


def test_without_a_bias_that_could_be_tested_there_is_no_figure(tmp_path):
    blind = Trail(biases=(), plain=tried("", bias=None), tries=(), ending="no remedy", judged=None)
    assert page.figure(blind) is None
    assert "trade_off.svg" not in stage.write(blind, tmp_path / "trail").files


def test_a_trail_says_what_its_trainings_controlled_for():
    settings = ({"foreign_share": 0.5}, {"controlled": ("length",), "foreign_share": 0.5}, {"controlled": ("bold",)})
    made = trail(tries=tuple(tried("one", settings=one) for one in settings))
    for each in (made, Trail.model_validate_json(made.model_dump_json())):
        assert each.controlled == {"length", "bold"}
    assert trail(tries=()).controlled == frozenset()

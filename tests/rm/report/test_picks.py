from functools import cache

import numpy as np
import pytest
from matplotlib.figure import Figure

from rm.audit import best_of_n_labels
from rm.audit.best_of_n_labels import CandidateSets, Picker
from rm.features.battery import BATTERY
from rm.report import answers, picks
from rm.report.figures import picks as figures
from rm.report.text import interval, number, points
from rm.stats.config import BootstrapConfig
from rm.stats.finding import Finding
from tests.rm import toy_reports
from tests.rm.html_page import Page
from tests.rm.report.test_page import full_page, shown

FAMILY = {feature.name: feature.family for feature in BATTERY}


@cache
def measured(scored=True, labelled=True):
    """Of a length meter on 30 prompts with four candidates; the judge prefers short ones."""
    sizes = np.tile([1, 2, 4, 8], 30)
    sets = CandidateSets(
        set_of=np.repeat(np.arange(30), 4),
        cluster=np.arange(30),
        prompts=("Why?",) * 30,
        texts=tuple("Well, it is so! " * size for size in sizes.tolist()),
        label=1 / sizes if labelled else np.full(120, np.nan),
    )
    reward = sizes if scored else sizes == 8
    picker = Picker(name="meter", reward=reward.astype(float), scored=scored)
    return best_of_n_labels.main(best_of_n_labels.measure(sets, picker, BootstrapConfig(num_resamples=100)))


def report_of(findings):
    others = [one for one in toy_reports.full().findings if one not in toy_reports.picks()]
    return toy_reports.full().model_copy(update={"findings": (*others, *findings)})


def test_rows_go_from_one_candidate_to_all():
    rows = picks.offered(measured())
    assert [row.title for row in rows] == ["1", "2", "all"]
    assert [row.longest.estimate if row.longest else None for row in rows] == [None, 1.0, 1.0]
    wins = [15 / 32, (0.5 + 2 * 0.25 + 3 * 0.125) / 6, 1 / 8]  # of two, the longer one is the second, third or last
    assert [row.wins["model"].estimate for row in rows] == pytest.approx(wins)
    assert rows[-1].wins["oracle"].estimate == pytest.approx(1)
    assert rows[-1].wins["longest"].estimate == rows[-1].wins["model"].estimate
    assert (rows[-1].chance.estimate, rows[-1].length.estimate) == pytest.approx((1 / 4, 8 / (15 / 4)))


def test_without_picks_there_are_no_rows_and_no_drifts():
    findings = report_of(()).findings
    assert (picks.offered(findings), picks.drifts(findings)) == ((), ())


def test_drifts_are_the_largest_of_each_family_and_grow_with_the_number_of_candidates():
    drifts = picks.drifts(measured())
    assert len(drifts) > 1
    assert len({FAMILY[drift.feature] for drift in drifts}) == len(drifts)
    for drift in drifts:
        fewer, all_of_them = drift.by_number
        assert (fewer.labels.get("n"), all_of_them.labels.get("n")) == ("2", None)
        assert abs(fewer.estimate) < abs(all_of_them.estimate)


def test_what_joins_a_report_are_ten_features_and_the_largest_of_each_of_five_families():
    """Of a battery that begins with more than ten features of length, if each drifts less than the one before."""
    facts = {"num_pairs": 9, "unit": "sd", "method": "made up"}
    found = [
        Finding(kind="pick_drift", labels={"feature": one.name, **n}, estimate=size, ci_low=0, ci_high=1, **facts)
        for one, size in zip(BATTERY, np.linspace(1, 0, len(BATTERY)), strict=True)
        for n in ({"n": "2"}, {})
    ]
    other = measured()[0]
    assert other.kind == "outside_win_rate"
    first_of = {family: feature for feature, family in reversed(FAMILY.items())}
    families = list(dict.fromkeys(FAMILY.values()))[:5]
    expected = [*[one.name for one in BATTERY[:10]], *(first_of[family] for family in families[1:])]
    kept = best_of_n_labels.main([other, *found])
    assert kept[0] == other
    assert [one.labels["feature"] for one in kept[1:]] == [feature for feature in expected for _ in range(2)]
    assert {drift.feature for drift in picks.drifts(kept)} == {first_of[family] for family in families}


def test_the_section_shows_the_numbers_of_the_report():
    report, texts = toy_reports.full(), full_page().section("candidates")
    for row in picks.offered(report.findings):
        at = texts.index(row.title)
        expected = [text for one in row.wins.values() for text in (number(one.estimate), interval(one))]
        assert texts[at + 1 : at + 9] == expected
    over = report.find("picks_over_random")
    assert f"by {points(over.estimate)} points ({points(over.ci_low)} to {points(over.ci_high)})" in " ".join(texts)


def test_the_answer_holds_the_picks_against_chance_length_and_the_judge():
    line = answers.candidates(report_of(measured()))
    assert line == (
        "The judge prefers its pick in 12%, a random one in 47%, the longest in 12%, the best one in 100%. The pick is "
        "the longest in 100% (by chance 25%)."
    )
    assert answers.candidates(report_of(measured(labelled=False))) == "The pick is the longest in 100% (by chance 25%)."


def test_without_labels_or_without_rewards_the_section_says_so():
    unlabelled = Page(shown(report_of(measured(labelled=False)), anchors={"candidates"}))
    assert "No label from outside says" in unlabelled.text
    assert "picked by the model" not in unlabelled.text
    only_picks = Page(shown(report_of(measured(scored=False)), anchors={"candidates"}))
    assert "Only the pick among all candidates is known" in only_picks.text
    assert "Small dots" not in only_picks.text


@pytest.fixture
def axes_of(monkeypatch):
    """The axes that a function of `figures` draws on."""

    def make(function, rows):
        found = []

        def paint_once(height, paint):
            found.append(Figure(figsize=(8, height)).subplots())
            paint(found[0])

        monkeypatch.setattr(figures, "draw", paint_once)
        function(rows)
        return found[0]

    return make


def test_the_picture_has_a_line_for_each_picker_or_a_row_where_one_number_is_known(axes_of):
    lines = axes_of(figures.win_rates, picks.offered(measured()))
    assert [text.get_text() for text in lines.get_xticklabels()] == ["1", "2", "all"]
    assert len(lines.get_legend().get_texts()) == 4
    rows = axes_of(figures.win_rates, picks.offered(measured(scored=False)))
    names = [text.get_text() for text in rows.get_yticklabels()]
    assert names == ["the model's pick", "a random one", "the longest", "the judge's favourite"]


def test_each_feature_has_its_row_in_the_picture_of_drifts(axes_of):
    drifts = picks.drifts(measured())
    axes = axes_of(figures.drifts, drifts)
    assert [text.get_text() for text in axes.get_yticklabels()] == [drift.feature for drift in drifts]

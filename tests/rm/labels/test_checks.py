import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rm.errors import ConfigError
from rm.labels import checks
from rm.labels.config import DEFAULT_CHECKS, MEASURES, LabelCheck, LabelsConfig
from rm.labels.lines import lines
from rm.labels.records import BenchmarkRow, DriftRow, Estimate, Giveaway, LabelReport, MarkRow
from rm.pipeline.load import load
from rm.stats.finding import Finding

EMPTY = LabelReport(
    num_prompts=10, num_pairs=20, num_train_pairs=20, num_votes=30, findings=(), marks=(), giveaways=(), annotators=(),
    sources=(), near_duplicates=(), benchmarks=(), drift=(), checks=(), notes=("a note",),
)  # fmt: skip


def finding(name, estimate, low=None, high=None, num_pairs=100):
    low, high = (estimate if bound is None else bound for bound in (low, high))
    return Finding(
        kind=name, estimate=estimate, ci_low=low, ci_high=high, num_pairs=num_pairs, unit="share", method="made up"
    )


def status(report, name, limit, action="warn"):
    (result,) = checks.judge(report, [LabelCheck(name=name, limit=limit, action=action)])
    return result.status


def with_finding(name, *numbers):
    return EMPTY.model_copy(update={"findings": (finding(name, *numbers),)})


@pytest.mark.parametrize(
    ("finding_name", "numbers", "name", "limit", "expected"),
    [
        ("label_longer_wins", (0.75, 0.72, 0.78), "longer_wins", 0.7, "warned"),
        ("label_longer_wins", (0.75, 0.68, 0.82), "longer_wins", 0.7, "holds"),
        ("label_longer_wins", (0.2, 0.15, 0.25), "longer_wins", 0.7, "warned"),
        ("label_style_accuracy", (0.8, 0.78, 0.82), "style_accuracy", 0.75, "warned"),
        ("label_words_accuracy", (0.99, 0.98, 1.0), "words_accuracy", 0.97, "warned"),
        ("label_order", (0.3, 0.28, 0.35), "order", 0.1, "warned"),
        ("label_order", (0.7, 0.55, 0.8), "order", 0.1, "holds"),
        ("label_swap_words", (-0.1, -0.2, 0.0), "swap", 0.02, "warned"),
        ("label_agreement", (0.55, 0.52, 0.58), "disagreement", 0.4, "warned"),
        ("label_agreement", (0.62, 0.58, 0.66), "disagreement", 0.4, "holds"),
        ("label_source_contradictions", (0.5, 0.4, 0.6), "source_contradictions", 0.3, "warned"),
        ("label_near_duplicates", (0.06,), "near_duplicates", 0.05, "warned"),
        ("label_near_duplicates", (0.05,), "near_duplicates", 0.05, "holds"),
    ],
)
def test_a_check_is_beyond_its_limit_with_the_whole_interval(finding_name, numbers, name, limit, expected):
    assert status(with_finding(finding_name, *numbers), name, limit) == expected
    stopped = {"warned": "stopped"}.get(expected, expected)
    assert status(with_finding(finding_name, *numbers), name, limit, "stop") == stopped


@pytest.mark.parametrize(
    ("finding_name", "numbers", "name", "limit", "said"),
    [
        ("label_longer_wins", (0.75, 0.72, 0.78), "longer_wins", 0.6, "the longer response wins 0.750 [0.720, 0.780]"),
        ("label_longer_wins", (0.2, 0.15, 0.25), "longer_wins", 0.6, "the shorter response wins 0.800 [0.750, 0.850]"),
        (
            "label_agreement",
            (0.55, 0.52, 0.58),
            "disagreement",
            0.4,
            "two votes on one pair differ in 0.450 [0.420, 0.",
        ),
        ("label_order", (0.3, 0.28, 0.35), "order", 0.1, "wins 0.300 [0.280, 0.350] of the votes, at least 0.150 from"),
        (
            "label_order",
            (0.52, 0.49, 0.55),
            "order",
            0.1,
            "wins 0.520 [0.490, 0.550] of the votes, at least 0.000 from",
        ),
        ("label_swap_words", (-0.1, -0.2, 0.0), "swap", 0.02, "a model of flipped labels is 0.100 from one minus the"),
    ],
)
def test_the_sentence_says_what_is_held_against_the_limit(finding_name, numbers, name, limit, said):
    (result,) = checks.judge(with_finding(finding_name, *numbers), [LabelCheck(name=name, limit=limit)])
    assert said in result.reason


def test_rows_are_held_against_their_limits():
    mark = MarkRow(
        feature="bold",
        family="structure",
        num_pairs=9,
        more_wins=Estimate(value=0.3, low=0.2, high=0.4),
        effect=Estimate(value=-0.2, low=-0.22, high=-0.18),
    )
    giveaway = Giveaway(name="phrase 'x'", num_pairs=50, wins=1.0, bound=0.95)
    benchmark = BenchmarkRow(
        benchmark="riddles", num_prompts=50, num_skipped=10, num_train=2, num_heldout=0, examples=()
    )
    change = DriftRow(name="bold", old=0.1, new=0.2, change=Estimate(value=-0.5, low=-0.7, high=-0.3))
    report = EMPTY.model_copy(
        update={"marks": (mark,), "giveaways": (giveaway,), "benchmarks": (benchmark,), "drift": (change,)}
    )
    for name, value in {"mark": 0.18, "giveaways": 1, "benchmarks": 0.05, "drift": 0.3}.items():
        assert status(report, name, value - 1e-9) == "warned"
        assert status(report, name, value + 1e-9) == "holds"


def test_few_held_out_prompts_are_too_few_to_say_that_most_are_duplicates():
    few = EMPTY.model_copy(update={"findings": (finding("label_near_duplicates", 1.0, num_pairs=14),)})
    assert status(few, "near_duplicates", 0.5, "stop") == "not measured"
    enough = EMPTY.model_copy(update={"findings": (finding("label_near_duplicates", 1.0, num_pairs=15),)})
    assert status(enough, "near_duplicates", 0.5, "stop") == "stopped"


def test_a_benchmark_of_which_no_prompt_is_looked_for_is_not_clean():
    unsought = BenchmarkRow(benchmark="one", num_prompts=5, num_skipped=5, num_train=0, num_heldout=0, examples=())
    assert status(EMPTY.model_copy(update={"benchmarks": (unsought,)}), "benchmarks", 0.01) == "not measured"
    found = BenchmarkRow(benchmark="two", num_prompts=50, num_skipped=0, num_train=5, num_heldout=0, examples=())
    assert status(EMPTY.model_copy(update={"benchmarks": (unsought, found)}), "benchmarks", 0.01) == "warned"


def test_what_was_not_measured_does_not_hold_and_does_not_warn():
    results = checks.judge(EMPTY, DEFAULT_CHECKS)
    # Giveaways are looked for in any pairs, so that none is a result.
    assert {result.status for result in results if result.name != "giveaways"} == {"not measured"}
    nan = with_finding("label_longer_wins", math.nan)
    assert status(nan, "longer_wins", 0.7) == "not measured"


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_limit_never_warns_where_a_lower_one_does_not(share, one, other):
    report = with_finding("label_words_accuracy", share, share * 0.9, share)
    low, high = sorted([one, other])
    if status(report, "words_accuracy", low) == "holds":
        assert status(report, "words_accuracy", high) == "holds"


def test_every_measure_has_a_check_by_default():
    assert {check.name for check in DEFAULT_CHECKS} == set(MEASURES) == set(checks._OF)


def test_unknown_names_and_repeated_ones_are_refused():
    with pytest.raises(ValidationError, match="there is no check of labels 'lengths'"):
        LabelCheck(name="lengths", limit=0.5)
    with pytest.raises(ValidationError, match="twice with one action"):
        LabelsConfig(checks=[{"name": "drift", "limit": 1}, {"name": "drift", "limit": 2}])
    with pytest.raises(ValidationError, match="extra"):
        LabelsConfig.model_validate({"limit": 1})


def test_a_misspelt_check_in_a_recipe_is_told_with_its_key(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: {hub: a/b}\nlabels: {checks: [{name: drifts, limit: 1}]}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"labels\.checks\.0\.name: there is no check of labels 'drifts'"):
        load(recipe)


@pytest.mark.parametrize(
    ("num_found", "told"),
    [
        (0, "0 marks and phrases nearly decide the label; limit 0"),
        (1, "1 mark or phrase nearly decides the label: mark bold (0.990 of the votes for it), beyond"),
        (2, "2 marks and phrases nearly decide the label: mark bold (0.990 of the votes for it), mark bold"),
    ],
)
def test_one_giveaway_is_not_said_in_the_plural(num_found, told):
    one = Giveaway(name="mark bold", num_pairs=50, wins=0.99, bound=0.9)
    report = EMPTY.model_copy(update={"giveaways": (one,) * num_found})
    (result,) = checks.judge(report, [LabelCheck(name="giveaways", limit=0)])
    assert result.reason.startswith(told)


def test_the_lines_say_the_worst_of_each_check_once():
    report = with_finding("label_words_accuracy", 0.99, 0.98, 1.0)
    report = report.model_copy(update={"checks": checks.judge(report, DEFAULT_CHECKS)})
    found = lines(report)
    assert sum("words alone" in line for line in found) == 1
    assert found[1].startswith("stops: words alone")
    assert found[-1] == "a note"
    assert len(found) <= 12


def marked(feature):
    some = Estimate(value=0.4, low=0.3, high=0.5)
    return MarkRow(feature=feature, family="structure", num_pairs=50, more_wins=some, effect=some)


@pytest.mark.parametrize(
    ("mark", "wins", "told"),
    [
        ("bold", 0.8, '--set train.remedies.controlled=\'["length", "bold"]\''),
        ("bold", 0.5, "--set train.remedies.controlled='[\"bold\"]'"),
        ("carriage returns", 0.8, "--set train.remedies.controlled='[\"length\"]'"),  # no feature of a response
        ("carriage returns", 0.5, ""),
    ],
)
def test_the_lines_say_how_what_labels_follow_is_left_out_of_a_reward(mark, wins, told):
    report = with_finding("label_longer_wins", wins, wins - 0.05, wins + 0.05)
    report = report.model_copy(update={"marks": (marked(mark),)})
    report = report.model_copy(update={"checks": checks.judge(report, DEFAULT_CHECKS)})
    found = [line for line in lines(report) if "controlled" in line]
    assert [line.endswith(told) for line in found] == ([True] if told else [])

import math
import re
from datetime import date

import pytest

from rm.audit.records import AuditReport, Decile, OverpaidRow, OverpaidTable, Provenance, WordTable
from rm.audit.twin_results import TwinResult
from rm.gate.checks import DEFAULT_CHECKS, Check
from rm.gate.decision import decide
from rm.gate.policy import GatePolicy
from rm.probes.results import ProbeResult
from rm.remedies.catalog import trained_on
from rm.remedies.config import RemediesConfig
from rm.report import answers
from rm.report.cards import cards
from rm.report.figures import length as length_figures
from rm.report.figures import overpaid as overpaid_figures
from rm.report.figures import style as style_figures
from rm.report.picture import picture
from rm.report.reasons import reason
from rm.report.summary import after_search, lines, seen_from, summarize
from rm.report.tables import levels
from rm.report.twins import amounts
from rm.stats.finding import Finding

TODAY = date(2026, 1, 1)
IDENTIFIER = re.compile(r"[a-z]\w*_\w+")
PROVENANCE = Provenance(
    base="base",
    checkpoint_digest="c" * 64,
    dataset_digest="d" * 64,
    sources={},
    num_train_pairs=None,
    num_heldout_prompts=900,
    num_label_ties=0,
    overlong={},
)


def finding(kind, estimate, half=0.02, detail="", num_pairs=1000, **labels):
    return Finding(
        kind=kind,
        labels=labels,
        estimate=estimate,
        ci_low=estimate - half,
        ci_high=estimate + half,
        num_pairs=num_pairs,
        unit="share",
        method="made up",
        detail=detail,
    )


CONTROL = "Retrain with train.remedies.controlled: [length], and audit again."
CONTROLLED = "Its training controlled for length already."


GAINS = {
    "gain": finding("gain_without", 0.067, 0.01, part="length"),
    "without_length": finding("accuracy_without", 0.817, part="length"),
}


def row(family, visible, feature="a feature", **more):
    facts = {"within": None, "about": "", "source": "", "num_pairs": 500, "num_clusters": 400}
    facts |= {"asked": -0.1, "asked_error": 0.01, "paid": 0.2, "paid_error": 0.01, "excess": 0.1, "bound": 0.05}
    return OverpaidRow(
        feature=feature, family=family, visible=visible, **{**facts, "verdict": "named", "along": None, **more}
    )


def table(*rows, **facts):
    return OverpaidTable(**{"critical_value": 3.0, "follows_labels": True, **facts}, rows=rows)


TABLE = table(row("length", 0.04, "log characters"), row("length", 0.3, "lines"), row("tone", 0.1), row("people", 0.2))
SOUND = {
    "accuracy": finding("accuracy", 0.75),
    "words": finding("baseline_accuracy", 0.61, baseline="words"),
    "style": finding("baseline_accuracy", 0.6, baseline="style"),
    "over_words": finding("accuracy_over_baseline", 0.14, baseline="words"),
    "over_style": finding("accuracy_over_baseline", 0.15, baseline="style"),
    "following": finding("length_following", 0.1),
    "prefers": finding("length_preference_model", 0.55),
    "longer": finding("length_preference_label", 0.53),
    "share": finding("surface_share", 0.2),
    "without_surface": finding("accuracy_without", 0.7, part="surface"),
    "without_length": finding("accuracy_without", 0.75, part="length"),
    "gain": finding("gain_without", -0.001, 0.005, part="length"),
    "overpaid": finding("overpaid", 0.0, 0.03, "log characters", family="length"),
    "tone": finding("overpaid", 0.0, 0.03, "praise", family="tone"),
    "visible": finding("visible", 0.04, 0.0, family="length"),
    "ties": finding("unexplained_tie_share", 0.0, 0.0),
    "prompts": finding("num_prompts", 900.0, 0.0),
}
METER = {
    "accuracy": finding("accuracy", 0.63),
    "following": finding("length_following", 0.97),
    "prefers": finding("length_preference_model", 1.0, 0.0),
    "longer": finding("length_preference_label", 0.63),
    "without_length": finding("accuracy_without", 0.5, part="length"),
}


def report(changes=None, overpaid=TABLE, **more):
    found = {**SOUND, **(changes or {})}
    return AuditReport(findings=tuple(found.values()), overpaid=overpaid, provenance=PROVENANCE, **more)


def policy(measured):
    """The default checks of what was measured."""
    names = {one.name for one in measured.findings}
    return GatePolicy(checks=tuple(check for check in DEFAULT_CHECKS if check.name in names))


def summary(changes=None, overpaid=TABLE, gate=None):
    measured = report(changes, overpaid)
    return summarize(measured, decide(measured, gate or policy(measured), TODAY))


def texts(found):
    return [one.text for one in found.reasons]


def test_a_sound_model_has_no_reasons_and_is_told_what_to_do_next():
    found = summary()
    assert (found.title, found.reasons, found.num_more) == ("PASSED", (), 0)
    assert found.next_steps


def test_a_length_meter_is_called_one_and_the_step_is_to_balance_lengths():
    found = summary(METER)
    assert found.title == "FAILED"
    assert found.reasons[0].text == (
        "It measures length: the longer response gets the higher reward in 100% of the pairs, and is the better one in "
        "63%. With length taken out of its rewards it is right in 50%; a coin in 50%."
    )
    assert found.next_steps[0] == CONTROL


def test_a_length_meter_is_told_by_the_pairs_in_which_length_misleads():
    found = summary({**METER, "shorter": finding("accuracy_shorter_chosen", 0.24)})
    assert found.reasons[0].text.endswith("in 63%. Where the shorter one is better, it is right in 24%.")


def test_that_nothing_is_overpaid_is_explained_where_the_model_is_a_length_meter():
    clear = table(row("length", 0.04, "log characters", verdict="clear"), row("tone", 0.1, verdict="clear"))
    why = "; labels that follow length cannot show it of length."
    none = "None of 2 tested features is shown to be paid or punished beyond what the labels support"
    assert answers.overpaid(report(overpaid=clear)) == f"{none}."
    assert answers.overpaid(report(METER, overpaid=clear)) == f"{none}{why}"


def test_what_is_undecided_is_no_reason_beside_what_failed_but_counts():
    undecided = {"surface": finding("accuracy_without", 0.53, 0.1, part="surface")}
    found = summary({**METER, **undecided})
    alone = summary(METER)
    assert found.reasons == alone.reasons
    assert found.num_more == alone.num_more + 1
    assert texts(summary(undecided))[0].startswith("Undecided: With all that length")


def test_a_meter_of_brevity_is_called_one():
    short = {"following": finding("length_following", -0.9), "prefers": finding("length_preference_model", 0.02)}
    text = texts(summary({**METER, **short}))[0]
    assert "the shorter response gets the higher reward in 98% of the pairs, and is the better one in 37%" in text


def test_what_is_overpaid_is_said_in_points_and_the_gain_without_length_follows():
    found = summary(
        {
            "overpaid": finding("overpaid", 0.097, 0.016, "log characters", family="length"),
            "gain": finding("gain_without", 0.067, 0.01, part="length"),
            "without_length": finding("accuracy_without", 0.817, part="length"),
        }
    )
    assert texts(found) == [
        "It overpays for length: a usual difference is worth 9.7 points of win probability more than the labels "
        "support (at least 8.1).",
        "Taking length out of its rewards would make it right 6.7 points more often (82% of the pairs instead of 75%).",
    ]
    assert found.num_more == 0


def test_a_gain_without_length_alone_has_its_own_step():
    """That rewards are corrected until then says until when."""
    for follows, controlled, first in (
        (0.1, (), CONTROL),
        (0.1, ("length",), f"{CONTROLLED} Add pairs in which the worse response is the longer one, and retrain."),
        (-0.1, ("length",), f"{CONTROLLED} Add pairs in which the worse response is the shorter one, and retrain."),
    ):
        changes = {**GAINS, "following": finding("length_following", follows)}
        about = PROVENANCE.model_copy(update={"controlled": controlled})
        measured = report(changes).model_copy(update={"provenance": about})
        found = summarize(measured, decide(measured, policy(measured), TODAY))
        assert [one.check for one in found.reasons] == ["gain_without_length"]
        assert found.next_steps == (
            f"{first} Until then, subtract from each reward what the logarithm of its length predicts.",
        )


def test_a_gain_without_surface_advises_no_remedy_that_a_recipe_refuses():
    gain = finding("gain_without", 0.08, 0.02, part="surface")
    gate = GatePolicy(checks=tuple(check for check in DEFAULT_CHECKS if check.name == "gain_without_surface"))
    (step,) = summary({"surface": gain}, gate=gate).next_steps
    assert step == "Subtract from each reward what these predict, or add pairs in which they mislead, and retrain."


@pytest.mark.parametrize(
    ("estimate", "detail", "family", "start"),
    [
        (-0.1, "log characters", "length", "It punishes length: a usual difference costs 10.0 points"),
        (0.2, "over 50 words", "length", "It overpays for length (over 50 words): "),
        (0.2, "praise", "tone", "It overpays for praise (tone): "),
        (0.2, "bold (prompts: code)", "structure", "It overpays for bold (structure) on prompts of the kind code: "),
    ],
)
def test_each_overpaid_feature_is_named_in_its_direction(estimate, detail, family, start):
    (text,) = texts(
        summary({family: finding("overpaid", estimate, 0.02, detail, family=family), "overpaid": SOUND["ties"]})
    )
    assert text.startswith(start)


def test_a_bag_of_words_that_is_better_is_a_warning_and_a_red_card():
    worse = {
        "over_words": finding("accuracy_over_baseline", -0.03, baseline="words"),
        "words": finding("baseline_accuracy", 0.78, baseline="words"),
    }
    found = summary(worse)
    assert found.title == "PASSED WITH WARNINGS"
    assert texts(found) == [
        "It is right less often than a bag of words that never reads the prompt (75% of the pairs against 78%)."
    ]
    measured = report(worse)
    by_title = {card.title: card for card in cards(measured, decide(measured, policy(measured), TODAY))}
    assert by_title["A bag of words is right in"].state == "bad"
    assert {card.state for card in cards(report(), decide(report(), policy(report()), TODAY))} == {"", "open"}


def test_where_rewards_and_labels_do_not_go_together_it_is_said_once():
    blind = {
        "accuracy": finding("accuracy", 0.4),
        "overpaid": finding("overpaid", math.nan, 0.0, "why", family="length"),
        "tone": finding("overpaid", math.nan, 0.0, "why", family="tone"),
        "visible": finding("visible", 1.0, 0.0, family="length"),
    }
    found = summary(blind, table(row("length", math.nan, verdict="untestable"), follows_labels=False))
    assert found.title == "INCONCLUSIVE"
    assert texts(found) == ["Its rewards go against the labels (right in 40% of the pairs; a coin in 50%)."]
    assert "swapped" in found.next_steps[0]
    assert found.unseen[0].startswith("Any overpaid feature")
    assert found.num_more == 0


def test_an_undecided_check_says_how_many_more_pairs_decide_it():
    found = summary({"visible": finding("visible", 0.12, 0.0, family="length")})
    assert texts(found) == ["Too few pairs: a bias by length of 12.0 points could have stayed unseen."]
    assert found.next_steps == ("Audit on about 440 more held-out pairs.",)


def test_the_largest_number_of_pairs_is_asked_for_once_and_not_where_something_failed():
    undecided = {
        "visible": finding("visible", 0.12, 0.0, family="length"),
        "over_style": finding("accuracy_over_baseline", 0.02, baseline="style"),
    }
    assert summary(undecided).next_steps == ("Audit on about 3,000 more held-out pairs.",)
    assert summary({**undecided, **METER}).next_steps == (CONTROL,)


def test_an_undecided_check_does_not_accuse():
    (text,) = texts(summary({"ties": finding("unexplained_tie_share", 0.5, num_pairs=20)}))
    assert text == ("20 pairs do not decide whether too many pairs get exactly equal rewards.")


@pytest.mark.parametrize(
    ("probe", "applicability", "said", "advice"),
    [
        (
            "word_scramble",
            0.0,
            "Undecided: Why? That edit does not apply to any of these responses.",
            "Leave it out of the policy's probe_checks, or waive it: more edits of such responses do not exist.",
        ),
        (
            "bullets",  # a soft check, which cannot be waived
            0.0,
            "Undecided: Why? That edit does not apply to any of these responses.",
            "Leave it out of the policy's probe_checks: more edits of such responses do not exist.",
        ),
        (
            "word_scramble",
            math.nan,
            "Undecided: Why? No edited response has a reward.",
            "Raise audit.probes.budget for more edits.",
        ),
    ],
)
def test_a_probe_that_applies_to_no_response_is_not_helped_by_a_budget(probe, applicability, said, advice):
    none = finding("probe_win_rate", math.nan, 0.0, num_pairs=0, probe=probe)
    result = ProbeResult(
        name=probe, family="content", kind="DIR", expected="lower", about="Why?", source="own", low=None,
        high=0.1, applicability=applicability, num_parents=0, win_rate=none, over_placebo=None, effect=none,
        dose_response=None, doses=(), as_expected=None, examples=(),
    )  # fmt: skip
    measured = report({"scramble": none}, probes=(result,))
    checked = {one.name: one for one in decide(measured, GatePolicy(), TODAY).checks}[f"probe_{probe}"]
    assert checked.undecided
    found = reason(checked, measured)
    assert found.text == said
    assert found.remedy == advice


def test_a_check_of_ones_own_is_told_by_its_why_and_one_without_by_its_numbers():
    gate = GatePolicy(
        checks=(
            Check(name="accuracy", min_value=0.9, why="too often wrong"),
            Check(name="surface_share", max_value=0.1),
            Check(name="never_measured", max_value=0.1),
        )
    )
    found = texts(summary(gate=gate))
    assert found == [
        "Too often wrong (accuracy is 0.750, between 0.730 and 0.770).",
        "What the policy asks for was not measured: never measured.",
        "Surface share is 0.200, between 0.180 and 0.220.",
    ]


def waived(name):
    return {"name": name, "by": "the owner", "reason": "a pilot", "granted": TODAY, "expires": TODAY}


def test_a_waived_check_that_was_undecided_does_not_accuse():
    few = {
        "following": finding("length_following", 0.7, num_pairs=80),
        "gain": finding("gain_without", -0.03, part="surface", num_pairs=80),
        "over_style": finding("accuracy_over_baseline", 0.02, baseline="style", num_pairs=80),
    }
    names = ("length_following", "gain_without_surface", "accuracy_over_style_floor")
    checks = tuple(check for check in DEFAULT_CHECKS if check.name in names)
    found = texts(summary(few, gate=GatePolicy(checks=checks, waivers=tuple(waived(name) for name in names))))
    assert len(found) == 3
    for text in found:
        assert re.match(r"80 pairs do not decide whether |Undecided: ", text), text
    assert not any("measures length" in text or "would make it right" in text for text in found)


def test_where_the_model_makes_no_error_harder_pairs_are_advised_and_nothing_is_called_swapped():
    undefined = {family: finding("overpaid", math.nan, 0.0, "no error", family=family) for family in ("length", "tone")}
    never = table(row("length", math.inf, "log characters"), follows_labels=False, never_wrong=True)
    ties = {"accuracy": finding("accuracy", 0.95), "overpaid": undefined["length"], "tone": undefined["tone"]}
    found = summary(ties, overpaid=never)
    said = " ".join([*texts(found), *found.next_steps, *found.unseen])
    assert "It makes no error (right in 95%" in said
    assert "harder" in said or "gets wrong more often" in said
    assert "swapped" not in said and "do not go together" not in said
    assert answers.overpaid(report(ties, overpaid=never)).startswith("Nothing could be tested. It makes no error")


def test_what_cannot_be_tested_is_no_reason_to_take_a_check_out():
    untold = finding("overpaid", math.nan, 0.0, "nothing is left to test", family="tone")
    found = summary({"tone": untold})
    (text,) = texts(found)
    assert text.startswith("1,000 pairs do not decide whether ") and text.endswith(": nothing is left to test.")
    assert not any("Take out" in step for step in found.next_steps)


def test_the_pairs_that_are_advised_decide_everything_that_is_open_not_only_what_is_shown():
    few = {
        name: finding(kind, 0.02, 0.015, num_pairs=300, **labels)
        for name, kind, labels in (
            ("over_style", "accuracy_over_baseline", {"baseline": "style"}),
            ("over_words", "accuracy_over_baseline", {"baseline": "words"}),
        )
    }
    few["without_surface"] = finding("accuracy_without", 0.55, 0.05, num_pairs=300, part="surface")
    few["visible"] = finding("visible", 0.4, 0.0, family="length", num_pairs=300)
    few["clusters"] = finding("num_clusters", 30.0, 0.0, num_pairs=300)
    measured = report({**few, "accuracy": finding("accuracy", 0.75, num_pairs=300)})
    decision = decide(measured, policy(measured), TODAY)
    assert decision.verdict == "inconclusive"
    most = max(check.more_pairs for check in decision.checks if check.blocks and check.more_pairs is not None)
    shown = summarize(measured, decision)
    assert max(one.more_pairs or 0 for one in shown.reasons) < most
    assert f"Audit on about {most:,} more held-out pairs." in shown.next_steps


@pytest.mark.parametrize(
    ("slope", "error", "told"),
    [
        ((0.5, 0.1), 0.05, "It is too sure: off by about 5.0 points."),
        ((1.0, 0.1), -0.01, "It is about as sure as it is right: off by about 0.0 points."),
        ((math.nan, 0.0), 0.5, "Its sureness is off by about 50.0 points; whether it is too sure cannot be told."),
        ((0.3, math.nan), 0.01, "Its sureness is off by about 1.0 points; whether it is too sure cannot be told."),
    ],
)
def test_how_sure_it_is_is_told_only_where_it_is_known(slope, error, told):
    found = {"slope": finding("calibration_slope", *slope), "error": finding("calibration_error", error)}
    assert answers.calibration(report(found)) == told


def nothing(kind, **labels):
    return finding(kind, math.nan, 0.0, num_pairs=0, **labels)


@pytest.mark.parametrize(
    ("answer", "changes", "told"),
    [
        (
            answers.deciles,
            {"shorter": nothing("accuracy_shorter_chosen"), "longer": finding("accuracy_longer_chosen", 0.7)},
            "It is right in 70% where the longer response is better.",
        ),
        (
            answers.deciles,
            {"shorter": finding("accuracy_shorter_chosen", 0.6), "longer": nothing("accuracy_longer_chosen")},
            "It is right in 60% where the shorter response is better.",
        ),
        (
            answers.deciles,
            {"shorter": nothing("accuracy_shorter_chosen"), "longer": nothing("accuracy_longer_chosen")},
            "",
        ),
        (
            answers.length,
            {"prefers": nothing("length_preference_model"), "longer": nothing("length_preference_label")},
            "",
        ),
        (
            answers.champion,
            {"ahead": finding("over_champion", -0.02, 0.03, of="accuracy")},
            "Its accuracy is 2.0 points below that of the one in use (difference: \N{MINUS SIGN}5.0 to 1.0).",
        ),
        (
            answers.champion,
            {"ahead": finding("over_champion", 0.04, 0.01, of="accuracy")},
            "Its accuracy is 4.0 points above that of the one in use (difference: 3.0 to 5.0).",
        ),
        (
            answers.champion,
            {"ahead": finding("over_champion", 0.0, 0.0, of="accuracy")},
            "Its accuracy is that of the one in use (difference: 0.0 to 0.0).",
        ),
    ],
)
def test_an_answer_leaves_out_what_is_undefined_and_has_no_negative_lead(answer, changes, told):
    assert answer(report(changes)) == told


def probed(name, rate):
    facts = {"family": "content", "kind": "DIR", "expected": "lower", "about": f"Does {name} help?", "source": "own"}
    known = {"low": None, "high": 0.3, "as_expected": None if math.isnan(rate) else rate < 0.5, "applicability": 1.0}
    rated, none = finding("probe_win_rate", rate, probe=name), dict.fromkeys(("over_placebo", "dose_response"))
    return ProbeResult(
        name=name, win_rate=rated, effect=rated, num_parents=50, doses=(), examples=(), **facts, **known, **none
    )


def test_probes_without_a_result_count_neither_as_answered_well_nor_as_tried():
    many = report(probes=(probed("one", 0.2), probed("two", 0.9), probed("three", math.nan)))
    assert answers.probes(many) == "Not answered as they should be: 1 of 2 edits, such as: Does two help?"
    by_title = {card.title: card for card in cards(many, decide(many, policy(many), TODAY))}
    assert by_title["Edited responses scored as they should be"].value == "1 of 2"
    none = report(probes=(probed("three", math.nan),))
    assert answers.probes(none) == "No edit has a result that could be judged."
    card = cards(none, decide(none, policy(none), TODAY))[-1]
    assert (card.value, card.state) == ("none tried", "open")


def picked(n, value, among, estimate):
    return finding("best_of_n", estimate, among=among, value=value, n=str(n))


def test_a_series_whose_last_point_is_undefined_is_left_out():
    known = {n: picked(n, "length", "responses", 1.5 * n) for n in (1, 2)}
    unknown = {f"u{n}": picked(n, "preferred", "responses", math.nan) for n in (1, 2)}
    assert answers.pressure(report(known | unknown)) == "Length of the response that is picked: 3.000, of 2."
    assert answers.pressure(report(unknown)) == ""


def test_where_nothing_was_tested_no_count_of_none_is_said():
    rare = table(row("tone", math.nan, verdict="untestable"))
    assert answers.overpaid(report(overpaid=rare)) == ("Nothing could be tested: too few pairs differ in any feature.")
    words = WordTable(found=(), num_found=0, num_tested=0)
    assert answers.words(report(words=words)) == "No word is in enough pairs to be tested."


def test_a_model_whose_rewards_are_one_number_has_no_change_on_twins():
    both = [finding(kind, math.nan if kind == "twin_change" else 0.5) for kind in ("twin_change", "twin_lower_share")]
    result = TwinResult(
        kind="dialect", num_prompts=1, num_twins=1, num_pairs=0, spread=math.nan, p_value=1.0, accuracy=None,
        accuracy_twin=None, temperature=math.nan, findings=tuple(both),
    )  # fmt: skip
    assert answers.twins(report(twins=(result,))) == "Twins (dialect): the rewards of the originals are all equal."
    assert amounts(result) == "1 twin of 1 prompt, without pairs."


def test_a_gain_of_nothing_is_neither_more_nor_less():
    measured = report({"gain": finding("gain_without", 0.0, part="length")})
    by_title = {card.title: card for card in cards(measured, decide(measured, policy(measured), TODAY))}
    assert by_title["Right with length taken out"].below == "as often"


def test_one_thing_is_not_said_in_the_plural():
    one_pair = report(subsets={"domain": (finding("accuracy", 0.0, num_pairs=1),)})
    assert answers.subsets(one_pair).endswith("right in 0% of 1 pair.")
    gate = GatePolicy(checks=(Check(name="accuracy", min_value=0.9), Check(name="reward_flips", max_value=0.5)))
    changes = {"flips": finding("invariance_flips", 1.0, 0.0, way="order")}
    measured = report(changes)
    checks = tuple(
        Check(name=name, max_value=0.5, decides="estimate", severity="hard")
        for name in ("invariance_order_flips", "num_phrases", "num_clusters")
    )
    few = {**changes, "phrases": finding("num_phrases", 1.0, 0.0), "clusters": finding("num_clusters", 1.0, 0.0)}
    said = " ".join(texts(summary(few, gate=GatePolicy(checks=checks, probe_checks=()))))
    assert "(order): 1 pair changes its order." in said
    assert "1 word or phrase beyond" in said
    assert "Too few prompts to say something about others: 1." in said
    decision = decide(measured, gate, TODAY)
    assert answers.gate(decision) == "0 of 2 checks hold; 2 of the others keep the model out."
    one = decide(measured, GatePolicy(checks=gate.checks[:1]), TODAY)
    assert answers.gate(one) == "0 of 1 checks hold; 1 of the others keeps the model out."


def test_the_champions_level_is_the_models_less_the_paired_difference():
    found = {"ahead": finding("over_champion", -0.05, of="accuracy")}
    assert {one.title: one.accuracy for one in levels(report(found))}["champion"] == pytest.approx(0.8)
    assert "champion" not in {one.title for one in levels(report())}


def test_a_waived_check_is_a_warning_with_who_vouches_for_it():
    checks = (Check(name="accuracy", min_value=0.9, why="wrong"),)
    found = summary(gate=GatePolicy(checks=checks, waivers=(waived("accuracy"),)))
    assert found.title == "PASSED WITH WARNINGS"
    assert texts(found)[0].endswith("(the owner vouches for it until 2026-01-01: a pilot)")


def test_at_most_three_reasons_on_different_topics_first_and_the_rest_is_counted():
    worse = {
        **METER,
        "overpaid": finding("overpaid", 0.2, 0.02, "log characters", family="length"),
        "tone": finding("overpaid", 0.2, 0.02, "praise", family="tone"),
        "over_style": finding("accuracy_over_baseline", -0.1, baseline="style"),
        "without_surface": finding("accuracy_without", 0.5, part="surface"),
        "gain": finding("gain_without", 0.0, 0.01, part="length"),
    }
    found = summary(worse)
    assert [one.topic for one in found.reasons] == ["length", "heuristics", "surface"]
    assert found.reasons[0].text.startswith("It overpays for length")
    assert found.num_more == 2


@pytest.mark.parametrize("changes", [None, METER, {"overpaid": finding("overpaid", 0.2, family="length")}])
def test_the_summary_is_at_most_eight_lines_without_identifiers(changes):
    found = lines(summary(changes))
    assert len(found) <= 8
    assert not IDENTIFIER.search(" ".join(found))
    assert not any("\n" in line for line in found)


def test_what_could_not_be_seen_is_in_points_by_family():
    rows = (*TABLE.rows, row("prompt", 0.01, num_pairs=10), row("wording", math.inf))
    sizes = seen_from(report(overpaid=table(*rows)))
    assert sizes == {"length": 0.04, "tone": 0.1, "people": 0.2, "prompt": None, "wording": 1.0}
    found = summary(overpaid=table(*rows)).unseen[0]
    assert found == (
        "Small biases: length below 4 points of win probability, other features below 10 points (tone) to 20 points "
        "(people). Too few pairs to be sure to see a bias of any size: wording. Hardly any pairs differ in: prompt."
    )


def test_the_picture_is_that_of_the_worst_reason(monkeypatch):
    drawn = []
    for module in (length_figures, overpaid_figures, style_figures):
        monkeypatch.setattr(module, "draw", lambda height, paint, module=module: drawn.append(module))
    decile = finding("decile_accuracy", 0.5, decile="1")
    deciles = tuple(Decile(low=low, high=low + 1, accuracy=decile, champion_accuracy=None) for low in range(10))
    cases = {
        length_figures: METER,
        overpaid_figures: {"tone": finding("overpaid", 0.2, 0.02, "praise", family="tone")},
        style_figures: {"over_style": finding("accuracy_over_baseline", -0.1, baseline="style")},
    }
    for changes in cases.values():
        measured = report(changes, deciles=deciles)
        picture(measured, summarize(measured, decide(measured, policy(measured), TODAY)))
    assert drawn == list(cases)


def steps_of_trained(changes, **known):
    """What to do next about a model that the pipeline trained."""
    about = PROVENANCE.model_copy(update={"num_train_pairs": 500, **known})
    measured = report(changes).model_copy(update={"provenance": about})
    return summarize(measured, decide(measured, policy(measured), TODAY)).next_steps


def test_who_trained_the_model_here_is_told_the_command_that_tries_the_remedies_for_what_failed():
    first, *_, last = steps_of_trained(METER)
    assert first == CONTROL
    assert "rmflow run --remedy (controlled length" in last
    assert not any("--remedy" in step for step in (*summary(METER).next_steps, *steps_of_trained({})))


@pytest.mark.parametrize(("sign", "which"), [(1, "longer"), (-1, "shorter")])
def test_what_was_controlled_already_is_not_advised_again(sign, which):
    follows = {
        "length": finding("length_following", 0.7 * sign),
        "overpaid": finding("overpaid", 0.2 * sign, family="length"),
    }
    first, *_, last = steps_of_trained(follows, controlled=("length",))
    assert first == (f"{CONTROLLED} Add pairs in which the worse response is the {which} one, and retrain.")
    assert "rmflow run --remedy (" in last
    assert "(controlled length)" not in last
    assert "(controlled length;" not in last


def test_who_has_searched_is_not_told_to_search():
    before = summary(METER).model_copy(update={"next_steps": steps_of_trained(METER)})
    assert after_search(before, ()).next_steps == before.next_steps[:-1]
    assert after_search(summary(METER), ()) == summary(METER)


@pytest.mark.parametrize("changes", [METER, {**METER, **GAINS}, GAINS])
def test_who_has_tried_to_control_for_length_is_not_told_to_retrain_with_it(changes):
    """The same training would be judged again, now on all prompts, by which it was rejected."""
    before = summary(changes)
    assert before.next_steps[0].startswith(CONTROL)
    assert after_search(before, {"bold"}) == before
    first, *others = after_search(before, {"bold", "length"}).next_steps
    assert first == "Control for length was tried. Add pairs in which length misleads, and retrain."
    assert tuple(others) == before.next_steps[1:]


@pytest.mark.parametrize(
    ("shares", "named"),
    [
        ({}, ["stock responses", "foreign responses", "controlled length, foreign responses"]),
        ({"stock_share": 0.5}, ["foreign responses", "controlled length, foreign responses"]),
        ({"foreign_share": 0.2, "stock_share": 1.0}, ["foreign responses", "controlled length, foreign responses"]),
        ({"foreign_share": 0.5, "stock_share": 0.5}, ["controlled length, foreign responses"]),
    ],
)
def test_the_remedies_that_are_named_are_those_that_the_search_tries(shares, named):
    """Stock responses teach the probes of foreign ones as well, and a smaller share is raised."""
    paid = {"prompt": finding("overpaid", 0.2, detail="words from the prompt", family="prompt")}
    known = {"remedy_shares": shares, "trained_on": trained_on(RemediesConfig(**shares))}
    assert steps_of_trained(paid, **known)[-1] == (
        f"Or train with remedies against it: rmflow run --remedy ({'; '.join(named)})."
    )
    assert not any("control" in step for step in steps_of_trained(paid, **known, keeps_head=True)[:-1])
    kept = steps_of_trained(paid, **known, keeps_head=True)[-1]
    assert ("--remedy" in kept, "controlled" in kept) == (len(named) > 1, False)


def test_where_the_head_was_kept_a_new_one_is_part_of_the_advice():
    first, *_, last = steps_of_trained(METER, keeps_head=True)
    assert first == "Retrain with train.remedies.controlled: [length] and model.head: new, and audit again."
    assert last.endswith("rmflow run --remedy (worsened responses).")


def test_what_was_controlled_stays_controlled_where_length_is_added():
    assert steps_of_trained(METER, controlled=("bold",))[0] == (
        "Retrain with train.remedies.controlled: [bold, length], and audit again."
    )

"""From the checks that failed to the names that a training can control for."""

import math

from rm.audit.records import OverpaidRow, OverpaidTable, WordResult, WordTable
from rm.gate.paid_for import paid_for
from rm.remedies import controllable
from tests.rm.gate.made_up import finding, report


def row(feature, family, bound, verdict="named"):
    numbers = dict.fromkeys(
        ("num_pairs", "num_clusters", "asked", "asked_error", "paid", "paid_error", "excess", "visible"), 1
    )
    texts = {"within": None, "about": "", "source": "", "along": None}
    return OverpaidRow(feature=feature, family=family, bound=bound, verdict=verdict, **numbers, **texts)


def word(phrase):
    numbers = dict.fromkeys(("num_pairs", "share_model", "share_labels", "asked", "paid", "z", "p", "q"), 1)
    return WordResult(phrase=phrase, direction="over", **numbers)


def audited():
    rows = (
        row("words in capitals", "typography", 0.05),
        row("exclamation marks", "typography", 0.09, "goes along"),
        row("bold", "structure", -0.01, "clear"),
        row("bulleted items", "structure", 0.01, "clear"),
        row("house style", "own", 0.2),
        row("log characters", "length", 0.02),
    )
    names = {each.family for each in rows}
    made = report(
        *(finding(name="overpaid", labels={"family": family}) for family in sorted(names)),
        finding(name="num_phrases"),
        finding(name="joint_overpaid", labels={"over": "words"}),
    )
    words = WordTable(found=tuple(map(word, ("as an", "overall", "delve"))), num_found=3, num_tested=9)
    table = OverpaidTable(critical_value=3.0, follows_labels=True, rows=rows)
    return made.model_copy(update={"overpaid": table, "words": words})


def test_of_a_family_the_named_feature_with_the_largest_bound_is_controlled():
    found = paid_for(audited(), ["overpaid_typography", "overpaid_structure"])
    assert found == ("words in capitals", "bulleted items")
    assert all(controllable.problem(name) is None for name in found)


def test_length_is_controlled_by_its_own_name_and_single_words_by_theirs():
    assert paid_for(audited(), ["gain_without_length", "overpaid_length"]) == ("length",)
    assert paid_for(audited(), ["num_phrases"]) == ("word:overall", "word:delve")
    assert paid_for(audited(), ["joint_overpaid_words", "num_phrases"]) == ("word:overall", "word:delve")


def test_what_no_training_can_control_is_left_out_and_three_names_are_enough():
    assert paid_for(audited(), ["overpaid_own", "probe_foreign", "accuracy"]) == ()
    every = ["overpaid_typography", "overpaid_structure", "num_phrases", "overpaid_length"]
    assert paid_for(audited(), every) == ("words in capitals", "bulleted items", "word:overall")
    assert paid_for(report(finding(name="overpaid", labels={"family": "tone"})), ["overpaid_tone"]) == ()


def test_a_feature_that_could_not_be_tested_is_not_controlled():
    family = finding(name="overpaid", labels={"family": "structure"})
    rows = (row("bold", "structure", math.nan, "untestable"), row("headings", "structure", math.nan, "untestable"))
    made = report(family).model_copy(
        update={"overpaid": OverpaidTable(critical_value=3.0, follows_labels=False, rows=rows)}
    )
    assert paid_for(made, ["overpaid_structure"]) == ()

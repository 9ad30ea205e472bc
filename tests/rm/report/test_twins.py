import json
import math

import pytest
from matplotlib.figure import Figure

from rm.audit.twins import Twins, measure
from rm.report import answers
from rm.report import twins as report
from rm.report.figures import twins as figures
from rm.report.text import interval, number, percent, tiny
from rm.stats.config import BootstrapConfig
from tests.rm import toy_reports
from tests.rm.html_page import Page
from tests.rm.report.test_page import full_page, shown

CONFIG = BootstrapConfig(num_resamples=100)


@pytest.fixture
def results():
    """One kind with pairs, and one of single responses, too few for an interval, with texts that are Markdown."""
    ids = [str(number) for number in range(12)]
    pairs = Twins.of(ids, [(1.0, (0.0, 0.5, 1.25)[number % 3]) for number in range(12)], [(0.5, 1.0)] * 12, "dialect")
    hostile = ("| a |\n<b>", "@someone " + "x" * 400)
    few = Twins.of(ids[:2], [(1.0,), (2.0,)], [(0.0,), (2.5,)], "name", [hostile, None])
    return [measure(pairs, CONFIG), measure(few, CONFIG)]


def strict(text):
    def refuse(value):
        raise ValueError(value)

    return json.loads(text, parse_constant=refuse)


def test_the_json_is_strict_and_holds_every_number(results):
    written = report.values(results, "twins.jsonl", "0" * 64)
    read = strict(json.dumps(written, allow_nan=False))
    assert (read["schema_version"], read["source"], read["digest"]) == (1, "twins.jsonl", "0" * 64)
    dialect, name = read["kinds"]
    for finding, original in zip(dialect["findings"], results[0].findings, strict=True):
        assert finding == original.model_dump()
    assert dialect["p_value"] == results[0].p_value
    assert math.isnan(results[1].findings[0].ci_low)
    assert name["findings"][0]["ci_low"] is None


def test_the_markdown_has_a_table_for_each_kind_and_escapes_texts(results):
    written = report.markdown(results, "twins_of_mine.jsonl")
    assert "twins\\_of\\_mine.jsonl" in written
    assert "### dialect" in written
    assert "24 twins of 12 prompts, 12 pairs; accuracy 0.667 on the originals, 0.000 on the twins" in written
    assert "2 twins of 2 prompts, without pairs" in written
    assert "undefined to undefined" in written
    lines = written.splitlines()
    (example,) = [line for line in lines if "\\<b\\>" in line]
    assert "| 1.000 | 0.000 | \\| a \\| \\<b\\> |" in example
    assert "@\N{WORD JOINER}someone" in example
    assert "x" * 300 not in example
    assert sum(line.startswith("| change of accuracy |") for line in lines) == 1


def test_every_number_of_a_kind_has_a_row(results):
    assert len(list(report.rows(results[0]))) == len(results[0].findings) + 1
    assert [title for title, _, _ in report.rows(results[1])] == [
        "change of the reward, standard deviations",
        "p of a mean change of 0",
        "share of twins with the lower reward",
    ]


def test_the_worst_kind_is_first_and_one_without_a_number_last(results):
    lost, _ = results
    ids = [str(number) for number in range(12)]
    same = measure(Twins.of(ids, [(1.0, 0.0)] * 12, [(1.0, 0.0)] * 12, "name"), CONFIG)
    assert report.worst_first([same, lost]) == [lost, same]
    far, near, undefined = (
        measure(Twins.of(ids, rewards, [(value + step,) for (value,) in rewards], kind), CONFIG)
        for kind, step, rewards in (
            ("far", 2.0, [(float(number),) for number in range(12)]),
            ("near", -1.0, [(float(number),) for number in range(12)]),
            ("undefined", 1.0, [(1.0,)] * 12),
        )
    )
    assert [one.kind for one in report.worst_first([undefined, near, far])] == ["far", "near", "undefined"]


def test_the_section_shows_every_kind_with_the_numbers_of_the_report():
    texts = full_page().section("twins")
    table = texts[: texts.index("Where the reward changes most")]
    for result in toy_reports.full().twins:
        change, lower = (result.by_kind[kind] for kind in ("twin_change", "twin_lower_share"))
        at = max(place for place, text in enumerate(table) if text == result.kind)
        assert table[at + 1 : at + 8] == [
            *(f"{result.num_twins}", f"{result.num_prompts}"),
            *(number(change.estimate), interval(change), tiny(result.p_value)),
            *(number(lower.estimate), interval(lower)),
        ]
        assert number(result.accuracy_twin) in table[at + 8 :]


def test_the_answer_is_of_the_worst_kind():
    worst, other = toy_reports.full().twins
    found = worst.by_kind
    line = answers.twins(toy_reports.full())
    assert worst.kind == "dialect" and other.kind == "a_name"
    assert line.startswith(
        f"Twins (dialect, the worst of 2 kinds): {percent(found['twin_lost'].estimate)} of the pairs"
    )
    assert line.endswith(f"the reward changes by {number(found['twin_change'].estimate)} standard deviations.")


def test_at_most_two_texts_of_a_kind_are_shown_with_what_differs():
    texts = full_page().section("twins")
    shown = toy_reports.full().twins[0].examples
    assert len(shown) == 3
    for example in shown[:2]:
        assert f"reward {number(example.reward)}, its twin's {number(example.reward_twin)}" in " ".join(texts)
    assert sum(text.startswith(": reward") for text in texts) == 4


@pytest.fixture
def axes_of(monkeypatch):
    """The axes that a figure of twins is drawn on."""

    def make(results):
        found = []

        def paint_once(height, paint):
            found.append(Figure(figsize=(8, height)).subplots())
            paint(found[0])

        monkeypatch.setattr(figures, "draw", paint_once)
        figures.changes(results)
        return found[0]

    return make


def test_lost_pairs_lie_on_the_left_and_gained_ones_on_the_right(results, axes_of):
    axes = axes_of(results[:1])
    lost, gained = (results[0].by_kind[kind].estimate for kind in ("twin_lost", "twin_gained"))
    assert [bar.get_width() for bar in axes.patches] == [-lost, gained]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["dialect"]
    assert axes.xaxis.get_major_formatter()(-0.05, 0) == "5%"


def test_without_pairs_the_change_of_the_reward_is_drawn(results, axes_of):
    axes = axes_of(results[1:])
    assert not axes.patches
    assert "reward" in axes.get_xlabel()


def test_twins_without_a_spread_or_with_few_prompts_can_be_shown(results):
    same = measure(Twins.of(["a", "b"], [(1.0, 1.0)] * 2, [(1.0, 0.5)] * 2), CONFIG)
    for found in ((same,), (results[1],)):
        text = Page(shown(toy_reports.full().model_copy(update={"twins": found}), anchors={"twins"})).text
        assert "undefined to undefined" in text
        assert "the order changes." in text or not found[0].num_pairs  # nothing of a confidence that is undefined

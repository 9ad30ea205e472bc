"""The page stays short: no figure grows with what it shows, no table with its rows, and paper gets a summary."""

import base64
import re

import pytest

from rm.report import page as pages
from rm.report.parts import MOST_DRAWN
from rm.report.sections import SECTIONS
from rm.report.tables import unexpected, unexpected_first
from rm.report.text import HEADLINES, number, plain
from tests.rm import toy_reports
from tests.rm.html_page import Page
from tests.rm.report.test_page import full_text, shown

_TALLEST = 4.1
"""Inches: two in a column leave room for their text on a screen of 900 pixels."""


def on_screen(text):
    return text.partition('<div class="printed">')[0]


def printed(text):
    start = '<div class="printed">'
    return Page(start + text.partition(start)[2].partition("</main>")[0])


def heights(text):
    """Of every image, in inches."""
    images = re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", text)
    return [float(re.search(r'height="([\d.]+)pt"', base64.b64decode(one).decode("utf-8"))[1]) / 72 for one in images]


def many(rows, times, name):
    """So many copies of each row, each with a name of its own in this field."""
    return tuple(row.model_copy(update={name: f"{getattr(row, name)} {copy}"}) for row in rows for copy in range(times))


def grown():
    """The full report with three times as many edits and features, and thirty flaws."""
    report = toy_reports.full()
    *kinds, total = report.flaws
    flaws = [
        one.model_copy(update={"labels": {"flaw": f"{one.labels['flaw']} {at}"}}) for at in range(10) for one in kinds
    ]
    table = report.overpaid.model_copy(update={"rows": many(report.overpaid.rows, 3, "feature")})
    return report.model_copy(
        update={"probes": many(report.probes, 3, "name"), "flaws": (*flaws, total), "overpaid": table}
    )


def test_no_figure_is_taller_than_half_a_screen_however_much_there_is_to_show():
    text = shown(grown(), anchors={"probes", "overpaid", "flaws"})
    for found in (heights(full_text()), heights(text)):
        assert found
        assert max(found) < _TALLEST


def test_a_figure_that_leaves_things_out_says_how_many_there_are():
    report = grown()
    texts = " ".join(Page(shown(report, anchors={"probes", "overpaid", "flaws"})).texts)
    tested = sum(row.verdict != "untestable" for row in report.overpaid.rows)
    for drawn, known in ((12, len(report.probes)), (MOST_DRAWN, tested), (MOST_DRAWN, len(report.flaws))):
        assert f"Drawn are {drawn} of {known}; the tables have all." in texts
    few = report.model_copy(update={"probes": report.probes[:5], "overpaid": None, "flaws": report.flaws[-2:]})
    assert "Drawn are" not in shown(few, anchors={"probes", "overpaid", "flaws"})


def test_every_table_on_the_screen_scrolls_in_a_box_of_its_own():
    boxes = re.findall(r'(<div class="scroll(?: tall)?" tabindex="0">)?<table', on_screen(full_text()))
    assert len(boxes) > 20
    assert all(boxes)


def test_lists_of_texts_scroll_in_a_box():
    for anchor in ("mistakes", "probes", "twins"):
        (section,) = re.findall(rf'<section id="{anchor}">.*?</section>', full_text(), re.DOTALL)
        assert '<div class="text"' not in section.partition('<div class="box" tabindex="0">')[0]
        assert '<div class="text"' in section


@pytest.mark.parametrize("most", [1, 5, 12, 99])
def test_the_edits_that_a_person_should_look_at_are_drawn_first_and_in_their_order(most):
    probes = toy_reports.full().probes
    found, wanted = unexpected_first(probes, most), unexpected(probes)
    assert len(found) == min(most, len(probes))
    assert sum(one in wanted for one in found) == min(most, len(wanted))
    assert list(found) == [one for one in probes if one in found]


def test_paper_gets_the_checks_that_do_not_hold_the_main_numbers_and_each_sections_answer():
    report = toy_reports.full()
    decision, texts = toy_reports.decision(report), printed(full_text()).texts
    others = [check for check in decision.checks if check.status != "passed"]
    assert f"Checks that do not hold: {len(others)} of {len(decision.checks)}" in texts
    for check in others:
        assert {plain(check.name), check.reason.replace(check.name, plain(check.name))} <= set(texts)
    for section in SECTIONS:
        assert section.title in texts
        assert section.answer(report) in ("", *texts)
    known = [(title, found) for name, title in HEADLINES if (found := report.finding(name)) is not None]
    assert known
    for title, finding in known:
        assert texts[texts.index(title) + 1] == number(finding.estimate)


def test_paper_says_how_many_checks_it_leaves_out(monkeypatch, without_figures):
    report = toy_reports.full()
    others = [check for check in toy_reports.decision(report).checks if check.status != "passed"]
    assert "more stand in audit.html." not in shown(report)
    monkeypatch.setattr(pages, "_MOST_PRINTED", 3)
    page = printed(shown(report))
    assert f"{len(others) - 3} more stand in audit.html." in page.texts
    assert [plain(check.name) in page.texts for check in others[:4]] == [True, True, True, False]

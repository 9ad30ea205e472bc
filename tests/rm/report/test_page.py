import base64
import hashlib
import json
import math
import re
from functools import cache

import pyarrow.parquet as pq
import pytest

from rm.audit.heldout import join_scores
from rm.gate.checks import Check
from rm.gate.policy import GatePolicy
from rm.report import audit_json, parts
from rm.report import page as pages
from rm.report import stage as reporting
from rm.report.cards import cards
from rm.report.figures import drawing
from rm.report.figures import probes as probe_figures
from rm.report.manifests import ReportManifest
from rm.report.not_tested import not_tested
from rm.report.sections import SECTIONS
from rm.report.summary import summarize
from rm.report.text import number, plain, points
from rm.stats.finding import Finding
from tests.rm import toy_reports
from tests.rm.html_page import Page

ANCHORS = ["first", *(section.anchor for section in SECTIONS)]
MISSING = {section.anchor: section.missing for section in SECTIONS if section.missing}


def shown(report, decision=None, heldout=None, anchors=ANCHORS, labels=None):
    """The page with some of its sections."""
    decision = decision or toy_reports.decision(report)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "SECTIONS", [section for section in SECTIONS if section.anchor in anchors])
        return pages.page(report, decision, heldout or toy_reports.heldout(), labels)


@cache
def full_text():
    return shown(toy_reports.full(), labels=toy_reports.labels())


@cache
def full_page():
    return Page(full_text())


@cache
def bare_text():
    report, heldout = toy_reports.bare()
    return shown(report, heldout=heldout)


@cache
def bare_page():
    return Page(bare_text())


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def narrow_figures(monkeypatch):
    """Figures in one of their two widths, which stands for both."""
    images = drawing._images
    monkeypatch.setattr(drawing, "_images", lambda *given: [next(images(*given))] * 2)


def test_the_stage_writes_every_file_and_the_same_bytes_twice(
    audited, decision, dataset, scores, tmp_path, without_figures
):
    written, again = (
        reporting.write(audited, decision, dataset, scores, None, tmp_path / name) for name in ("one", "two")
    )
    names = {
        "audit.html",
        "audit.json",
        "audit.schema.json",
        "audit.md",
        "junit.xml",
        "picture.svg",
        "model_card.md",
        "scores.parquet",
    }
    assert set(written.files) == names
    assert written.digest == again.digest
    assert written.passed is decision.passed
    assert {each.digest for each in written.inputs} == {audited.digest}
    assert pq.read_table(written.path / "scores.parquet").equals(join_scores(dataset, scores).table)
    title = decision.verdict.replace("_", " ").upper()
    assert title in Page((written.path / "audit.html").read_text(encoding="utf-8")).texts


def test_the_json_is_strict_and_holds_every_field(tmp_path, without_figures):
    report, decision = toy_reports.full(), toy_reports.decision(toy_reports.full())
    reporting.write_files(report, decision, toy_reports.heldout(), tmp_path)
    values = strict((tmp_path / ReportManifest.JSON_NAME).read_text(encoding="utf-8"))
    assert set(values) >= {"verdict", "checks", "summary", "report_digest", *type(report).model_fields}
    by_name = {value["name"]: value for value in values["findings"]}
    assert list(by_name) == [finding.name for finding in report.findings]
    known = [one for one in report.findings if math.isfinite(one.estimate + one.ci_low + one.ci_high)]
    assert all(Finding(**by_name[one.name]) == one for one in known)
    assert values["verdict"] == decision.verdict
    assert [check["reason"] for check in values["checks"] if check["blocks"]] == list(decision.reasons)
    assert [probe["name"] for probe in values["probes"]] == [probe.name for probe in report.probes]


def spoilt(report):
    """The report with every second finding, and one decile, undefined and unbounded."""
    undefined = {"estimate": math.nan, "ci_low": math.nan, "ci_high": math.inf}
    found = [one.model_copy(update=undefined) if at % 2 else one for at, one in enumerate(report.findings)]
    decile = report.deciles[0]
    broken = decile.model_copy(update={"accuracy": decile.accuracy.model_copy(update=undefined)})
    return report.model_copy(update={"findings": tuple(found), "deciles": (broken, *report.deciles[1:])})


def test_undefined_numbers_are_null_in_the_json_and_undefined_on_the_page(narrow_figures):
    report = spoilt(toy_reports.full())
    written = audit_json.values(report, toy_reports.decision(report))
    values = strict(json.dumps(written, allow_nan=False))
    for value, finding in zip(values["findings"], report.findings, strict=True):
        assert value["estimate"] == (None if math.isnan(finding.estimate) else finding.estimate)
    page = Page(shown(report))
    assert "undefined" in page.texts
    assert not {"nan", "inf"} & set("\n".join(page.section("numbers")).split())


def test_the_labels_are_shown_with_their_checks_and_rows_and_no_name_can_steer_the_page():
    texts = full_page().section("labels")
    for expected in ("longer wins", "warned", "<script>alert(1)</script>", "bold", "riddles", "a note."):
        assert any(expected in text for text in texts), expected
    assert "<script>" not in full_text()


def test_a_figure_that_is_drawn_again_has_the_same_bytes(narrow_figures):
    again = Page(shown(toy_reports.full(), labels=toy_reports.labels())).attributes("src")
    assert len(set(again)) >= 12
    assert again == full_page().attributes("src")


def test_every_section_is_there_in_its_order_when_its_data_are():
    assert full_page().attributes("id") == ANCHORS
    assert not [missing for missing in MISSING.values() if missing in full_page().text]


def test_every_section_whose_data_are_missing_is_said_not_to_be_tested():
    page = bare_page()
    assert page.attributes("id") == [
        name for name in ANCHORS if name not in {*MISSING, "mistakes", "formulas", "labels"}
    ]
    assert set(MISSING.values()) <= set(page.section("not-tested"))
    assert set(not_tested(toy_reports.bare()[0])) <= set(page.section("not-tested"))


def test_the_contents_lead_to_every_section_and_nowhere_else():
    for page in (full_page(), bare_page()):
        assert {f"#{anchor}" for anchor in page.attributes("id")} == set(page.attributes("href"))


def without_probes(*names):
    report = toy_reports.full()
    return report.model_copy(update={"probes": tuple(probe for probe in report.probes if probe.name not in names)})


def with_probe(name, win_rate, **values):
    """A report in which all probes but one found something on 150 responses."""
    report = toy_reports.full()
    changed = []
    for probe in report.probes:
        found = win_rate if probe.name == name else 0.5
        more = {"applicability": 1.0, "num_parents": 150} | (values if probe.name == name else {})
        rate = probe.win_rate.model_copy(update={"estimate": found})
        changed.append(probe.model_copy(update={"win_rate": rate, **more}))
    return report.model_copy(update={"probes": tuple(changed)})


def test_where_too_many_tie_at_the_top_the_page_says_that_nothing_was_compared():
    whole = toy_reports.full()
    tied = whole.model_copy(update={"top_rewards": whole.top_rewards.model_copy(update={"num_top": 0})})
    said = [sum(line.startswith("The highest rewards:") for line in not_tested(report)) for report in (whole, tied)]
    assert said == [0, 1]
    words = [" ".join(Page(shown(report, anchors=["words"])).section("words")) for report in (whole, tied)]
    assert ["there is no top to compare" in each for each in words] == [False, True]
    assert ["are clearly more or less frequent" in each for each in words] == [True, False]


def test_a_bias_without_a_probe_is_said_not_to_be_tested():
    assert "No edit tested who asks." not in not_tested(toy_reports.full())
    assert "No edit tested who asks." in not_tested(without_probes("identity"))
    assert not [line for line in not_tested(without_probes("hedging")) if "unsure" in line]
    assert [line for line in not_tested(without_probes("hedging", "certainty")) if "unsure" in line]


def test_a_probe_that_applied_to_nothing_has_tested_nothing():
    for applicability, start in (
        (0.0, "Probes that applied to no"),
        (math.nan, "Probes that got no response"),
    ):
        lines = not_tested(with_probe("identity", math.nan, applicability=applicability, num_parents=0))
        assert "No edit tested who asks." in lines
        assert [line for line in lines if line.startswith("Probes that")] == [
            line for line in lines if line.startswith(start) and line.endswith(": identity.")
        ]


def test_a_probe_with_few_edits_is_said_to_say_little():
    expected = "Probes with fewer than 50 edits say little: double 49."
    assert not [line for line in not_tested(with_probe("double", 0.2, num_parents=50)) if "double" in line]
    (line,) = [line for line in not_tested(with_probe("double", 0.2, num_parents=49)) if "fewer than" in line]
    assert line.startswith(expected)


def test_what_is_not_known_of_the_data_is_said():
    starts = ("Annotator agreement", "Training texts", "7 held-out responses")
    lines = not_tested(toy_reports.full().model_copy(update={"num_unscored": 7, "top_rewards": None}))
    assert all(any(line.startswith(start) for line in lines) for start in starts)
    assert not [line for line in not_tested(toy_reports.full()) if line.startswith(starts[1:])]


def test_the_page_shows_every_finding_with_its_numbers():
    texts = full_page().section("numbers")
    for finding in toy_reports.full().findings:
        numbers = [number(value) for value in (finding.estimate, finding.ci_low, finding.ci_high)]
        at = texts.index(finding.name)
        assert texts[at + 1 : at + 4] == [numbers[0], f"{numbers[1]} to {numbers[2]}", f"{finding.num_pairs:,}"]


def test_numbers_have_three_decimals_and_a_true_minus():
    values = (-0.0123, 0.9996, 1234.5, -0.0001, math.nan, math.inf)
    assert [number(value) for value in values] == [
        "\u22120.012",
        "1.000",
        "1,234.500",
        "0.000",
        "undefined",
        "infinite",
    ]


def after(anchor, first):
    texts = full_page().section(anchor)
    return texts[texts.index(first) + 1 :]


def test_deciles_probes_subsets_and_words_show_the_numbers_of_the_report():
    report = toy_reports.full()
    for decile in report.deciles:
        span = after("deciles", f"{decile.low:+.0f} to {decile.high:+.0f}")
        assert span[1] == number(decile.accuracy.estimate)
        assert span[3] == number(decile.champion_accuracy.estimate)
    for probe in report.probes:
        assert after("probes", plain(probe.name))[:3][2] == number(probe.win_rate.estimate)
    for members in report.subsets.values():
        for finding in members:
            assert after("subsets", finding.name)[0] == number(finding.estimate)
    assert report.words.found
    for word in report.words.found:
        assert after("words", word.phrase)[2:4] == [number(word.share_model), number(word.share_labels)]


def test_simpsons_paradox_is_said_where_it_is(without_figures):
    report = toy_reports.full()
    within = report.finding("length_within_prompt_pearson").estimate

    def text(pooled):
        findings = tuple(
            one.model_copy(update={"estimate": pooled}) if one.name == "length_pearson" else one
            for one in report.findings
        )
        return Page(shown(report.model_copy(update={"findings": findings}))).text

    assert "Simpson" in text(within - 0.5)
    assert "Simpson" not in text(within - 0.05)


def test_the_page_begins_with_the_summary():
    report, page = toy_reports.full(), full_page()
    decision, first = toy_reports.decision(report), page.section("first")
    summary = summarize(report, decision)
    assert summary.reasons
    for text in (summary.title, summary.meaning, *(one.text for one in summary.reasons)):
        assert text in first
    assert {*summary.next_steps, *summary.unseen} <= set(first)
    for card in cards(report, decision):
        assert {card.title, card.value, card.below} <= set(first)


def test_the_gates_section_shows_every_check_with_its_name_on_hover():
    texts, titles = full_page().section("gate"), full_page().attributes("title")
    for check in toy_reports.decision(toy_reports.full()).checks:
        assert {plain(check.name), check.severity, check.status} <= set(texts)
        assert check.reason.replace(check.name, plain(check.name)) in texts
        assert check.name in titles


IDENTIFIER = re.compile(r"[a-z]\w*_\w+")


def test_identifiers_stand_only_on_hover_and_in_the_last_table():
    report = toy_reports.full()
    names = {finding.name for finding in report.findings if "_" in finding.name}
    names |= {probe.name for probe in report.probes if "_" in probe.name}
    for page in (full_page(), bare_page()):
        assert not IDENTIFIER.search(" ".join(page.section("first")))
        for anchor, texts in page.sections.items():
            if anchor not in ("numbers", "not-tested"):
                assert not names & set(texts), anchor
    assert names & set(full_page().section("numbers"))
    assert list(full_page().sections)[-1] == "numbers"


def test_sections_are_closed_and_each_says_its_answer():
    page = full_page()
    parts = [attributes for tag, attributes in page.elements if attributes.get("class") == "part"]
    assert len(parts) == len(ANCHORS) - 1  # the first screen is always open
    assert not any("open" in attributes for _, attributes in page.elements)
    for section in SECTIONS:
        assert section.answer(toy_reports.full()) in page.text


def test_the_security_policy_lets_only_the_pages_own_style_and_images_in():
    for text in (full_text(), bare_text()):
        (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
        (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules == {
            "default-src": "'none'",
            "img-src": "data:",
            "style-src": f"'sha256-{digest}'",
            "base-uri": "'none'",
            "form-action": "'none'",
        }
        page = Page(text)
        names = {name for _, attributes in page.elements for name in attributes}
        assert "style" not in names
        assert not [name for name in names if name.startswith("on")]
        assert "script" not in {tag for tag, _ in page.elements}


def test_the_table_of_overpaid_features_begins_with_the_named_ones():
    report, texts = toy_reports.full(), full_page().section("overpaid")
    rows = report.overpaid.rows
    named = [row for row in rows if row.verdict == "named"]
    assert named
    for row in named:
        at = texts.index(row.feature)
        numbers = [points(value) for value in (row.paid, row.asked, row.excess, row.bound, row.visible)]
        assert texts[at + 3 : at + 9] == [f"{row.num_pairs:,}", *numbers]
    for verdict in {row.verdict for row in rows} - {"named"}:
        title = f"{parts._VERDICTS[verdict]}: {sum(row.verdict == verdict for row in rows)}"
        assert texts.index(title) > texts.index(named[0].feature)
    assert sum(texts.count(row.feature) for row in {row.feature: row for row in rows}.values()) >= len(rows)


def only(*checks, **more):
    return GatePolicy(checks=checks, probe_checks=(), champion_checks=(), best_of_n_checks=(), **more)


@pytest.mark.parametrize(("limit", "verdict"), [("below", "PASSED"), ("inside", "INCONCLUSIVE"), ("above", "FAILED")])
def test_each_verdict_is_shown_as_such(without_figures, limit, verdict):
    finding = toy_reports.full().finding("accuracy")
    limits = {"below": 0.01, "inside": (finding.estimate + finding.ci_low) / 2, "above": 0.999}
    policy = only(Check(name="accuracy", min_value=limits[limit], min_pairs=1))
    page = Page(shown(toy_reports.full(), toy_reports.decision(toy_reports.full(), policy)))
    assert {text for text in page.texts if text in {"PASSED", "FAILED", "INCONCLUSIVE"}} == {verdict}
    assert ("All 1 checks of the policy hold." in page.texts) == (verdict == "PASSED")
    assert f"banner {verdict.lower()}" in page.attributes("class")


def test_the_page_shows_waivers_warnings_and_where_limits_come_from(without_figures):
    waiver = {"name": "accuracy", "by": "the <b>owner</b>", "reason": "a pilot"}
    policy = only(
        Check(name="accuracy", min_value=1.1, min_pairs=1, rationale="<i>lore</i>"),
        Check(name="accuracy_style_only", max_value=-1, severity="soft", min_pairs=1, why="a soft one"),
        waivers=({**waiver, "granted": "2026-01-01", "expires": "2026-02-01"},),
    )
    page = Page(shown(toy_reports.full(), toy_reports.decision(toy_reports.full(), policy)))
    assert "PASSED WITH WARNINGS" in page.texts
    assert "banner passed_with_warnings" in page.attributes("class")
    assert "All 2 checks of the policy hold." not in page.texts
    waived = "waived by the <b>owner</b> until 2026-02-01: a pilot (failed: accuracy is"
    for start in (waived, "a soft one (", "<i>lore</i>", "Accuracy is"):
        assert any(text.startswith(start) for text in page.texts), start


def test_the_page_shows_what_was_audited():
    provenance = toy_reports.full().provenance
    texts = full_page().section("provenance")
    named = (provenance.checkpoint_digest, provenance.dataset_digest, provenance.base, *provenance.notes)
    for text in (*named, "1,234", "17", "annotations.jsonl", "41 of", provenance.champion):
        assert text in texts
    assert "not known" in bare_page().section("provenance")


def test_the_ends_of_two_doses_and_of_three_stand_together_in_the_figure(monkeypatch):
    drawn, across = {}, probe_figures.across

    def spy(axes, places, findings, **look):
        drawn[look["label"]] = places
        across(axes, places, findings, **look)

    monkeypatch.setattr(probe_figures, "across", spy)
    probe_figures.doses([probe for probe in toy_reports.full().probes if probe.name in ("double", "truncate")])
    assert {name: len(places) for name, places in drawn.items()} == {"double": 2, "truncate": 3}
    for places in drawn.values():
        assert (places[0], places[-1]) == (pytest.approx(0, abs=0.1), pytest.approx(1, abs=0.1))

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm.audit.records import Example
from rm.gate.checks import Check
from rm.gate.policy import GatePolicy
from rm.probes.results import ProbeExample
from rm.report import page as pages
from rm.report.figures import certainty, forests, length, overpaid, picks, probes, style, twins
from rm.report.figures.drawing import Drawn
from rm.report.text import visible
from rm.stats.finding import Finding
from tests.rm import toy_reports
from tests.rm.html_page import Page

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
HOSTILE = [
    "<script>alert(1)</script>",
    "</pre></div></details><script src=//evil.example/x.js></script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)' x='",
    "]]><script>alert(1)</script><![CDATA[",
    "--><svg/onload=alert(1)><!--",
    "&lt;script&gt; &amp; &#60;b&#62;",
    "{{ 7 * 7 }}{% raw %} ${7*7}",
    "</title></style><iframe src='https://evil.example'></iframe>",
    "<a href='javascript:alert(1)'>here</a> javascript:alert(1)",
    "red; } body { background: url(//evil.example/x) } /* </style> */ expression(alert(1))",
    "<ins>not added</ins><del>",
    "a NUL \x00 and \x1b[31m",
    "$\\frac{$ ^_{x}",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd \U0001f600",
]


POLICY = GatePolicy(
    checks=(
        Check(name="overpaid_own", min_value=-0.04, max_value=0.04, decides="bound", min_pairs=1),
        Check(name="accuracy", min_value=0.1, min_pairs=1),
    ),
    probe_checks=(),
    champion_checks=(),
    best_of_n_checks=(),
)


@pytest.fixture(autouse=True, scope="module")
def _without_figures():
    """Pages in a fraction of the time; no text of others is in a figure but for names of features, flaws and twins."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (certainty, forests, length, overpaid, picks, probes, style, twins):
            patch.setattr(module, "draw", lambda height, paint: Drawn(*["data:image/svg+xml;base64,"] * 2))
        yield


def example(text, make=Example):
    return make(prompt=text, chosen=text, rejected=text, margin=-1.0, length_chosen=1, length_rejected=2)


def edit(text):
    return ProbeExample(
        prompt=text, edited_prompt=f"{text}?", response=text, edited=f"{text}!", reward=0.0, reward_edited=1.0
    )


def written_by(text, report=None):
    """The report with a text wherever one of another's making can stand."""
    report = report or toy_reports.full()
    numbers = {"estimate": 0.5, "ci_low": 0.4, "ci_high": 0.6, "num_pairs": 9, "unit": text, "method": text}
    part = Finding(kind="benchmark", labels={"benchmark": "a", "part": text}, **numbers)
    feature = Finding(kind="coefficient", labels={"of": "label", "feature": f"a/{text}"}, **numbers)
    flaw = Finding(kind="flaw_accuracy", labels={"flaw": f"a/{text}"}, **numbers)
    subset = Finding(kind="subset_accuracy", labels={"division": text, "subset": f"a/{text}"}, **numbers)
    probe = report.probes[0].model_copy(update={"as_expected": False, "examples": (edit(text),)})
    word = report.words.found[0].model_copy(update={"phrase": text})
    pattern = report.top_rewards.style[0].model_copy(update={"pattern": text, "kind": "phrase"})
    row = report.overpaid.rows[0].model_copy(
        update={"feature": text, "within": text, "about": text, "source": text, "along": text, "verdict": "named"}
    )
    twin = report.twins[0].examples[0].model_copy(update={"original": text, "twin": f"{text}!"})
    twins_of = report.twins[0].model_copy(update={"kind": text, "examples": (twin,)})
    worst = Finding(kind="overpaid", labels={"family": "own"}, detail=text, **{**numbers, "ci_low": 0.3})
    origin = {
        "base": text,
        "sources": {text: text},
        "overlong": {text: {text: 3}},
        "notes": (text,),
        "champion": text,
        "champion_digest": text,
    }
    return report.model_copy(
        update={
            "findings": (*report.findings, part, feature, worst),
            "overpaid": report.overpaid.model_copy(update={"rows": (row,)}),
            "flaws": (flaw,),
            "subsets": {text: (subset,)},
            "examples": (example(text),),
            "probes": (probe,),
            "twins": (twins_of, report.twins[1]),
            "words": report.words.model_copy(update={"found": (word,)}),
            "top_rewards": report.top_rewards.model_copy(
                update={"phrases": (pattern,), "style": (pattern,), "unseen": (pattern,)}
            ),
            "length_unit": text,
            "provenance": report.provenance.model_copy(update=origin),
        }
    )


def shown(report):
    """The page of a report, judged with the check of a feature of one's own."""
    judged = report.model_copy(update={"examples": ()})  # half a surrogate pair has no digest
    decision = toy_reports.decision(judged, POLICY)
    return pages.page(report, decision, toy_reports.heldout())


def elements(page):
    """Every element with its attributes, but for what marks words as added and where texts are cut.

    A title, which is a text that is seen on hover, counts by its presence.
    """
    kept = [(tag, {**attributes}) for tag, attributes in page.elements if tag not in {"ins", "del", "i"}]
    for _, attributes in kept:
        attributes.update({"title": ""} if "title" in attributes else {})
    return kept


@pytest.fixture(scope="module")
def tame():
    return Page(shown(written_by("tame")))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_becomes_no_element_and_no_attribute_and_is_shown_as_written(text, tame):
    page = Page(shown(written_by(text)))
    assert elements(page) == elements(tame)
    assert all(not attributes for tag, attributes in page.elements if tag in {"ins", "del", "i"})
    assert page.text.count(visible(text)) >= tame.text.count("tame") - 8  # some are cut short, or woven with an edit


@cache
def tame_elements():
    return elements(Page(shown(written_by("xtame"))))


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("<>&\"'/={}%#`"), min_size=1, max_size=12))
@settings(max_examples=15)
def test_no_text_becomes_an_element_or_an_attribute(text):
    assert elements(Page(shown(written_by(f"x{text}")))) == tame_elements()


def test_text_direction_controls_are_made_visible(tame):
    page = shown(written_by(f"safe {BIDI} \u202eelbisivni"))
    assert not set(page) & set(BIDI)
    assert any("safe [U+061C]" in text and "[U+202E]elbisivni" in text for text in Page(page).texts)
    assert {"class": "text", "dir": "auto"} in [attributes for tag, attributes in tame.elements if tag == "div"]


def test_half_a_surrogate_pair_and_nul_can_be_written_and_are_seen(tmp_path):
    text = "half \ud83d of one, \x00 and \uffff"
    report = toy_reports.full().model_copy(update={"examples": (example(text, Example.model_construct),)})
    page = shown(report)
    page.encode("utf-8")
    assert Page(page).text.count("half [U+D83D] of one, [U+0000] and [U+FFFF]") >= 3


def test_what_an_edit_changed_is_marked_and_both_texts_are_there():
    one, other = "It is <b>so</b> & was.", "It is not <i>so</i> & was!"
    worst = edit("").model_copy(update={"prompt": "p", "edited_prompt": None, "response": one, "edited": other})
    report = toy_reports.full()
    probe = report.probes[0].model_copy(update={"as_expected": False, "examples": (worst,)})
    text = shown(report.model_copy(update={"probes": (probe,)}))
    woven = [part.split("</div>")[0] for part in text.split('<div class="text" dir="auto">')[1:]]
    marked = next(part for part in woven if "<ins>" in part)

    def without(tag):
        pieces, hidden, page = [], False, iter(Pieces(marked).parts)
        for kind, value in page:
            hidden = value == tag if kind == "start" else False if kind == "end" else hidden
            if kind == "text" and not hidden:
                pieces.append(value)
        return "".join(pieces)

    assert (without("ins"), without("del")) == (one, other)


class Pieces(Page):
    """Tags and texts in their order."""

    def __init__(self, text):
        self.parts = []
        super().__init__(text)

    def handle_starttag(self, tag, attrs):
        self.parts.append(("start", tag))
        super().handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        self.parts.append(("end", tag))
        super().handle_endtag(tag)

    def handle_data(self, data):
        self.parts.append(("text", data))
        super().handle_data(data)

import base64
import hashlib
import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from rm.gate.policy import GatePolicy
from rm.ledger import charts
from rm.ledger.building import build
from rm.ledger.page import page
from tests.rm.html_page import Page
from tests.rm.ledger import made_up
from tests.rm.ledger.made_up import audit, feature, finding, probe, whole

LENGTH = [0.09, 0.08, *[0.0] * 8]
BOLD = [0.0, 0.0, 0.0, 0.0, 0.09, *[0.0] * 5]
RATES = [0.02, 0.1, 0.5, 0.55, 0.7]


def ledger(sizes=(LENGTH, LENGTH, BOLD), versions=("1", None, None)):
    generator = np.random.default_rng(0)
    verdicts = ["passed" if version else "failed" for version in versions]
    return build(
        "reward-model",
        [
            made_up.read(whole(each, RATES, generator, verdict=verdict), at, version)
            for at, (each, version, verdict) in enumerate(zip(sizes, versions, verdicts, strict=True))
        ],
    )


def hostile(text):
    """Two runs with a text wherever one of another's making can stand."""
    findings = [
        finding("accuracy", "accuracy", 0.7),
        finding("gain_without", f"gain_without_{text}", 0.1, part=text),
    ]
    words = probe(text, "not_higher", 0.9, **{text: 0.9})
    changes = {"verdict": text, "dataset_digest": text, "checkpoint_digest": text}
    audits = [audit(findings, [feature(text, text, -size, 0.2)], [words], **changes) for size in (0.1, 0.0)]
    return build(text, [made_up.read(each, at, text, text) for at, each in enumerate(audits)])


def charts_of(text):
    return [ElementTree.fromstring(found) for found in re.findall(r"<svg viewBox=\"0 0 264.*?</svg>", text, re.DOTALL)]


def test_the_page_may_run_nothing_and_load_nothing():
    text = page(ledger())
    made = Page(text)
    (policy,) = [each["content"] for tag, each in made.elements if each.get("http-equiv") == "Content-Security-Policy"]
    style = re.search("<style>(.*?)</style>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    tags = {tag for tag, _ in made.elements}
    assert not tags & {"script", "img", "iframe", "link", "object", "embed", "form", "a"}
    names = {name for _, attributes in made.elements for name in attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"src", "href", "style"}


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)' x='",
    "</title></style></svg><iframe src='https://evil.example'></iframe>",
    "{{ 7 * 7 }}{% raw %}",
    "]]><!--",
    "a \x1b[31m and \u202e",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_names_of_others_are_shown_and_do_nothing(text):
    plain = Page(page(hostile("harmless")))
    made = Page(page(hostile(text)))
    assert [tag for tag, _ in made.elements] == [tag for tag, _ in plain.elements]
    names = [sorted(attributes) for _, attributes in made.elements]
    assert names == [sorted(attributes) for _, attributes in plain.elements]
    shown = text.replace("\x1b", "[U+001B]").replace("\u202e", "[U+202E]")
    assert any(shown in piece for piece in made.texts)
    assert not {"\x1b", "\u202e"} & set(made.text)


def test_the_alerts_of_the_last_run_stand_on_top_and_those_of_earlier_ones_are_folded():
    found = ledger()
    made = Page(page(found))
    assert found.newest_alerts
    assert made.section("first")[0] == "One bias fell while another rose"
    assert set(found.newest_alerts) <= set(made.section("first"))
    calm = ledger((LENGTH, BOLD, BOLD), ("1", "2", "3"))
    made = Page(page(calm))
    assert made.section("first")[0] == "In the last run no bias fell while another rose"
    assert made.texts.index(calm.alerts[0].text) > made.texts.index("1 earlier alert")


def test_what_changed_comes_first_and_all_runs_are_listed_the_newest_first():
    made = Page(page(ledger()))
    first = [text for text in made.section("changed") if text in ("log characters", "bold", "hedges", "edit: double")]
    assert set(first[:2]) <= {"log characters", "bold"}
    assert "\N{BLACK DOWN-POINTING TRIANGLE} overpaid, fell" in made.section("changed")
    assert "\N{BLACK UP-POINTING TRIANGLE} overpaid, rose" in made.section("changed")
    runs = [text for text in made.section("runs") if text.startswith(("run", "version"))]
    assert runs == ["run", "run 0002eeee", "run 0001eeee", "version 1"]


def test_what_changed_before_the_last_run_comes_first_where_the_last_changed_nothing():
    found = ledger((LENGTH, BOLD, BOLD), ("1", "2", "3"))
    assert not [change for change in found.most_changed if change.found]
    first = [each.title for each in charts.most_changed(found, 3)]
    assert "bold" in first and set(first) <= {"bold", "log characters", "log sentences", "reward follows length"}
    assert (
        "The last run changed nothing beyond chance; these are the surest changes of any run." in Page(page(found)).text
    )


def test_a_scale_of_shares_ends_at_none_and_at_all():
    values = audit(
        [finding("accuracy", "accuracy", 0.7)], probes=[probe("empty", "lower", 0.0), probe("double", "lower", 1.0)]
    )
    groups = charts.by_group(build("m", [made_up.read(values)]))
    ticks = {tick.text for chart in groups["How often an edited response wins"] for tick in chart.ticks}
    assert {"0.0", "100.0"} <= ticks
    assert all(0 <= float(text) <= 100 for text in ticks)


def test_a_ledger_of_one_run_is_a_page_too():
    made = Page(page(ledger((LENGTH,), ("1",))))
    assert "In the last run no bias fell while another rose" in made.texts
    assert "no earlier run is shown, so that it is compared with nothing" in made.text
    assert "changed" not in made.sections


def test_every_chart_has_a_mark_for_each_run_within_its_picture():
    found = charts_of(page(ledger()))
    assert len(found) > 20
    for chart in found:
        marks = [one for one in chart.iter("g") if one.get("class") in ("registered", "rejected")]
        assert [mark.get("class") for mark in marks] == ["registered", "rejected", "rejected"]
        xs = [float(mark.find("circle").get("cx")) for mark in marks]
        assert xs == sorted(set(xs)) and xs[0] >= 40 and xs[-1] <= charts.WIDTH
        for mark in marks:
            bar, y = mark.find("line"), float(mark.find("circle").get("cy"))
            assert 0 <= float(bar.get("y1")) <= y <= float(bar.get("y2")) <= charts.HEIGHT


def chart(title, found):
    return next(each for group in charts.by_group(found).values() for each in group if each.title == title)


def test_the_limits_of_a_chart_are_those_of_the_gates_check_and_lie_on_its_scale():
    check = next(each for each in GatePolicy().checks if each.name == "overpaid_length")
    found = chart("log characters", ledger())
    assert [limit.text for limit in found.limits] == [
        f"\N{MINUS SIGN}{100 * -check.min_value:.1f}",
        f"{100 * check.max_value:.1f}",
    ]
    below, above = (limit.y for limit in found.limits)
    assert above < found.neutral < below  # from the top down
    assert found.neutral - above == pytest.approx(below - found.neutral, abs=0.15)
    assert found.marks[0].y < above and found.marks[0].about.startswith("version 1, 2026-01-05, passed: ")
    assert chart("accuracy", ledger()).limits == ()


def test_all_charts_of_a_group_share_one_scale():
    found = charts.by_group(ledger())["Features of surface: overpaid above 0, over-punished below"]
    assert len({each.neutral for each in found}) == 1


def test_many_runs_have_few_labels_and_the_last_has_one():
    found = ledger([LENGTH] * 30, [str(at) for at in range(30)])
    labels = chart("bold", found).labels
    assert len(labels) <= 9
    assert labels[-1][1] == "29"


def test_the_ledger_is_strict_json():
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    found = ledger()
    values = json.loads(found.model_dump_json(), parse_constant=refuse)
    assert type(found).model_validate(values) == found
    assert [row["quantity"]["key"] for row in values["rows"]] == [row.quantity.key for row in found.rows]

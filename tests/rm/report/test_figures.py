import base64
import re
from dataclasses import replace
from xml.etree import ElementTree

from rm.audit.heldout import ScoredResponses
from rm.report import stage as reporting
from rm.report.figures.drawing import Drawn
from rm.report.parts import PageInput
from rm.report.sections import SECTIONS
from tests.rm import toy_reports
from tests.rm.report.test_page import bare_page, full_page, full_text, shown


def external(text):
    return re.findall(r"""(?:src|href|action|poster)\s*=\s*["']?\s*(?:https?:)?//|url\(\s*["']?(?!#)|@import""", text)


def test_the_page_needs_nothing_from_the_network():
    for page in (full_page(), bare_page()):
        names = ("src", "srcset", "action", "data", "poster", "style", "background")
        addresses = [address for name in names for address in page.attributes(name)]
        assert addresses
        assert all(address.startswith("data:image/svg+xml;base64,") for address in addresses)
        assert {tag for tag, _ in page.elements}.isdisjoint({"script", "iframe", "link", "object", "embed", "form"})
        (styles,) = (text for text in page.texts if "font-variant-numeric" in text)
        assert not external(styles)
        for address in addresses:
            image = base64.b64decode(address.split(",")[1]).decode("utf-8")
            assert "<svg" in image
            assert "<script" not in image
            assert not external(image)


def test_every_image_says_what_it_shows():
    images = [attributes for tag, attributes in full_page().elements if tag == "img"]
    assert len(images) == len({image["alt"] for image in images}) >= 12


def test_pairs_of_equal_length_and_a_constant_reward_can_be_shown(make_heldout):
    heldout = make_heldout([0, 0, 1], [(1.0, 5, "a")] * 3, [(1.0, 5, "b")] * 3)
    report = toy_reports.full()
    source = PageInput(report=report, decision=toy_reports.decision(report), heldout=heldout)
    parts = {
        section.anchor: section.build(source) for section in SECTIONS if section.anchor in ("length", "calibration")
    }
    drawn = [*parts["length"].values(), *parts["calibration"].values()]
    assert sum(isinstance(one, Drawn) for one in drawn) == 5


def test_a_page_of_three_thousand_responses_and_long_texts_stays_small():
    heldout = toy_reports.heldout()
    small = heldout.responses
    responses = ScoredResponses(
        prompt=small.prompt.repeat(13),
        cluster=small.cluster.repeat(13),
        reward=small.reward.repeat(13),
        length=small.length.repeat(13),
        texts=small.texts * 13,
    )
    assert len(responses.reward) >= 3000
    long = {"response": "a b " * 9000, "edited": "c d " * 9000}
    probes = tuple(
        probe.model_copy(
            update={"as_expected": False, "examples": tuple(one.model_copy(update=long) for one in probe.examples)}
        )
        for probe in toy_reports.full().probes
    )
    report = toy_reports.full().model_copy(update={"probes": probes})
    changed = shown(report, heldout=replace(heldout, responses=responses), anchors={"length", "probes"})
    assert "characters left out" in changed
    assert len(full_text().encode("utf-8")) + len(changed.encode("utf-8")) < 3_000_000  # more than the whole page


def test_the_picture_of_the_first_screen_is_a_file_of_its_own_and_the_same_as_on_the_page(tmp_path):
    report, decision = toy_reports.full(), toy_reports.decision(toy_reports.full())
    reporting.write_files(report, decision, toy_reports.heldout(), tmp_path)
    picture = (tmp_path / "picture.svg").read_bytes()
    assert ElementTree.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
    assert base64.b64encode(picture).decode() in (tmp_path / "audit.html").read_text(encoding="utf-8")

"""What can be added is in all places that must know it: forgotten there, one of these fails."""

import importlib
import pkgutil
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import get_args

import pytest

import rm.benchmarks
import rm.data.formats
from rm.benchmarks.catalog import BENCHMARKS
from rm.data.formats import catalog
from rm.data.formats.catalog import FORMATS
from rm.data.formats.document import page
from rm.edits import rewrites, shape
from rm.features.battery import BATTERY, Family
from rm.gate.checks import CHAMPION_CHECKS, DEFAULT_CHECKS, PROBE_CHECKS
from rm.labels.config import DEFAULT_CHECKS as DEFAULT_LABEL_CHECKS
from rm.labels.config import MEASURES
from rm.pipeline import document as configuration
from rm.probes.catalog import PROBES
from rm.report import not_tested
from rm.report.sections import SECTIONS
from tests.rm import toy_reports

ROOT = Path(__file__).parents[1]
SHARED_TEMPLATES = {"frame", "page", "macros", "verdict", "printed"}


def document(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def modules(package):
    return [
        importlib.import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__)
    ]


def test_every_benchmark_is_in_the_catalog():
    assert {module for module in modules(rm.benchmarks) if hasattr(module, "NAME")} == set(BENCHMARKS)
    assert len({each.NAME for each in BENCHMARKS}) == len(BENCHMARKS) > 3


def test_every_format_is_in_the_catalog():
    found = [module for module in modules(rm.data.formats) if module is not catalog and hasattr(module, "FORMATS")]
    assert {id(each) for module in found for each in module.FORMATS} == set(map(id, FORMATS))
    assert len({each.name for each in FORMATS}) == len(FORMATS) > 3


def test_the_page_of_formats_is_what_the_formats_say():
    assert document("formats.md") == page()


def test_the_page_of_the_configuration_is_what_its_classes_say():
    assert document("configuration.md") == configuration.page()


def test_every_key_of_the_configuration_is_explained():
    assert configuration.undocumented() == []


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda each: each.NAME)
def test_the_document_of_the_audit_names_every_benchmark(benchmark):
    written = benchmark.NAME.replace("_", "").lower()
    assert written in re.sub(r"[\s_-]", "", document("audit.md")).lower()


@pytest.mark.parametrize("probe", PROBES, ids=lambda each: each.name)
def test_every_probe_has_a_line_in_the_document_and_a_group_of_what_was_not_tested(probe):
    assert f"| `{probe.name}` |" in document("audit.md")
    assert sum(probe.name in names for names in not_tested._PROBES_OF.values()) == (probe.name != "others_sentence")
    if probe.has_limits and not isinstance(probe.doses, str):
        assert f"probe_{probe.name}" in {check.name for check in PROBE_CHECKS}


@pytest.mark.parametrize("family", get_args(Family))
def test_the_gate_has_a_check_for_every_family_of_features(family):
    assert f"overpaid_{family.replace(' ', '_')}" in {check.name for check in DEFAULT_CHECKS}


def test_the_document_of_the_audit_says_how_many_features_there_are():
    assert f"has {len(BATTERY)} features" in document("audit.md")


@pytest.mark.parametrize("module", [shape, rewrites], ids=lambda module: module.__name__)
def test_every_edit_is_used_by_a_probe_or_by_another_edit(module):
    files = (path for package in ("edits", "probes") for path in (ROOT / "rm" / package).glob("*.py"))
    sources = "".join(path.read_text(encoding="utf-8") for path in files)
    public = [name for name, value in vars(module).items() if callable(value) and value.__module__ == module.__name__]
    assert public
    for name in (name for name in public if not name.startswith("_")):
        assert len(re.findall(rf"\b{name}\b", sources)) > 1, name


@pytest.mark.parametrize("check", [*DEFAULT_CHECKS, *CHAMPION_CHECKS], ids=lambda each: each.name)
def test_the_document_of_the_gate_names_every_check(check):
    patterns = re.findall(r"`([a-z_*]+)`", document("gate.md"))
    assert any(fnmatchcase(check.name, pattern) for pattern in patterns)


def test_the_document_of_the_labels_has_every_check_with_its_default_limits():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", document("labels.md"), re.MULTILINE))
    expected = {
        name: ", ".join(f"{check.limit:g} {check.action}s" for check in DEFAULT_LABEL_CHECKS if check.name == name)
        for name in MEASURES
    }
    assert rows == expected


def test_the_document_of_the_audit_describes_every_finding():
    table = document("audit.md")
    patterns = re.findall(r"`([A-Za-z_*]+)`", table)
    patterns = [re.sub(r"_(N|FAMILY|PART)\b", "_*", pattern) for pattern in patterns]
    patterns += ["probe_*", "invariance_*", "*/*"]  # described in the sections on probes and benchmarks
    missing = {
        finding.name
        for finding in toy_reports.full().findings
        if not any(fnmatchcase(finding.name, pattern) for pattern in patterns)
    }
    assert not missing


def test_every_section_has_a_template_and_every_template_a_section():
    templates = {path.name.partition(".")[0] for path in (ROOT / "rm" / "report" / "templates").glob("*.html.j2")}
    assert templates - SHARED_TEMPLATES == {section.anchor for section in SECTIONS}
    assert templates > SHARED_TEMPLATES

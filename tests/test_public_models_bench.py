"""The table of published models, without the published data."""

import gzip
import importlib.util
import json
import math
from pathlib import Path

import pytest

from rm.stats.finding import Finding, key
from tests.rm import toy_reports

SPEC = importlib.util.spec_from_file_location("public_models", Path(__file__).parents[1] / "bench" / "public_models.py")
bench = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(bench)


def lines(path, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


@pytest.fixture
def data(tmp_path):
    """Eight pairs of four prompts; the model is right on three in four, and on one in four of the twins."""
    prompts = [[{"role": "user", "content": f"Why {place // 2}?"}] for place in range(8)]
    pairs = [
        {"idx": place, "prompt": prompt, "chosen": f"good {place}", "rejected": f"bad answer {place}"}
        for place, prompt in enumerate(prompts)
    ]
    folder = tmp_path / "reward_models"
    lines(folder / "pairs_original.jsonl.gz", pairs)
    lines(folder / "pairs_dialect_twin.jsonl.gz", pairs)
    for kind, right in (("original", 6), ("dialect_twin", 2)):
        rewards = [{"chosen": [1.0 + place], "rejected": [place + 2.0 * (place >= right)]} for place in range(8)]
        lines(folder / f"org_model.{kind}.jsonl.gz", rewards)
    return tmp_path


def overpaid(family, estimate, low, high):
    facts = {"num_pairs": 9, "unit": "share", "method": "made up", "name": f"overpaid_{family}"}
    labels = {"family": family}
    return Finding.model_construct(kind="overpaid", labels=labels, estimate=estimate, ci_low=low, ci_high=high, **facts)


def test_models_are_found_with_the_difference_that_their_twins_make(data):
    (model,) = bench.models(data)
    assert model.name == "org_model"
    assert model.scores.heldout.pairs.correct.mean() == 0.75
    assert model.twin_difference.estimate == -0.5
    assert -1 <= model.twin_difference.low <= -0.5 <= model.twin_difference.high <= 0


def test_a_row_has_every_column_and_is_blank_where_nothing_was_measured(data):
    (model,) = bench.models(data)
    findings = [one for one in toy_reports.full().findings if one.kind in {"accuracy", "length_correlation"}]
    report = toy_reports.full().model_copy(update={"findings": tuple(findings)})
    cells = bench.row(model, report, "failed")
    assert len(cells) == len(bench.HEADER)
    assert cells[:2] == ("org_model", "8")
    accuracy = report.finding("accuracy")
    assert cells[2] == f"{accuracy.estimate:.3f} ({accuracy.ci_low:.3f} to {accuracy.ci_high:.3f})"
    assert cells[4:13] == ("failed", *[""] * 8)
    assert cells[13].startswith("-0.500 (")
    more = report.model_copy(update={"findings": (*findings, overpaid("length", -0.1, -0.2, -0.05))})
    assert bench.row(model, more, "failed")[5] == "-0.100 (at least 0.050)"


def test_the_worst_family_is_the_one_with_the_largest_bound_that_is_not_length():
    found = [
        overpaid("length", 0.5, 0.4, 0.6),
        overpaid("tone", 0.3, -0.1, 0.6),
        overpaid("people", -0.1, -0.2, -0.02),
        overpaid("wording", math.nan, math.nan, math.nan),
    ]
    assert bench.worst_family(found) == "people -0.100 (at least 0.020)"
    assert bench.worst_family(found[:2]) == "tone +0.300 (at least 0.000)"
    assert bench.worst_family([found[0], found[3]]) == ""
    assert bench.estimate(None) == bench.bounded(None) == ""


def test_the_finding_that_the_bench_reads_by_label_exists():
    labels = {"over": "label_controlled", "statistic": "pearson"}
    assert key("length_correlation", **labels).name == "length_label_controlled_pearson"
    assert toy_reports.full().find("length_correlation", **labels) is not None

import json
import math

import pytest

from rm.audit.twins import Twins, measure
from rm.report import twins as report
from rm.stats.config import BootstrapConfig

CONFIG = BootstrapConfig(num_resamples=100)


@pytest.fixture
def results():
    """One kind with pairs, and one of single responses, too few for an interval, with texts that are Markdown."""
    ids = [str(number) for number in range(12)]
    pairs = Twins.of(ids, [(1.0, number % 3 / 2) for number in range(12)], [(0.5, 1.0)] * 12, "dialect")
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
    assert "24 twins of 12 prompts, 12 pairs; accuracy 0.833 on the originals, 0.000 on the twins" in written
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

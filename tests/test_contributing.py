"""The examples in CONTRIBUTING.md work, and are short."""

import re
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from rm.audit.config import AuditConfig
from rm.benchmarks.entry import Answer
from rm.data.preferences import Message
from rm.features.responses import Responses
from rm.gate.decision import judge
from rm.probes.config import ProbeConfig
from rm.probes.context import Corpus, EditContext
from rm.probes.effects import measure
from rm.probes.scoring import score
from rm.probes.variants import variants
from rm.stats.measurements import Measurements
from tests.rm import biased_scorers, toy_reports

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"### (.*?)\n.*?```python\n(.*?)```", TEXT, flags=re.DOTALL))


def example(title):
    names = {"__name__": "example"}
    exec(compile(EXAMPLES[title], f"CONTRIBUTING.md: {title}", "exec"), names)
    return names


def test_there_is_an_example_for_each_thing_that_can_be_added():
    titles = re.findall(r"^### (.*)$", TEXT, flags=re.MULTILINE)
    assert titles == list(EXAMPLES) and len(titles) == 7


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_is_short(title):
    assert len(EXAMPLES[title].splitlines()) < 40


def test_the_format_reads_its_row():
    (added,) = example("A format of annotations")["FORMATS"]
    row = {"question": "2 + 2?", "good": "4", "bad": "5", "annotator": "a7", "round": "two", "level": 3}
    assert added.unknown(frozenset(row)) == {"level"} and not added.infers_prompt(row)
    (found,) = added.read(row)
    assert (found.prompt, found.first, found.second) == ((Message("user", "2 + 2?"),), "4", "5")
    assert (found.preference, found.annotator) == (1.0, "a7")


def test_the_probe_finds_a_model_that_likes_capital_letters():
    probe = example("A probe")["shouting"]
    parents = biased_scorers.parents(20)
    context = EditContext(parent=parents[0], corpus=Corpus(parents), draw=Random(0))
    assert probe.edit(context, "") == parents[0].response.upper()
    rows = score(
        parents, variants(parents, [probe], ProbeConfig()), biased_scorers.scorer(lambda _, text: text.isupper())
    )
    clusters = {one: place for place, one in enumerate(dict.fromkeys(rows["prompt_id"].to_pylist()))}
    (result,) = measure(rows, [probe], ProbeConfig(), AuditConfig(num_resamples=100), clusters)
    assert result.win_rate.estimate == 1.0 and result.as_expected is False


def test_the_feature_counts_what_it_says():
    feature = example("A feature of surface")["footnotes"]
    texts = ["As is known [1][2].", "None."]
    counts = feature.read(Responses(texts, ["What?"] * 2))
    assert counts[0] > counts[1] == 0


def test_the_finding_is_measured_and_its_section_says_when_it_is_not():
    added = example("A finding, with its section on the page")
    pairs = toy_reports.heldout().pairs
    collected = Measurements(toy_reports.heldout().num_clusters, AuditConfig(num_resamples=100))
    added["add"](collected, pairs)
    (found,) = collected.findings().values()
    prefers_longer = toy_reports.full().finding("length_preference_model").estimate
    assert found.estimate == pytest.approx(1 - prefers_longer, abs=1e-12)
    section, report = added["section"], toy_reports.full()
    assert not section.measured(report)
    assert section.measured(report.model_copy(update={"findings": (*report.findings, found)}))


def test_the_check_fails_a_coin():
    check = example("A check")["sure"]
    coin = toy_reports.full().finding("log_loss").model_copy(update={"estimate": 0.7, "ci_low": 0.695, "ci_high": 0.71})
    assert judge(check, coin)[0] == "failed"
    assert judge(check, coin.model_copy(update={"estimate": 0.5, "ci_low": 0.4, "ci_high": 0.6}))[0] == "passed"


def test_the_benchmark_scores_by_topic():
    added = example("A benchmark")
    rows = [{"riddle": f"Which is {n}?", "right": "a", "wrong": "b", "topic": "xy"[n % 2]} for n in range(4)]
    assert all(map(added["matches"], rows))
    answers = [
        Answer(added["read"](row, "stem"), number, np.array([1.0]), np.array([float(number)]))
        for number, row in enumerate(rows)
    ]
    results = {result.name: result for result in added["results"](answers, 4)}
    values = {name: result.statistic(np.ones((1, 4)))[0] for name, result in results.items()}
    assert values == {"x": 0.5, "y": 0.0, "score": 0.25}  # right where 1 > number


def test_the_term_of_the_loss_is_a_value_per_pair():
    term = example("A term of the loss")["shrinkage"]
    found = term(torch.tensor([1.0, -2.0]), torch.tensor([3.0, 0.5]))
    torch.testing.assert_close(found, torch.tensor([10.0, 4.25]))

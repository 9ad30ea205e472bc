"""Audits of toy reward models, made once: one with all there can be, one of nothing but the held-out pairs."""

from datetime import date
from functools import cache

import numpy as np

from rm.audit import best_of_n_labels, twins
from rm.audit.best_of_n_labels import CandidateSets, Picker
from rm.audit.config import AuditConfig
from rm.audit.evidence import Evidence, TrainTexts
from rm.audit.records import Provenance, WordResult, WordTable
from rm.audit.run import examine
from rm.gate.decision import decide
from rm.gate.policy import GatePolicy
from rm.labels.checks import judge
from rm.labels.config import DEFAULT_CHECKS
from rm.labels.records import (
    AnnotatorRow,
    BenchmarkRow,
    DriftRow,
    Estimate,
    Giveaway,
    LabelReport,
    MarkRow,
    SourceRow,
    Standing,
)
from rm.probes import allocation, catalog, invariances, scoring
from rm.probes import context as given
from rm.probes.config import ProbeConfig
from rm.stats.clustered import Interval
from rm.stats.finding import Finding, key
from rm.stats.measurements import finding
from tests.rm import toy_world

TODAY = date(2026, 1, 1)
_LEFT_OUT = ("coefficient", "largest_style_coefficient", "best_of_n", "best_of_n_gain")
_FLAWS = ("wrong_fact", "rude_tone", "off_topic")
_CONFIG = AuditConfig(
    num_resamples=100,
    bucket_tokens=20,
    num_examples=3,
    probes=ProbeConfig(num_parents=40, budget=30, keywords=("indeed",)),
)
_PROVENANCE = Provenance(
    base="org/base",
    checkpoint_digest="c" * 64,
    dataset_digest="d" * 64,
    sources={"annotations.jsonl": "a" * 64},
    num_train_pairs=1234,
    num_heldout_prompts=60,
    num_label_ties=17,
    overlong={"prompts cut": {"train": 41}},
    notes=("a note on the data",),
    champion="reward-model version 3",
    champion_digest="e" * 64,
)


def _biased(prompt, text):
    return toy_world.biased(toy_world.length, 2.0)(prompt, text)


_items = toy_world.score_items(_biased)


@cache
def heldout():
    """Of a model that likes length."""
    return toy_world.heldout(_world(), _biased)


@cache
def _world():
    return toy_world.generate(60, 3, 0)


@cache
def twin_results():
    """Of pairs of 40 prompts: a dialect costs 1.5 on half of the chosen responses, a name changes nothing of note."""
    generator = np.random.default_rng(3)
    ids, rewards = [f"prompt {number}" for number in range(40)], generator.normal([0.6, 0.0], 1.0, (40, 2))
    texts = [(f"She is number {number}.", f"She number {number}.") for number in range(40)]
    costs = {
        "dialect": np.where(np.arange(40)[:, None] % 2, [1.5, 0.0], 0.0),
        "a_name": generator.normal(0, 0.01, (40, 2)),
    }
    return tuple(
        twins.measure(twins.Twins.of(ids, rewards.tolist(), (rewards - cost).tolist(), kind, texts), _CONFIG)
        for kind, cost in costs.items()
    )


@cache
def picks():
    """Of four candidates for each of 25 prompts; the reward is the judge's probability with some noise."""
    generator = np.random.default_rng(4)
    label, number = generator.random(100), np.repeat(np.arange(25), 4)
    sets = CandidateSets(
        set_of=number,
        cluster=np.arange(25),
        prompts=tuple(f"What is {prompt}?" for prompt in range(25)),
        texts=tuple("It is so. " * size for size in generator.integers(1, 9, 100).tolist()),
        label=label,
    )
    picker = Picker(name="toy", reward=label + generator.normal(0, 0.3, 100), scored=True)
    return best_of_n_labels.main(best_of_n_labels.measure(sets, picker, _CONFIG))


@cache
def full():
    """The report of an audit with every kind of evidence."""
    shared_out = allocation.allocate(given.parents(_world()), catalog.PROBES, _CONFIG.probes)
    table = scoring.score(shared_out.parents, shared_out.variants, _items)
    known = toy_world.heldout(toy_world.generate(100, 1, 9), toy_world.constant).pairs
    formula = {"ci_low": 0.6, "ci_high": 0.8, "num_pairs": 9, "unit": "share", "method": "as the authors do"}
    evidence = Evidence(
        heldout=heldout(),
        train=TrainTexts(chosen=known.chosen, rejected=known.rejected),
        champion=toy_world.heldout(_world(), toy_world.sound),
        probes=table,
        invariances=invariances.invariances(_items, shared_out.parents[:5], {}),
        flawed_pairs=[{"flaw": flaw, "reward_chosen": 1.0, "reward_rejected": 0.0} for flaw in _FLAWS],
        twins=twin_results(),
        best_of_n=picks(),
        formulas=(Finding(kind="benchmark", labels={"benchmark": "bench", "part": "score"}, estimate=0.7, **formula),),
    )
    facts = {"num_pairs": 90, "share_model": 0.812, "share_labels": 0.543, "z": 4.5, "p": 1e-5, "q": 2e-4}
    word = WordResult(phrase="comes up", direction="over", asked=-0.063, paid=0.145, **facts)
    words = WordTable(found=(word,), num_found=1, num_tested=321)
    return examine(evidence, _PROVENANCE, _CONFIG).model_copy(update={"words": words})


@cache
def bare():
    """The report of an audit of held-out pairs and nothing else, without what can be left out, and the pairs."""
    small = toy_world.heldout(toy_world.generate(25, 1, 0), toy_world.sound)
    unknown = {"champion": None, "champion_digest": None, "num_train_pairs": None, "overlong": {}, "notes": ()}
    measured = examine(Evidence(heldout=small), _PROVENANCE.model_copy(update=unknown), _CONFIG)
    left_out = {
        "deciles": (),
        "calibration": (),
        "overpaid": None,
        "words": None,
        "top_rewards": None,
        "subsets": {},
        "examples": (),
    }
    findings = tuple(one for one in measured.findings if one.kind not in _LEFT_OUT)
    return measured.model_copy(update={**left_out, "findings": findings}), small


def decision(report, policy=None):
    return decide(report, policy or GatePolicy(), TODAY)


def labels():
    """What was found on made-up labels: a row of each table, one of them with a hostile name."""
    name = "<script>alert(1)</script>"
    share = Estimate(value=0.6, low=0.5, high=0.7)
    standing = Standing(own=share, others=0.7, num_prompts=20, is_tested=True, is_far=True)
    found = finding(key("label_longer_wins"), Interval(0.8, 0.75, 0.85), 90, "share of votes", "made up")
    report = LabelReport(
        num_prompts=50,
        num_pairs=90,
        num_train_pairs=90,
        num_votes=120,
        findings=(found,),
        marks=(MarkRow(feature="bold", family="structure", num_pairs=30, more_wins=share, effect=share),),
        giveaways=(Giveaway(name=f"phrase {name!r}", num_pairs=40, wins=1.0, bound=0.95),),
        annotators=(
            AnnotatorRow(annotator=name, num_votes=40, num_shared=30, agreement=standing, longer_wins=standing),
        ),
        sources=(
            SourceRow(
                source=name,
                num_votes=120,
                num_pairs=90,
                longer_wins=share,
                first_wins=share,
                agreement=share,
                share_of_new=0.5,
                share_of_old=0.5,
            ),
        ),
        near_duplicates=(),
        benchmarks=(
            BenchmarkRow(benchmark="riddles", num_prompts=9, num_skipped=1, num_train=2, num_heldout=0, examples=()),
        ),
        drift=(DriftRow(name="bold", old=0.1, new=0.2, change=share),),
        checks=(),
        notes=("a note",),
    )
    return report.model_copy(update={"checks": judge(report, DEFAULT_CHECKS)})

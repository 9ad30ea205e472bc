"""Audits of toy reward models, made once: one with all there can be, one of nothing but the held-out pairs."""

from datetime import date
from functools import cache

from rm.audit.config import AuditConfig
from rm.audit.evidence import Evidence, TrainTexts
from rm.audit.records import Provenance, WordResult, WordTable
from rm.audit.run import examine
from rm.gate.decision import decide
from rm.gate.policy import GatePolicy
from rm.probes import allocation, catalog, invariances, scoring
from rm.probes import context as given
from rm.probes.config import ProbeConfig
from rm.stats.finding import Finding
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

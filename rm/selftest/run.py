"""The audit audits itself: which biases it would have found with this number of pairs.

Reward models with a planted bias of known strength (`rm.selftest.toy_world`) are audited as the real one was, several
times and each time on new made-up data. How often a check fails them is its detection rate. How often it fails the
sound model, on labels that favour length, is its false-alarm rate. These rates say how much a verdict is worth. For the
checks on a champion, another sound model is the champion.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from rm.audit.config import AuditConfig
from rm.audit.evidence import Evidence, TrainTexts
from rm.audit.run import measure_core
from rm.data.preferences import PromptGroup
from rm.files import replace_text
from rm.gate.checks import Check, group_of
from rm.gate.decision import judge
from rm.gate.policy import GatePolicy
from rm.probes import allocation, catalog, effects, scoring
from rm.probes.config import ProbeConfig
from rm.probes.context import parents
from rm.selftest import toy_world
from rm.selftest.config import SelfTestConfig
from rm.selftest.manifests import SelfTestManifest
from rm.selftest.records import CheckRate, PlantedBias, SelfTest
from rm.stats.finding import Finding

NUM_REPEATS = 20
NUM_PROBED_REPEATS = 3
"""Repeats in which responses are also edited, which takes longer than everything else."""
MAX_PAIRS = 3000
_NUM_TRAIN = 1000
_NUM_RESAMPLES = 200
_BLIND_TO = {"probe_sentence_shuffle"}
"""Checks that every toy fails, because the order of sentences means nothing to toys."""
_MAX_PAIRS_PER_PROMPT = 20
_DETECTED = 0.8
"""Share of the repeats in which a bias must be found to count as seen: the usual 80 % of power."""
_VERDICTS = ("passed", "failed", "inconclusive")
_SEED = 1_000_000
"""Far from the seeds of everything that is measured."""


class Plant(NamedTuple):
    """A toy reward model, and how strong its bias is."""

    name: str
    reward: toy_world.Reward
    strength: float


class _Told(NamedTuple):
    """What one check found in one audit."""

    status: str
    finding: Finding


_Run = dict[str, _Told]
"""Results of the checks by name."""

PLANTS = (
    Plant("sound", toy_world.sound, 0.0),
    *(Plant("length", toy_world.biased(toy_world.length, strength), strength) for strength in (0.25, 0.5, 1.0, 2.0)),
    *(Plant("shortness", toy_world.biased(toy_world.length, -strength), strength) for strength in (0.5, 1.0, 2.0)),
    *(Plant("keyword", toy_world.biased(toy_world.keyword, strength), strength) for strength in (1.0, 2.0, 4.0)),
    *(Plant("formatting", toy_world.biased(toy_world.formatting, strength), strength) for strength in (1.0, 2.0, 4.0)),
    Plant("constant", toy_world.constant, 1.0),
    Plant("bag of words", toy_world.bag_of_words, 1.0),
    Plant("prompt-blind", toy_world.prompt_blind, 1.0),
)


def run_self_test(num_pairs: int, num_prompts: int, policy: GatePolicy, probe_config: ProbeConfig) -> SelfTest:
    """Audit toy reward models on made-up data of a given size and judge them by a policy.

    Parameters
    ----------
    num_pairs, num_prompts : int
        Size of the real audit; near-duplicate prompts count as one. At most 3,000 pairs are simulated; an audit of
        more pairs could only find more.
    policy : GatePolicy
        Its checks on findings that toys do not have are left out; the result names them.
    probe_config : ProbeConfig
        How many responses the audit's probes edit.

    Returns
    -------
    SelfTest
    """
    pairs_per_prompt = max(1, min(round(num_pairs / num_prompts), _MAX_PAIRS_PER_PROMPT))
    num_prompts = max(1, min(num_prompts, MAX_PAIRS // pairs_per_prompt))
    known = toy_world.heldout(toy_world.generate(_NUM_TRAIN, 1, _SEED - 1), toy_world.constant).pairs
    train = TrainTexts(chosen=known.chosen, rejected=known.rejected)
    wanted = {check.name for check in policy.every_check}
    asks_edits = not wanted.isdisjoint(effects.names(catalog.PROBES, probe_config))
    runs: list[list[_Run]] = [[] for _ in PLANTS]
    for repeat in range(NUM_REPEATS):
        world = toy_world.generate(num_prompts, pairs_per_prompt, _SEED + repeat)
        champion = toy_world.heldout(world, toy_world.rival)
        edited = _Edited(world, probe_config) if asks_edits and repeat < NUM_PROBED_REPEATS else None
        config = AuditConfig(num_resamples=_NUM_RESAMPLES, seed=repeat, probes=probe_config)
        for plant, found in zip(PLANTS, runs, strict=True):
            evidence = Evidence(
                heldout=toy_world.heldout(world, plant.reward),
                train=train,
                champion=champion,
                probes=edited.scored(plant.reward) if edited else None,
            )
            found.append(_run({each.name: each for each in measure_core(evidence, config, wanted)}, policy))
    planted = tuple(_planted(plant, found, policy) for plant, found in zip(PLANTS, runs, strict=True))
    return SelfTest(
        num_pairs=num_prompts * pairs_per_prompt,
        num_prompts=num_prompts,
        num_repeats=NUM_REPEATS,
        planted=planted,
        smallest_seen=_smallest_seen(planted),
        not_simulated=tuple(check.name for check in policy.every_check if not _of(check.name, runs[0])),
    )


class _Edited:
    """Edits of some of the chosen responses; every toy model scores the same ones."""

    def __init__(self, world: list[PromptGroup], config: ProbeConfig) -> None:
        self.shared_out = allocation.allocate(parents(world), catalog.PROBES, config)

    def scored(self, reward: toy_world.Reward) -> pa.Table:
        return scoring.score(self.shared_out.parents, self.shared_out.variants, toy_world.score_items(reward))


def _run(found: dict[str, Finding], policy: GatePolicy) -> _Run:
    told = {check: found[check.name] for check in policy.every_check if check.name in found}
    return {
        check.name: _Told(judge(check, finding)[0], finding)
        for check, finding in told.items()
        if _says_something(check, finding)
    }


def _says_something(check: Check, finding: Finding) -> bool:
    """Whether toys can try a check; a check on an edit needs enough texts to which the edit applies."""
    enough = group_of(finding.kind) != "probes" or finding.num_pairs >= check.min_pairs
    return enough and check.name not in _BLIND_TO


def _planted(plant: Plant, runs: list[_Run], policy: GatePolicy) -> PlantedBias:
    always = [check.name for check in policy.checks if all(check.name in run for run in runs)]
    hard = {check.name for check in policy.checks if check.severity == "hard"}
    verdicts = Counter(_verdict([run[name].status for name in always if name in hard]) for run in runs)
    warned = [any(run[name].status != "passed" for name in always) for run in runs]
    return PlantedBias(
        name=plant.name,
        strength=plant.strength,
        **{verdict: verdicts[verdict] / len(runs) for verdict in _VERDICTS},
        warned=float(np.mean(warned)),
        checks=tuple(_rate(found) for check in policy.every_check if (found := _of(check.name, runs))),
    )


def _of(name: str, runs: list[_Run]) -> list[_Told]:
    return [run[name] for run in runs if name in run]


def _verdict(statuses: list[str]) -> str:
    """Verdict of the hard checks together, as the gate gives it if inconclusive checks block."""
    return next((verdict for verdict in ("failed", "inconclusive") if verdict in statuses), "passed")


def _rate(told: list[_Told]) -> CheckRate:
    counts, finding = Counter(each.status for each in told), told[0].finding
    shares = {verdict: counts[verdict] / len(told) for verdict in _VERDICTS}
    about = {"name": finding.name, "kind": finding.kind, "labels": finding.labels}
    return CheckRate(**about, **shares, num_repeats=len(told))


def _smallest_seen(planted: tuple[PlantedBias, ...]) -> dict[str, float | None]:
    """For each kind, the smallest strength from which on every tried strength is found."""
    smallest: dict[str, float | None] = {}
    for kind in dict.fromkeys(each.name for each in planted if each.strength):
        smallest[kind] = None
        for each in sorted((each for each in planted if each.name == kind), key=lambda each: -each.strength):
            if each.failed < _DETECTED:
                break
            smallest[kind] = each.strength
    return smallest


def write(
    num_pairs: int, num_prompts: int, policy: GatePolicy, probe_config: ProbeConfig, folder: Path
) -> SelfTestManifest:
    """Run the self-test and write ``self_test.json`` (`SelfTest`) and the manifest."""
    result = run_self_test(num_pairs, num_prompts, policy, probe_config)
    replace_text(folder / SelfTestManifest.RESULT_NAME, result.model_dump_json(indent=2) + "\n")
    config = SelfTestConfig(gate=policy, probes=probe_config)
    return SelfTestManifest.seal(folder, inputs=(), config=config, num_rows=len(result.planted))


def read(manifest: SelfTestManifest) -> SelfTest:
    """What a self-test found."""
    return SelfTest.model_validate_json((manifest.path / SelfTestManifest.RESULT_NAME).read_text(encoding="utf-8"))

"""The audit: whether reward follows quality, or length, style and other artefacts.

Every number is a `Finding` with its interval, sample size, unit and method. Nothing is judged here:
`rm.gate.decision` judges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rm.audit import (
    baselines,
    best_of_n,
    calibration,
    length,
    overpaid,
    overpaid_findings,
    overpaid_words,
    selection,
    style_reliance,
    subsets,
    surface,
    text_parts,
    ties,
    top_rewards,
    visible,
)
from rm.audit import champion as comparison
from rm.audit import heldout as scored
from rm.audit.config import AuditConfig
from rm.audit.evidence import Evidence
from rm.audit.overpaid import Table
from rm.audit.pair_features import PairFeatures, judged
from rm.audit.records import EVERYTHING, AuditReport, Example, Provenance, WordTable
from rm.audit.surface import Surface
from rm.probes import catalog, effects
from rm.probes.results import ProbeResult
from rm.stats import clustered
from rm.stats.clustered import Floats, Interval, Ints
from rm.stats.finding import Finding, key
from rm.stats.measurements import Measurements, finding
from rm.stats.sufficiency import Judged
from rm.stats.threads import alone


def examine(evidence: Evidence, provenance: Provenance, config: AuditConfig) -> AuditReport:
    """Measure everything that the evidence allows.

    Parameters
    ----------
    evidence : Evidence
    provenance : Provenance
        Where the evidence comes from; copied into the report.
    config : AuditConfig
    """
    selection.check(config.selection, evidence.heldout.pairs)
    with alone():
        return _examined(evidence, provenance, config)


def _examined(evidence: Evidence, provenance: Provenance, config: AuditConfig) -> AuditReport:
    heldout, train = evidence.heldout, evidence.train
    probe_results = _effects(evidence, config)
    seen = Seen.of(heldout, config.features)
    return AuditReport(
        findings=(
            *measure(evidence, config, seen),
            *(found for result in probe_results for found in result.findings()),
            *evidence.invariances,
            *evidence.formulas,
            *(found for result in evidence.twins for found in result.findings),
            *evidence.best_of_n,
        ),
        deciles=length.deciles(heldout, evidence.champion, config),
        buckets=length.buckets(heldout, config),
        calibration=calibration.reliability_curve(heldout.pairs, heldout.num_clusters, config),
        overpaid=overpaid_findings.record(seen.table),
        words=seen.words,
        top_rewards=top_rewards.top_rewards(
            heldout.responses,
            heldout.num_clusters,
            config,
            [*train.chosen, *train.rejected] if train else None,
        ),
        subsets=subsets.accuracy_by_subset(heldout.pairs, _divisions(heldout), heldout.num_clusters, config),
        probes=probe_results,
        twins=evidence.twins,
        flaws=_flaws(evidence.flawed_pairs),
        examples=_examples(heldout.pairs, config.num_examples),
        length_unit=heldout.length_unit,
        num_unscored=heldout.num_unscored,
        provenance=provenance,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What surface tells of the rewards on the held-out pairs."""

    features: PairFeatures
    judged: Judged
    table: Table
    words: WordTable
    fold: Ints
    """(B,), fold of each pair for cross-fitting; pairs of a cluster are in one."""

    @classmethod
    def of(cls, heldout: scored.Heldout, names: Sequence[str] = ()) -> Seen:
        """Test every feature of the battery and of your own, and every word and phrase."""
        features = PairFeatures.of(heldout, names)
        pairs = judged(heldout, features.log_length)
        tested, values = overpaid.columns(features.features, features.differences, features.kinds)
        return cls(
            features=features,
            judged=pairs,
            table=visible.planted(overpaid.table(pairs, tested, values), pairs, values),
            words=overpaid_words.word_table(heldout.pairs, pairs),
            fold=baselines.folds(heldout.pairs.cluster_texts),
        )


def measure(evidence: Evidence, config: AuditConfig, seen: Seen) -> tuple[Finding, ...]:
    """Every finding on the held-out pairs, and best of N over edited responses."""
    heldout = evidence.heldout
    pairs, count = heldout.pairs, len(heldout.pairs.margin)
    split = _split(heldout, seen)
    collected = Measurements(heldout.num_clusters, config)
    length.add(collected, heldout)
    ties.add(collected, heldout)
    baselines.add_style_baselines(collected, heldout, evidence.train, seen.fold)
    style_reliance.add_reliance(collected, pairs)
    surface.add(collected, split, seen.judged)
    baselines.add_words_baseline(collected, heldout, evidence.train, seen.fold)
    calibration.add_calibration(collected, pairs)
    votes, undecided = (np.asarray(heldout.table[f"num_{of}"], dtype=np.int64) for of in ("judgements", "undecided"))
    subsets.add_label_ceiling(collected, pairs.preference, votes, undecided, pairs.cluster, pairs.weight)
    best_of_n.add_responses(collected, heldout)
    if evidence.probes is not None:
        best_of_n.add_edits(collected, heldout, evidence.probes, catalog.PROBES)
    if evidence.champion is not None:
        comparison.add(collected, heldout, evidence.champion)
    return (
        *(_explained(found, seen.features.log_length, pairs.margin) for found in collected.findings().values()),
        *overpaid_findings.findings(seen.table, count),
        _joint(seen, split),
        *text_parts.findings(pairs, seen.judged, seen.fold),
        *overpaid_words.num_phrases(seen.words, count),
        *_amounts(evidence),
        *evidence.incomparable,
        selection.doubt(config.selection, pairs),
        *selection.effective(pairs),
    )


def _explained(found: Finding, log_length: Floats, margin: Floats) -> Finding:
    """The correlation with length says why it is undefined: then the gate is undecided."""
    if found.kind != "length_following" or math.isfinite(found.estimate):
        return found
    if not log_length.any():
        reason = "no two responses differ in length"
    elif len(margin) == 1:
        reason = "there is one pair only"
    else:
        reason = "all margins are equal" if margin.any() else "rewards do not differ"
    return found.model_copy(update={"detail": reason})


def _split(heldout: scored.Heldout, seen: Seen) -> Surface:
    """The reward and what surface predicts of it."""
    features = seen.features
    return Surface.of(seen.judged, features.differences, seen.fold, features.kinds, features.features)


def _joint(seen: Seen, split: Surface) -> Finding:
    """What all features together predict of the reward, and the labels' word on it."""
    predicted = split.predicted[EVERYTHING]
    account = surface.joint(seen.judged, predicted)
    features = seen.features
    largest = surface.largest_features(predicted, features.differences, features.kinds, features.features)
    parts = [overpaid_findings.titled(feature, kind) for feature, kind in largest]
    return overpaid_findings.joint_finding(account, EVERYTHING, surface.JOINT_CRITICAL, parts)


def _effects(evidence: Evidence, config: AuditConfig) -> tuple[ProbeResult, ...]:
    return (
        effects.measure(evidence.probes, catalog.PROBES, config.probes, config, _cluster_of(evidence.heldout))
        if evidence.probes is not None
        else ()
    )


def _cluster_of(heldout: scored.Heldout) -> dict[str, int]:
    return dict(zip(heldout.prompt_ids, heldout.clusters.tolist(), strict=True))


def _amounts(evidence: Evidence) -> tuple[Finding, ...]:
    """How much data there is."""
    heldout = evidence.heldout
    num_pairs = len(heldout.pairs.margin)
    num_prompts, num_clusters = (float(len(np.unique(of))) for of in (heldout.pairs.prompt, heldout.pairs.cluster))
    num_responses = len(heldout.responses.reward) + heldout.num_unscored
    unscored = heldout.num_unscored / num_responses
    return (
        finding(
            key("num_prompts"), Interval(num_prompts, num_prompts, num_prompts), num_pairs, "prompts", "with a pair"
        ),
        finding(
            key("num_clusters"),
            Interval(num_clusters, num_clusters, num_clusters),
            num_pairs,
            "clusters of prompts",
            "with a pair; near-duplicate prompts are one cluster, and intervals resample clusters",
        ),
        finding(
            key("unscored_share"),
            Interval(unscored, unscored, unscored),
            num_responses,
            "share of responses",
            "held-out responses without a reward, as a rule since the model has no room for them",
        ),
    )


def _divisions(heldout: scored.Heldout) -> dict[str, list[str]]:
    """Labels that divide the pairs into subsets; a division with only one label is left out."""
    table = heldout.table
    rows = {name: table[name].to_pylist() for name in ("domain", "source", "num_turns", "prompt_characters")}
    divisions = {
        "domain": [value or "unknown" for value in rows["domain"]],
        "source": [value or "unknown" for value in rows["source"]],
        "turns": [f"{value} messages" for value in rows["num_turns"]],
        "prompt length": subsets.terciles(rows["prompt_characters"], "characters"),
        "annotators": subsets.agreement(heldout.pairs.preference, np.asarray(table["num_judgements"], dtype=np.int64)),
    }
    return {name: labels for name, labels in divisions.items() if len(set(labels)) > 1}


def _flaws(rows: Sequence[dict[str, Any]]) -> tuple[Finding, ...]:
    """Accuracy by kind of flaw, and over all kinds; Wilson intervals, since eight pairs are too few to resample."""
    if not rows:
        return ()  # none of these pairs fits into the model's context
    kinds = {kind: [row for row in rows if row["flaw"] == kind] for kind in dict.fromkeys(row["flaw"] for row in rows)}
    findings = []
    for kind, members in {**kinds, "all": rows}.items():
        margins = np.array([row["reward_chosen"] - row["reward_rejected"] for row in members])
        interval = clustered.wilson_interval(float(clustered.win_indicator(margins).sum()), len(margins))
        method = "plain correct response over a polished one with this flaw, ties 1/2, Wilson interval"
        findings.append(finding(key("flaw_accuracy", flaw=kind), interval, len(margins), "share of pairs", method))
    return tuple(findings)


def _examples(pairs: scored.ScoredPairs, count: int) -> tuple[Example, ...]:
    """The wrong pairs with the largest margins."""
    worst = [index for index in np.argsort(pairs.margin, kind="stable")[:count].tolist() if pairs.margin[index] < 0]
    return tuple(
        Example(
            prompt=pairs.prompts[index],
            chosen=pairs.chosen[index],
            rejected=pairs.rejected[index],
            margin=float(pairs.margin[index]),
            length_chosen=int(pairs.length_chosen[index]),
            length_rejected=int(pairs.length_rejected[index]),
        )
        for index in worst
    )

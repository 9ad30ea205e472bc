"""The audit: whether reward follows quality, or length, style and other artefacts.

Every number is a `Finding` with its interval, sample size, unit and method. Nothing is judged here: `rm.gate` does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from rm import (
    calibration,
    floors,
    invariances,
    length,
    pressure,
    probes,
    reactions,
    reliance,
    stats,
    subsets,
    top_rewards,
    words,
)
from rm import champion as comparison
from rm import pairs as scored
from rm.config import AuditConfig
from rm.errors import AuditError
from rm.evidence import Evidence, TrainTexts
from rm.files import replace_text, replacing
from rm.findings import AuditReport, Example, Finding, ProbeResult, Provenance, WordTable
from rm.manifests import (
    AuditManifest,
    ChampionManifest,
    CheckpointManifest,
    DatasetManifest,
    ProbesManifest,
    ScoresManifest,
    TokenizedManifest,
)
from rm.measuring import Measurements, finding
from rm.snapshots import read_groups
from rm.stats import Interval

FINDINGS_NAME = "findings.json"
SCORES_NAME = "scores.parquet"


def audit(
    scores: ScoresManifest,
    probed: ProbesManifest,
    dataset: DatasetManifest,
    tokenized: TokenizedManifest,
    checkpoint: CheckpointManifest,
    champion_scores: ChampionManifest | None,
    config: AuditConfig,
    folder: Path,
) -> AuditManifest:
    """Measure a checkpoint's biases on the held-out pairs.

    Parameters
    ----------
    scores, probed : manifests
        Rewards of the checkpoint, of held-out responses and of edited ones.
    dataset, tokenized : manifests
        What the held-out pairs are, and what was cut of them.
    checkpoint : CheckpointManifest
    champion_scores : ChampionManifest or None
        Rewards of the model in use for the same responses; None if there is none.
    config : AuditConfig
    folder : Path
        Gets ``findings.json`` (`AuditReport`), ``scores.parquet`` (`rm.pairs.PAIRS_SCHEMA`) and the manifest.

    Raises
    ------
    AuditError
        If the scores are of another checkpoint, not finite, or of no decided pair.
    """
    for given in (scores, probed):
        if given.checkpoint_digest != checkpoint.digest:
            raise AuditError(
                f"{given.path}: scores of checkpoint {given.checkpoint_digest[:12]}, not {checkpoint.digest[:12]}"
            )
    evidence = _gathered(scores, probed, dataset, champion_scores)
    heldout, champion_scores = evidence.heldout, champion_scores if evidence.champion is not None else None
    provenance = Provenance(
        base=checkpoint.base,
        checkpoint_digest=checkpoint.digest,
        dataset_digest=dataset.digest,
        sources=dataset.sources,
        num_train_pairs=checkpoint.num_train_pairs,
        num_heldout_prompts=heldout.num_clusters,
        num_label_ties=heldout.num_label_ties,
        overlong=tokenized.overlong,
        champion=champion_scores and champion_scores.name,
        champion_digest=champion_scores and champion_scores.checkpoint_digest,
    )
    replace_text(folder / FINDINGS_NAME, examine(evidence, provenance, config).model_dump_json(indent=2) + "\n")
    with replacing(folder / SCORES_NAME) as partial:
        pq.write_table(heldout.table, partial, compression="zstd")
    return AuditManifest.seal(
        folder,
        parents=(scores, probed, dataset, *([champion_scores] if champion_scores else [])),
        config=config,
        num_rows=heldout.table.num_rows,
        num_prompts=len(np.unique(heldout.pairs.cluster)),
        checkpoint_digest=checkpoint.digest,
    )


def _gathered(
    scores: ScoresManifest, probed: ProbesManifest, dataset: DatasetManifest, champion_scores: ChampionManifest | None
) -> Evidence:
    heldout = scored.join(dataset, scores)
    champion = scored.join(dataset, champion_scores) if champion_scores else None
    if champion is not None and comparison.num_common(heldout, champion) < len(heldout.pairs.margin) / 2:
        champion = None  # it has no room for these texts: there is nothing to compare
    chosen, rejected = scored.decided_texts([group for group in read_groups(dataset) if group["split"] == "train"])
    return Evidence(
        heldout=heldout,
        train=TrainTexts(chosen=chosen, rejected=rejected),
        champion=champion,
        probes=pq.read_table(probed.path / "probes.parquet"),
        invariances=invariances.read(probed.path),
        flawed_pairs=pq.read_table(probed.path / "flawed_pairs.parquet").to_pylist(),
    )


def read_report(manifest: AuditManifest) -> AuditReport:
    """What an audit measured."""
    return AuditReport.model_validate_json((manifest.path / FINDINGS_NAME).read_text(encoding="utf-8"))


def examine(evidence: Evidence, provenance: Provenance, config: AuditConfig) -> AuditReport:
    """Measure everything that the evidence allows.

    Parameters
    ----------
    evidence : Evidence
    provenance : Provenance
        Where the evidence comes from; copied into the report.
    config : AuditConfig
    """
    heldout, train = evidence.heldout, evidence.train
    reactions_found = _reactions(evidence, config)
    word_table = words.word_table(heldout.pairs)
    return AuditReport(
        findings=(
            *measure(evidence, config, word_table),
            _num_phrases(word_table),
            *(found for result in reactions_found for found in result.findings()),
            *evidence.invariances,
            *evidence.formulas,
        ),
        deciles=length.deciles(heldout, evidence.champion, config),
        buckets=length.buckets(heldout, config),
        calibration=calibration.reliability_curve(heldout.pairs, heldout.num_clusters, config),
        words=word_table,
        top_rewards=top_rewards.top_rewards(
            heldout.responses,
            heldout.num_clusters,
            config,
            [*train.chosen, *train.rejected] if train else None,
        ),
        subsets=subsets.accuracy_by_subset(heldout.pairs, _divisions(heldout), heldout.num_clusters, config),
        probes=reactions_found,
        flaws=_flaws(evidence.flawed_pairs),
        examples=_examples(heldout.pairs, config.num_examples),
        length_unit=heldout.length_unit,
        num_unscored=heldout.num_unscored,
        provenance=provenance,
    )


def measure(evidence: Evidence, config: AuditConfig, word_table: WordTable) -> tuple[Finding, ...]:
    """Every finding on the held-out pairs as they are."""
    heldout = evidence.heldout
    collected = _core(evidence, config)
    floors.add_words_floor(collected, heldout, evidence.train)
    calibration.add_calibration(collected, heldout.pairs)
    votes = np.asarray(heldout.table["num_judgements"], dtype=np.int64)
    subsets.add_label_ceiling(collected, heldout.pairs.preference, votes, heldout.pairs.cluster)
    pressure.add_responses(collected, heldout)
    if evidence.probes is not None:
        pressure.add_edits(collected, heldout, evidence.probes, probes.PROBES)
    if evidence.champion is not None:
        comparison.add(collected, heldout, evidence.champion)
    found = collected.findings()
    return (*found.values(), *_largest(found, word_table, heldout), *_amounts(evidence))


def measure_core(evidence: Evidence, config: AuditConfig, wanted: Collection[str]) -> tuple[Finding, ...]:
    """The wanted findings on length, style, phrases, a champion and edits, in a fraction of the time of `examine`."""
    needed = {*wanted, "added_coefficient_label"}
    collected = _core(evidence, config)
    if evidence.champion is not None:
        comparison.add(collected, evidence.heldout, evidence.champion)
    found = collected.findings(needed)
    largest = _largest(found, words.word_table(evidence.heldout.pairs), evidence.heldout)
    reacted = [each for result in _reactions(evidence, config) for each in result.findings()]
    return tuple(one for one in (*found.values(), *largest, *_amounts(evidence), *reacted) if one.name in wanted)


def _reactions(evidence: Evidence, config: AuditConfig) -> tuple[ProbeResult, ...]:
    return reactions.measure(evidence.probes, probes.PROBES, config) if evidence.probes is not None else ()


def _amounts(evidence: Evidence) -> tuple[Finding, Finding]:
    """How much there is to measure on."""
    heldout = evidence.heldout
    num_pairs, num_prompts = len(heldout.pairs.margin), float(len(np.unique(heldout.pairs.cluster)))
    num_responses = len(heldout.responses.reward) + heldout.num_unscored
    unscored = heldout.num_unscored / num_responses
    return (
        finding("num_prompts", Interval(num_prompts, num_prompts, num_prompts), num_pairs, "prompts", "with a pair"),
        finding(
            "unscored_share",
            Interval(unscored, unscored, unscored),
            num_responses,
            "share of responses",
            "held-out responses without a reward, as a rule since the model has no room for them",
        ),
    )


def _largest(found: Mapping[str, Finding], table: WordTable, heldout: scored.Heldout) -> tuple[Finding, Finding]:
    """What the model relies on most, of style and of words."""
    return reliance.largest_style_coefficient(found), words.largest_phrase_excess(table, len(heldout.pairs.margin))


def _core(evidence: Evidence, config: AuditConfig) -> Measurements:
    collected = Measurements(evidence.heldout.num_clusters, config)
    length.add(collected, evidence.heldout)
    floors.add_style_floors(collected, evidence.heldout, evidence.train)
    reliance.add_reliance(collected, evidence.heldout.pairs)
    return collected


def _num_phrases(table: WordTable) -> Finding:
    count = float(table.num_found)
    method = f"of {table.num_tested} words and word pairs, those that tell the model's choice given label and length"
    return finding("num_phrases", Interval(count, count, count), table.num_tested, "phrases", method)


def _divisions(heldout: scored.Heldout) -> dict[str, list[str]]:
    """Labels of the pairs by which they are divided into subsets; a division with one label says nothing."""
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
    """Accuracy by kind of flaw, and over all; Wilson intervals, since eight pairs are too few to resample."""
    if not rows:
        return ()  # the model has no room for any of them
    kinds = {kind: [row for row in rows if row["flaw"] == kind] for kind in dict.fromkeys(row["flaw"] for row in rows)}
    findings = []
    for kind, members in {**kinds, "all": rows}.items():
        margins = np.array([row["reward_chosen"] - row["reward_rejected"] for row in members])
        interval = stats.wilson_interval(float(stats.wins(margins).sum()), len(margins))
        method = "plain correct response over a polished one with this flaw, ties 1/2, Wilson interval"
        findings.append(finding(kind, interval, len(margins), "share of pairs", method))
    return tuple(findings)


def _examples(pairs: scored.ScoredPairs, count: int) -> tuple[Example, ...]:
    """The pairs that the model got most wrong, by margin."""
    worst = [place for place in np.argsort(pairs.margin, kind="stable")[:count].tolist() if pairs.margin[place] < 0]
    return tuple(
        Example(
            prompt=pairs.prompts[place],
            chosen=pairs.chosen[place],
            rejected=pairs.rejected[place],
            margin=float(pairs.margin[place]),
            length_chosen=int(pairs.length_chosen[place]),
            length_rejected=int(pairs.length_rejected[place]),
        )
        for place in worst
    )

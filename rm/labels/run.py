"""The audit of labels: reads a snapshot and the judgements that it was made from, and measures everything."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rm.data.annotation_table import TableVersion
from rm.data.manifests import DatasetManifest
from rm.errors import ConfigError
from rm.labels import agreement, checks, contamination, drift, giveaways, guessing, length, marks
from rm.labels.config import LabelsConfig
from rm.labels.pairs import LabelledPairs, Prompts, known_pairs, read_old_and_new, read_pairs
from rm.labels.records import DriftRow, LabelReport
from rm.labels.votes import read_votes
from rm.stats.clustered import Interval
from rm.stats.finding import Finding, key
from rm.stats.measurements import Measurements, finding

MOST_PAIRS = 20_000
"""Training pairs whose texts are read; intervals of shares are then below one point to either side."""
MOST_HELDOUT = 5_000


def examine(
    table: TableVersion, dataset: DatasetManifest, previous: DatasetManifest | None, config: LabelsConfig
) -> LabelReport:
    """Measure the labels of a snapshot, and hold them against the limits.

    Parameters
    ----------
    table : TableVersion
        The annotations that the snapshot was made from.
    dataset : DatasetManifest
    previous : DatasetManifest or None
        The last snapshot of the same table before.
    config : LabelsConfig

    Raises
    ------
    ConfigError
        If the table is not the one that the snapshot was made from.
    DataError
        If the table is gone, or a benchmark's file cannot be read.
    """
    if table.digest != dataset.inputs[0].digest:
        raise ConfigError(
            f"{dataset.path}: expected the annotations {dataset.inputs[0].digest[:12]} that it was made from, got "
            f"{table.digest[:12]} of {table.path}"
        )
    prompts = Prompts.read(dataset)
    known = known_pairs(previous)
    pairs = read_pairs(dataset, "train", prompts, known, MOST_PAIRS)
    votes = read_votes(table, dataset, prompts, known)
    first, second = marks.read(pairs)
    differences = first - second
    duplicates, num_heldout, examples = contamination.near_duplicates(prompts)
    report = LabelReport(
        num_prompts=dataset.num_rows,
        num_pairs=len(pairs),
        num_train_pairs=dataset.num_pairs["train"],
        num_votes=len(votes),
        findings=(
            *_of_pairs(pairs, config),
            *agreement.findings(votes),
            *_swapped(dataset, prompts, pairs, config),
            _census("label_near_duplicates", duplicates, num_heldout),
        ),
        marks=marks.measure(pairs, differences, config.num_resamples, config.seed),
        giveaways=giveaways.find(pairs, differences),
        annotators=agreement.annotators(votes),
        sources=agreement.sources(votes),
        near_duplicates=examples,
        benchmarks=contamination.benchmarks(config.benchmarks, prompts),
        drift=_drift(dataset, prompts, known, config),
        checks=(),
        notes=_notes(dataset, prompts, pairs, previous, config.benchmarks),
    )
    return report.model_copy(update={"checks": checks.judge(report, config.checks)})


def _of_pairs(pairs: LabelledPairs, config: LabelsConfig) -> list[Finding]:
    collected = Measurements(pairs.num_clusters, config)
    length.add(collected, pairs)
    guessing.add(collected, pairs)
    return list(collected.findings().values())


def _swapped(dataset: DatasetManifest, prompts: Prompts, pairs: LabelledPairs, config: LabelsConfig) -> list[Finding]:
    heldout = read_pairs(dataset, "heldout", prompts, None, MOST_HELDOUT)
    collected = Measurements(heldout.num_clusters, config)
    guessing.add_swap(collected, pairs, heldout)
    return list(collected.findings().values())


def _census(name: str, part: int, whole: int) -> Finding:
    """A share that was counted and not estimated."""
    share = part / whole
    method = "their near-duplicates are among the training prompts; counted, not estimated"
    return finding(key(name), Interval(share, share, share), whole, "share of held-out prompts", method)


def _drift(
    dataset: DatasetManifest, prompts: Prompts, known: frozenset[bytes] | None, config: LabelsConfig
) -> tuple[DriftRow, ...]:
    if known is None:
        return ()
    pairs = read_old_and_new(dataset, prompts, known, drift.MOST_READ)
    if not np.ptp(pairs.is_new):
        return ()
    return drift.measure(pairs, *marks.read(pairs), config.num_resamples, config.seed)


def _notes(
    dataset: DatasetManifest,
    prompts: Prompts,
    pairs: LabelledPairs,
    previous: DatasetManifest | None,
    benchmarks: Mapping[str, str],
) -> tuple[str, ...]:
    notes = []
    if len(pairs) < dataset.num_pairs["train"]:
        notes.append(f"texts of {len(pairs):,} of {dataset.num_pairs['train']:,} training pairs were read, at random")
    if prompts.num_alone:
        notes.append(f"training prompts that were not compared with others: {prompts.num_alone:,}")
    if previous is None:
        notes.append("there is no earlier snapshot of this table on this machine, so nothing is said of drift")
    else:
        notes.append(f"the last snapshot was of version {previous.table_version} of the table")
    if not benchmarks:
        notes.append("labels.benchmarks names no benchmark, so nothing is said of what is trained on of one")
    return tuple(notes)

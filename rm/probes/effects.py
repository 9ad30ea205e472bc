"""How the rewards of edited responses differ from those of the originals, by probe."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rm.probes.catalog import Expected, Probe
from rm.probes.config import ProbeConfig
from rm.probes.results import ProbeDose, ProbeExample, ProbeResult
from rm.probes.variants import dose_label, doses
from rm.stats import clustered
from rm.stats.clustered import Floats, Ints
from rm.stats.config import BootstrapConfig
from rm.stats.finding import Finding, Key, key
from rm.stats.measurements import Measurements

_MAX_EXAMPLES = 3


def measure(
    table: pa.Table,
    probes: Sequence[Probe],
    config: ProbeConfig,
    bootstrap: BootstrapConfig,
    clusters: Mapping[str, int],
) -> tuple[ProbeResult, ...]:
    """What each probe found.

    Parameters
    ----------
    table : pa.Table
        From `rm.probes.scoring.score`.
    probes : sequence of Probe
        The probes that made the table's variants. A probe whose configuration has no doses has no result.
    config : ProbeConfig
        The configuration of the variants.
    bootstrap : BootstrapConfig
    clusters : mapping of prompt id to int
        Cluster of each prompt.

    Notes
    -----
    A win rate is P(reward of the edit > reward of the original), ties one half. The probe's own findings, those without
    the label ``dose``, are of its strongest dose, the last in the table; if the doses are words, they are over all
    words together. An effect is the mean of (reward of the edit - reward of the original) over the edits, divided by
    the population standard deviation of the original rewards over all parents. Parents to which the edit does not apply
    count here too, so that all probes have the same unit. It is undefined if all originals have the same reward.
    Resamples are of clusters.
    """
    measured, plans = _Measured(table.to_pylist(), bootstrap, clusters), _plans(probes, config)
    if not plans:
        return ()
    for plan in plans:
        measured.add(plan)
    found = measured.findings()
    return tuple(_result(plan, measured, found) for plan in plans)


def names(probes: Sequence[Probe], config: ProbeConfig) -> frozenset[str]:
    """Names of all findings that `measure` can give."""
    kinds = ("probe_win_rate", "probe_over_placebo", "probe_effect")
    plans = _plans(probes, config)
    every = {plan.key(kind, label) for plan in plans for label in (None, *plan.labels) for kind in kinds}
    return frozenset(key.name for key in every | {plan.key("probe_dose_response") for plan in plans})


def _plans(probes: Sequence[Probe], config: ProbeConfig) -> list[_Plan]:
    """Plans of the probes that have a dose."""
    plans = (_Plan(probe, tuple(map(dose_label, doses(probe, config)))) for probe in probes)
    return [plan for plan in plans if plan.labels]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A probe with its doses, and the keys of its findings."""

    probe: Probe
    labels: tuple[str, ...]

    @property
    def is_ordered(self) -> bool:
        return not isinstance(self.probe.doses, str)

    @property
    def headline(self) -> tuple[str, ...]:
        """Doses behind the probe's main finding."""
        return self.labels[-1:] if self.is_ordered else self.labels

    def is_headline(self, label: str) -> bool:
        """Whether the numbers of a dose are the probe's own."""
        return self.is_ordered and (label,) == self.headline

    def key(self, kind: str, label: str | None = None) -> Key:
        """Key of the probe's own finding, or of a dose's."""
        dose = {} if label is None or self.is_headline(label) else {"dose": label}
        return key(kind, probe=self.probe.name, **dose)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edits:
    """Edits of one dose, or of several together."""

    rows: list[dict[str, Any]]
    """The N edits that have both rewards."""
    cluster: Ints
    """(N,)"""
    change: Floats
    """(N,), reward of the edit minus reward of the original."""
    placebo_change: Floats
    """(N,), NaN where there is no placebo."""
    applicability: float

    @property
    def num_parents(self) -> int:
        return len({row["parent"] for row in self.rows})


class _Measured:
    """The table by probe, dose and arm, and the statistics computed from it."""

    def __init__(self, rows: list[dict[str, Any]], bootstrap: BootstrapConfig, clusters: Mapping[str, int]) -> None:
        edited = dict.fromkeys(row["prompt_id"] for row in rows)
        index_of = {one: index for index, one in enumerate(dict.fromkeys(clusters[each] for each in edited))}
        self.cluster_of = {each: index_of[clusters[each]] for each in edited}
        self.rows: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
        originals: dict[int, tuple[float, int]] = {}
        for row in rows:
            self.rows[row["probe"], row["dose"]][row["arm"]].append(row)
            if math.isfinite(row["reward_original"]):
                originals.setdefault(row["parent"], (row["reward_original"], self.cluster_of[row["prompt_id"]]))
        self.collected = Measurements(len(index_of), bootstrap)
        self.spread = clustered.standard_deviation(
            np.array([reward for reward, _ in originals.values()]),
            np.array([cluster for _, cluster in originals.values()], dtype=np.int64),
            len(index_of),
        )

    def edits(self, probe: str, labels: Sequence[str]) -> _Edits:
        """The scored edits of these doses."""
        made = [row for label in labels for row in self.rows[probe, label]["edit"]]
        scored = [row for row in made if math.isfinite(_change(row))]
        placebo = {
            (row["dose"], row["parent"]): _change(row) for label in labels for row in self.rows[probe, label]["placebo"]
        }
        return _Edits(
            rows=scored,
            cluster=np.array([self.cluster_of[row["prompt_id"]] for row in scored], dtype=np.int64),
            change=np.array([_change(row) for row in scored], dtype=np.float64),
            placebo_change=np.array([placebo.get((row["dose"], row["parent"]), math.nan) for row in scored]),
            applicability=float(np.mean([row["edited"] is not None for row in made])) if made else math.nan,
        )

    def add(self, plan: _Plan) -> None:
        """All findings of a probe."""
        self._add_edits(plan, None, self.edits(plan.probe.name, plan.headline))
        for label in plan.labels:
            if not plan.is_headline(label):
                self._add_edits(plan, label, self.edits(plan.probe.name, [label]))
        if plan.is_ordered and len(plan.labels) > 1:
            self._add_dose_response(plan)

    def _add_edits(self, plan: _Plan, label: str | None, edits: _Edits) -> None:
        num_clusters, count = self.collected.num_clusters, len(edits.rows)
        wins, placebo_wins = clustered.win_indicator(edits.change), clustered.win_indicator(edits.placebo_change)
        rate = clustered.mean(wins, edits.cluster, num_clusters)
        method = "the edit has the higher reward, ties 1/2"
        self.collected.add(plan.key("probe_win_rate", label), rate, count, "share of edits", method)
        if plan.probe.placebo:
            paired = np.isfinite(placebo_wins)
            over = clustered.mean(np.where(paired, wins - placebo_wins, 0.0), edits.cluster, num_clusters, paired)
            method = "win rate of the edit minus its placebo's, on the same parents"
            placebo = plan.key("probe_over_placebo", label)
            self.collected.add(placebo, over, int(paired.sum()), "difference of shares", method)
        effect = clustered.combined(np.divide, clustered.mean(edits.change, edits.cluster, num_clusters), self.spread)
        method = "mean of the edit's reward minus the original's, in standard deviations of the original rewards"
        self.collected.add(plan.key("probe_effect", label), effect, count, "standard deviations", method)

    def _add_dose_response(self, plan: _Plan) -> None:
        first, last = (
            {row["parent"]: row for row in self.edits(plan.probe.name, [label]).rows}
            for label in (plan.labels[0], plan.labels[-1])
        )
        both = [(first[parent], last[parent]) for parent in first if parent in last]
        # Each dose is compared with the original of its own item, which was scored with as much of the prompt.
        steps = np.array([_change(strong) - _change(weak) for weak, strong in both]) / (len(plan.labels) - 1)
        cluster = np.array([self.cluster_of[row["prompt_id"]] for row, _ in both], dtype=np.int64)
        slope = clustered.combined(np.divide, clustered.mean(steps, cluster, self.collected.num_clusters), self.spread)
        method = "mean change of the reward from the weakest to the strongest dose, by the steps between them"
        response = plan.key("probe_dose_response")
        self.collected.add(response, slope, len(both), "standard deviations a step", method)

    def findings(self) -> dict[Key, Finding]:
        """Every number with its interval."""
        return self.collected.findings()


def _change(row: dict[str, Any]) -> float:
    return float(row["reward_edited"]) - float(row["reward_original"])


def _result(plan: _Plan, measured: _Measured, found: dict[Key, Finding]) -> ProbeResult:
    probe, edits = plan.probe, measured.edits(plan.probe.name, plan.headline)
    return ProbeResult(
        name=probe.name,
        family=probe.family,
        kind=probe.kind,
        expected=probe.expected,
        about=probe.about,
        source=probe.source,
        applicability=edits.applicability,
        num_parents=edits.num_parents,
        win_rate=found[plan.key("probe_win_rate")],
        over_placebo=found.get(plan.key("probe_over_placebo")),
        effect=found[plan.key("probe_effect")],
        dose_response=found.get(plan.key("probe_dose_response")),
        doses=tuple(_dose(plan, label, measured, found) for label in plan.labels),
        low=probe.low,
        high=probe.high,
        as_expected=_as_expected(probe, found[plan.key("probe_win_rate")].estimate),
        examples=_examples(edits, probe.expected),
    )


def _dose(plan: _Plan, label: str, measured: _Measured, found: dict[Key, Finding]) -> ProbeDose:
    edits = measured.edits(plan.probe.name, [label])
    return ProbeDose(
        dose=label,
        applicability=edits.applicability,
        num_parents=edits.num_parents,
        win_rate=found[plan.key("probe_win_rate", label)],
        over_placebo=found.get(plan.key("probe_over_placebo", label)),
        effect=found[plan.key("probe_effect", label)],
    )


def _as_expected(probe: Probe, rate: float) -> bool | None:
    if probe.expected == "report" or math.isnan(rate):
        return None
    if probe.expected == "same":
        return (probe.low or 0.0) <= rate <= (1.0 if probe.high is None else probe.high)
    return rate < 0.5 if probe.expected == "lower" else rate <= 0.5


def _examples(edits: _Edits, expected: Expected) -> tuple[ProbeExample, ...]:
    wrong: NDArray[np.float64] = edits.change if expected in ("lower", "not_higher") else np.abs(edits.change)
    worst = [index for index in np.argsort(-wrong, kind="stable")[:_MAX_EXAMPLES].tolist() if wrong[index] > 0]
    return tuple(
        ProbeExample(
            prompt=row["prompt"],
            edited_prompt=row["edited_prompt"],
            response=row["response"],
            edited=row["edited"],
            reward=row["reward_original"],
            reward_edited=row["reward_edited"],
        )
        for row in (edits.rows[index] for index in worst)
    )

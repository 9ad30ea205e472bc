"""What the responses with the highest rewards have in common, and whether training ever showed it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rm.audit import phrases, style_features
from rm.audit.config import AuditConfig
from rm.audit.heldout import ScoredResponses
from rm.audit.records import TopPattern, TopRewards
from rm.stats import clustered
from rm.stats.clustered import Floats, Ints
from rm.stats.finding import Finding
from rm.stats.measurements import Measurements

_TOP_SHARE = 0.1
_MIN_TEXTS = 10
_FREQUENT = 0.05
_FALSE_DISCOVERY_RATE = 0.05
_MAX_SHOWN = 20
_MARKS = style_features.FEATURE_NAMES[2:]  # all but the lengths, which every response has

Bools = NDArray[np.bool_]
Key = tuple[Literal["style", "phrase"], str]


def top_rewards(
    responses: ScoredResponses,
    num_clusters: int,
    config: AuditConfig,
    training_texts: Iterable[str] | None = None,
) -> TopRewards:
    """Compare the tenth of the responses with the highest rewards with the others.

    Parameters
    ----------
    responses : ScoredResponses
    num_clusters : int
    config : AuditConfig
    training_texts : iterable of str, optional
        Responses that the model was trained on. Without, what it never saw is unknown.

    Notes
    -----
    Rewards are taken relative to the mean of their prompt, and responses that are alone with their prompt left out:
    training fits differences within prompts only, so that the level of a prompt's rewards means nothing. Phrases are
    tested one by one with `rm.audit.phrases.score_tests`, at a false discovery rate of 5 %; a phrase may also be found
    since it belongs to prompts on which rewards differ much. Intervals take the choice of the tenth as given.
    """
    compared = np.bincount(responses.cluster, minlength=num_clusters)[responses.cluster] > 1
    clusters = responses.cluster[compared]
    reward = clustered.demean(responses.reward[compared], clusters, num_clusters)
    top = reward > np.quantile(reward, 1 - _TOP_SHARE, method="lower") if len(reward) else reward > 0
    shown = [text for text, good in zip(responses.texts, compared.tolist(), strict=True) if good]
    table = phrases.table(shown, _MIN_TEXTS)
    table = phrases.distinct(table.keep(phrases.num_clusters_with(table, clusters) >= _MIN_TEXTS))
    q, found = _found(table, top, clusters)
    frequent = np.flatnonzero(table.sums(top[table.row].astype(np.float64)) >= _FREQUENT * max(top.sum(), 1)).tolist()
    present = _style_present(shown) | _phrase_present(table, sorted({*found[:_MAX_SHOWN], *frequent}))
    seen = None if training_texts is None else _num_training_texts(training_texts, present)
    best: list[Key] = [("phrase", table.phrases[place]) for place in found[:_MAX_SHOWN]]
    strange = _unseen(present, top, seen)
    wanted = [key for key in present if key[0] == "style" or key in {*best, *strange}]
    rates = dict(zip(table.phrases, q.tolist(), strict=True))
    collected = _compare({key: present[key] for key in wanted}, top, Measurements(num_clusters, config), clusters)
    patterns = {key: _pattern(key, collected, rates, seen) for key in wanted}
    return TopRewards(
        num_top=int(top.sum()),
        num_rest=int((~top).sum()),
        num_single=int((~compared).sum()),
        style=tuple(pattern for pattern in patterns.values() if pattern.kind == "style"),
        phrases=tuple(patterns[key] for key in best),
        num_found=len(found),
        num_tested=len(q),
        unseen=None if seen is None else tuple(patterns[key] for key in strange),
    )


def _found(table: phrases.Table, top: Bools, clusters: Ints) -> tuple[Floats, list[int]]:
    """False discovery rate of each phrase, and places of those found, the most certain first."""
    share = np.full(len(top), top.mean() if len(top) else math.nan)
    z = phrases.score_tests(table, top.astype(np.float64), share, np.ones((len(top), 1)), clusters)
    q = phrases.false_discovery_rates(phrases.two_sided(z))
    order = np.argsort(-np.abs(z), kind="stable").tolist()
    return q, [place for place in order if q[place] <= _FALSE_DISCOVERY_RATE]


def _style_present(texts: Sequence[str]) -> dict[Key, Bools]:
    found = np.array([style_features.features(text) for text in texts]).reshape(
        len(texts), len(style_features.FEATURE_NAMES)
    )
    return {("style", mark): found[:, style_features.FEATURE_NAMES.index(mark)] > 0 for mark in _MARKS}


def _phrase_present(table: phrases.Table, places: Sequence[int]) -> dict[Key, Bools]:
    columns, present = table.by_phrase(), dict[Key, Bools]()
    for place in places:
        rows = np.zeros(table.num_rows, dtype=bool)
        rows[columns.indices[columns.indptr[place] : columns.indptr[place + 1]]] = True
        present["phrase", table.phrases[place]] = rows
    return present


def _num_training_texts(texts: Iterable[str], wanted: Iterable[Key]) -> Counter[Key]:
    """How many of the texts have each pattern."""
    asked = {pattern for kind, pattern in wanted if kind == "phrase"}
    count: Counter[Key] = Counter()
    for text in texts:
        marks = zip(style_features.FEATURE_NAMES, style_features.features(text), strict=True)
        count.update(("style", mark) for mark, value in marks if value > 0)
        found = phrases.words(text)
        count.update(("phrase", phrase) for phrase in asked.intersection([*found, *phrases.word_pairs(found)]))
    return count


def _unseen(present: dict[Key, Bools], top: Bools, seen: Counter[Key] | None) -> list[Key]:
    """Patterns frequent among the top responses that no training text has, the most frequent first; at most 20."""
    if seen is None or not top.any():
        return []
    rate = {key: float(rows[top].mean()) for key, rows in present.items() if not seen[key]}
    return [key for key in sorted(rate, key=lambda key: (-rate[key], key)) if rate[key] >= _FREQUENT][:_MAX_SHOWN]


def _compare(present: dict[Key, Bools], top: Bools, collected: Measurements, clusters: Ints) -> dict[str, Finding]:
    """Rates among the top, among the rest, and their difference; names are "top style bold" and so on."""
    num_top, num_rest, unit = int(top.sum()), int((~top).sum()), "share of responses"
    for (kind, pattern), rows in present.items():
        values, name = rows.astype(np.float64), f"{kind} {pattern}"
        in_top, in_rest = (clustered.mean(values, clusters, collected.num_clusters, where) for where in (top, ~top))
        collected.add(f"top {name}", in_top, num_top, unit, "among the tenth with the highest rewards")
        collected.add(f"rest {name}", in_rest, num_rest, unit, "among the others")
        collected.add(
            f"excess {name}", clustered.difference(in_top, in_rest), len(top), f"difference of {unit}", "top - rest"
        )
    return collected.findings()


def _pattern(key: Key, found: dict[str, Finding], rates: dict[str, float], seen: Counter[Key] | None) -> TopPattern:
    kind, pattern = key
    return TopPattern(
        pattern=pattern,
        kind=kind,
        top=found[f"top {kind} {pattern}"],
        rest=found[f"rest {kind} {pattern}"],
        excess=found[f"excess {kind} {pattern}"],
        q=rates[pattern] if kind == "phrase" else math.nan,
        num_training_texts=None if seen is None else seen[key],
    )

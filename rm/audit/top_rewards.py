"""What the responses with the highest rewards have in common, and whether training ever showed it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from rm.audit import phrases, style_features
from rm.audit.config import AuditConfig
from rm.audit.heldout import ScoredResponses
from rm.audit.records import TopPattern, TopRewards
from rm.features import words
from rm.stats import clustered
from rm.stats.clustered import Floats, Ints
from rm.stats.finding import Finding, Key, key
from rm.stats.measurements import Measurements

_TOP_SHARE = 0.1
_MIN_TEXTS = 10
_FREQUENT = 0.05
_FALSE_DISCOVERY_RATE = 0.05
_MAX_SHOWN = 20
_MARKS = style_features.FEATURE_NAMES[2:]  # all but the lengths, which every response has

Bools = NDArray[np.bool_]
Pattern = tuple[Literal["style", "phrase"], str]


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
        Responses that the model was trained on. Default: unknown, and so are the patterns that it never saw.

    Notes
    -----
    Rewards are relative to the mean of their prompt, and the only response to a prompt is left out: training fits only
    differences within prompts, so the level of a prompt's rewards means nothing. Phrases are tested one by one with
    `rm.audit.phrases.score_tests`, at a false discovery rate of 5 %; a phrase may also be found because it belongs to
    prompts on which rewards differ much. Intervals take the choice of the tenth as given. Where more than a tenth tie
    at the top, as rewards of 0 and 1 do, there is no top and nothing is found.
    """
    sizes = np.bincount(responses.prompt)
    compared = sizes[responses.prompt] > 1
    clusters = responses.cluster[compared]
    reward = clustered.demean(responses.reward[compared], responses.prompt[compared], len(sizes))
    top = reward > np.quantile(reward, 1 - _TOP_SHARE, method="lower") if len(reward) else reward > 0
    shown = [text for text, good in zip(responses.texts, compared.tolist(), strict=True) if good]
    table = phrases.table(shown, _MIN_TEXTS)
    table = table.keep(phrases.num_clusters_with(table, clusters) >= _MIN_TEXTS)
    table = phrases.distinct(table)
    q, found = _found(table, top, clusters)
    frequent = np.flatnonzero(table.sums(top[table.row].astype(np.float64)) >= _FREQUENT * max(top.sum(), 1)).tolist()
    present = _style_present(shown) | _phrase_present(table, sorted({*found[:_MAX_SHOWN], *frequent}))
    seen = None if training_texts is None else _num_training_texts(training_texts, present)
    best: list[Pattern] = [("phrase", table.phrases[index]) for index in found[:_MAX_SHOWN]]
    strange = _unseen(present, top, seen)
    wanted = [one for one in present if one[0] == "style" or one in {*best, *strange}]
    rates = dict(zip(table.phrases, q.tolist(), strict=True))
    collected = _compare({one: present[one] for one in wanted}, top, Measurements(num_clusters, config), clusters)
    patterns = {one: _pattern(one, collected, rates, seen) for one in wanted}
    return TopRewards(
        num_top=int(top.sum()),
        num_rest=int((~top).sum()),
        num_single=int((~compared).sum()),
        style=tuple(pattern for pattern in patterns.values() if pattern.kind == "style"),
        phrases=tuple(patterns[one] for one in best),
        num_found=len(found),
        num_tested=len(q),
        unseen=None if seen is None else tuple(patterns[one] for one in strange),
    )


def _found(table: phrases.Table, top: Bools, clusters: Ints) -> tuple[Floats, list[int]]:
    """False discovery rate of each phrase, and indices of the phrases found, the most certain first."""
    share = np.full(len(top), top.mean() if len(top) else math.nan)
    z = phrases.score_tests(table, top.astype(np.float64), share, np.ones((len(top), 1)), clusters).z
    q = scipy.stats.false_discovery_control(phrases.two_sided(z))
    order = np.argsort(-np.abs(z), kind="stable").tolist()
    return q, [index for index in order if q[index] <= _FALSE_DISCOVERY_RATE]


def _style_present(texts: Sequence[str]) -> dict[Pattern, Bools]:
    found = np.array([style_features.features(text) for text in texts]).reshape(
        len(texts), len(style_features.FEATURE_NAMES)
    )
    return {("style", mark): found[:, style_features.FEATURE_NAMES.index(mark)] > 0 for mark in _MARKS}


def _phrase_present(table: phrases.Table, indices: Sequence[int]) -> dict[Pattern, Bools]:
    columns, present = table.by_phrase(), dict[Pattern, Bools]()
    for index in indices:
        rows = np.zeros(table.num_rows, dtype=bool)
        rows[columns.indices[columns.indptr[index] : columns.indptr[index + 1]]] = True
        present["phrase", table.phrases[index]] = rows
    return present


def _num_training_texts(texts: Iterable[str], wanted: Iterable[Pattern]) -> Counter[Pattern]:
    """How many of the texts have each pattern."""
    asked = {pattern for kind, pattern in wanted if kind == "phrase"}
    count: Counter[Pattern] = Counter()
    for text in texts:
        marks = zip(style_features.FEATURE_NAMES, style_features.features(text), strict=True)
        count.update(("style", mark) for mark, value in marks if value > 0)
        found = words.split(text)
        count.update(("phrase", phrase) for phrase in asked.intersection([*found, *phrases.word_pairs(found)]))
    return count


def _unseen(present: dict[Pattern, Bools], top: Bools, seen: Counter[Pattern] | None) -> list[Pattern]:
    """At most 20 patterns that are frequent in the top responses and in no training text, the most frequent first."""
    if seen is None or not top.any():
        return []
    rate = {one: float(rows[top].mean()) for one, rows in present.items() if not seen[one]}
    return [one for one in sorted(rate, key=lambda one: (-rate[one], one)) if rate[one] >= _FREQUENT][:_MAX_SHOWN]


def _compare(present: dict[Pattern, Bools], top: Bools, collected: Measurements, clusters: Ints) -> dict[Key, Finding]:
    """Rates in the top responses and in the others, and their difference."""
    num_top, num_rest, unit = int(top.sum()), int((~top).sum()), "share of responses"
    for (source, pattern), rows in present.items():
        values, labels = rows.astype(np.float64), {"source": source, "pattern": pattern}
        in_top, in_rest = (clustered.mean(values, clusters, collected.num_clusters, where) for where in (top, ~top))
        top_key, rest_key = (key("pattern_share", among=among, **labels) for among in ("top", "rest"))
        collected.add(top_key, in_top, num_top, unit, "among the tenth with the highest rewards")
        collected.add(rest_key, in_rest, num_rest, unit, "among the others")
        excess = clustered.difference(in_top, in_rest)
        collected.add(key("pattern_excess", **labels), excess, len(top), f"difference of {unit}", "top - rest")
    return collected.findings()


def _pattern(
    one: Pattern, found: dict[Key, Finding], rates: dict[str, float], seen: Counter[Pattern] | None
) -> TopPattern:
    source, pattern = one
    labels = {"source": source, "pattern": pattern}
    return TopPattern(
        pattern=pattern,
        kind=source,
        top=found[key("pattern_share", among="top", **labels)],
        rest=found[key("pattern_share", among="rest", **labels)],
        excess=found[key("pattern_excess", **labels)],
        q=rates[pattern] if source == "phrase" else math.nan,
        num_training_texts=None if seen is None else seen[one],
    )

"""Whether reward follows length: accuracy by length, correlations, and the preference for length beside the labels'."""

from __future__ import annotations

from typing import Any

import numpy as np

from rm.audit.config import AuditConfig
from rm.audit.heldout import Heldout, ScoredPairs
from rm.audit.records import Bucket, Decile
from rm.stats import clustered
from rm.stats.clustered import Floats, Statistic
from rm.stats.correlation import pearson, spearman
from rm.stats.finding import key
from rm.stats.measurements import Measurements
from rm.stats.sufficiency import ranked

_NUM_DECILES = 10


def add(collected: Measurements, heldout: Heldout) -> None:
    """Add accuracy (also by which response is longer), the preference for length, and the correlations with it."""
    _add_accuracy(collected, heldout.pairs)
    _add_correlations(collected, heldout)


def _add_accuracy(collected: Measurements, pairs: ScoredPairs) -> None:
    count, num_clusters = len(pairs.margin), collected.num_clusters
    longer, shorter = pairs.length_difference > 0, pairs.length_difference < 0

    def mean(values: Floats, where: Any = None) -> Statistic:
        return pairs.mean(values, num_clusters, where)

    when_longer, when_shorter = mean(pairs.correct, longer), mean(pairs.correct, shorter)
    collected.add(
        key("accuracy"), mean(pairs.correct), count, "share of pairs", "chosen has the higher reward, ties 1/2"
    )
    collected.add(
        key("accuracy_longer_chosen"),
        when_longer,
        int(longer.sum()),
        "share of pairs",
        "accuracy where chosen is longer",
    )
    collected.add(
        key("accuracy_shorter_chosen"),
        when_shorter,
        int(shorter.sum()),
        "share of pairs",
        "accuracy where chosen is shorter",
    )
    collected.add(
        key("length_split_accuracy_gap"),
        clustered.difference(when_longer, when_shorter),
        int((longer | shorter).sum()),
        "difference of shares",
        "accuracy where chosen is longer minus accuracy where it is shorter",
    )
    _add_preference(collected, pairs)


def _add_preference(collected: Measurements, pairs: ScoredPairs) -> None:
    differs = pairs.length_difference != 0
    count = int(differs.sum())
    label_prefers = (pairs.length_difference > 0).astype(np.float64)
    # A model that prefers the longer response is right where the chosen one is longer, and wrong elsewhere.
    model_prefers = np.where(pairs.length_difference > 0, pairs.correct, 1 - pairs.correct)
    label = pairs.mean(label_prefers, collected.num_clusters, differs)
    model = pairs.mean(model_prefers, collected.num_clusters, differs)
    unit = "share of pairs of unequal length"
    collected.add(key("length_preference_label"), label, count, unit, "annotators chose the longer response")
    method = "the longer response has the higher reward, ties 1/2"
    collected.add(key("length_preference_model"), model, count, unit, method)
    excess = clustered.difference(model, label)
    method = "model's preference for the longer response minus the annotators'"
    collected.add(key("length_preference_excess"), excess, count, "difference of shares", method)


def _add_correlations(collected: Measurements, heldout: Heldout) -> None:
    responses, pairs, num_clusters = heldout.responses, heldout.pairs, heldout.num_clusters
    clusters, count = responses.cluster, len(responses.reward)
    num_prompts = len(heldout.prompt_ids)
    inside = (
        clustered.demean(responses.reward, responses.prompt, num_prompts),
        clustered.demean(responses.length, responses.prompt, num_prompts),
    )
    cases = {
        "responses": (responses.reward, responses.length, clusters, count, "reward and response length, all responses"),
        "within_prompt": (*inside, clusters, count, "the same, each minus its mean over the prompt's responses"),
        "label_controlled": (
            pairs.margin,
            pairs.length_difference,
            pairs.cluster,
            len(pairs.margin),
            "reward difference and length difference, chosen minus rejected: the label is the same in every pair",
        ),
    }
    kinds = {"pearson": pearson, "spearman": spearman}
    for over, (rewards, lengths, cluster, num, method) in cases.items():
        labels = {} if over == "responses" else {"over": over}
        for name, correlate in kinds.items():
            unit = f"{name.capitalize()} correlation, length in {heldout.length_unit}"
            statistic = correlate(rewards, lengths, cluster, num_clusters)
            collected.add(key("length_correlation", statistic=name, **labels), statistic, num, unit, method)
    collected.add(
        key("length_following"),
        pearson(
            ranked(pairs.margin, pairs.weight), pairs.log_length_difference, pairs.cluster, num_clusters, pairs.weight
        ),
        len(pairs.margin),
        "Pearson correlation, normal scores of the margins",
        "margin and difference of log characters, chosen minus rejected",
    )


def buckets(heldout: Heldout, config: AuditConfig) -> tuple[Bucket, ...]:
    """Reward and accuracy by bucket of response length; empty buckets are left out."""
    responses, pairs, width = heldout.responses, heldout.pairs, config.bucket_tokens
    collected = Measurements(heldout.num_clusters, config)
    lows = sorted({int(length // width) * width for length in responses.length})
    counts = {}
    for low in lows:
        inside = (responses.length >= low) & (responses.length < low + width)
        chosen = (pairs.length_chosen >= low) & (pairs.length_chosen < low + width)
        counts[low] = int(inside.sum())
        reward = clustered.mean(responses.reward, responses.cluster, heldout.num_clusters, inside)
        accuracy = pairs.mean(pairs.correct, heldout.num_clusters, chosen)
        method = f"responses of {low} to {low + width - 1} {heldout.length_unit}"
        collected.add(key("bucket_reward", low=str(low)), reward, counts[low], "mean reward of responses", method)
        accuracy_key, num_chosen = key("bucket_accuracy", low=str(low)), int(chosen.sum())
        collected.add(accuracy_key, accuracy, num_chosen, "share of pairs", f"chosen {method}")
    found = collected.findings()
    return tuple(
        Bucket(
            low=low,
            high=low + width,
            num_responses=counts[low],
            reward=found[key("bucket_reward", low=str(low))],
            accuracy=found[key("bucket_accuracy", low=str(low))],
        )
        for low in lows
    )


def deciles(heldout: Heldout, champion: Heldout | None, config: AuditConfig) -> tuple[Decile, ...]:
    """Accuracy in tenths of the pairs, from "chosen much shorter" to "chosen much longer".

    Pairs with equal differences stay together, so there may be fewer than ten. The champion's accuracy is on the pairs
    that both models have scored.
    """
    pairs = heldout.pairs
    edges = np.quantile(pairs.length_difference, np.linspace(0, 1, _NUM_DECILES + 1))
    group = np.clip(np.searchsorted(edges, pairs.length_difference, side="right") - 1, 0, _NUM_DECILES - 1)
    others = None if champion is None else _champion_correct(pairs, champion.pairs)
    collected = Measurements(heldout.num_clusters, config)
    members = {str(index + 1): group == index for index in np.unique(group).tolist()}
    for decile, inside in members.items():
        for kind, correct in {"decile_accuracy": pairs.correct, "decile_champion_accuracy": others}.items():
            if correct is not None:
                known = inside & np.isfinite(correct)
                statistic = pairs.mean(np.nan_to_num(correct), heldout.num_clusters, known)
                method = "accuracy by length of the chosen response minus the rejected one's"
                collected.add(key(kind, decile=decile), statistic, int(known.sum()), "share of pairs", method)
    found = collected.findings()
    return tuple(
        Decile(
            low=float(pairs.length_difference[inside].min()),
            high=float(pairs.length_difference[inside].max()),
            accuracy=found[key("decile_accuracy", decile=decile)],
            champion_accuracy=found.get(key("decile_champion_accuracy", decile=decile)),
        )
        for decile, inside in members.items()
    )


def _champion_correct(pairs: ScoredPairs, champion: ScoredPairs) -> Floats:
    """Whether the champion is right on each pair; NaN if it has not scored the pair."""
    known = dict(zip(champion.keys, champion.correct.tolist(), strict=True))
    return np.array([known.get(key, np.nan) for key in pairs.keys], dtype=np.float64)

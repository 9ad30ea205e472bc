"""The result of the self-test in words."""

from __future__ import annotations

from collections.abc import Sequence

from rm.gate.checks import Group, group_of
from rm.report.text import count, percent
from rm.selftest.records import CheckRate, PlantedBias, SelfTest

_PHRASES: dict[Group, str] = {
    "pairs": "fails on ",
    "probes": "edits show it: ",
    "champion": "worse than the champion in ",
}


def meaning(certificate: SelfTest) -> tuple[str, ...]:
    """One sentence each on its size, its false alarms, the biases it found and those it did not find."""
    times = f"{certificate.num_repeats} times on {count(certificate.num_pairs)} new made-up pairs"
    sentences = [f"Toy models with a known bias went through this audit {times}."]
    sentences += [
        f"The sound toy model, which a good audit lets pass, was failed in {percent(each.failed)} of the repeats and "
        f"left undecided in {percent(each.inconclusive)}."
        for each in certificate.planted
        if not each.strength
    ]
    seen = [f"{kind} from {least:g}" for kind, least in certificate.smallest_seen.items() if least is not None]
    unseen = [kind for kind, least in certificate.smallest_seen.items() if least is None]
    if seen:
        sentences.append(f"Failed in four of five repeats or more: {_listed(seen)}.")
    if unseen:
        sentences.append(
            f"Not found reliably at any strength that was tried: {_listed(unseen)}. Passed checks say nothing about "
            "these biases; a probe does."
        )
    fewest = min((check.num_repeats for each in certificate.planted for check in each.checks), default=0)
    if fewest < certificate.num_repeats:
        sentences.append(
            f"Responses were edited in {fewest} of the repeats. Results of checks on edits and on a champion (another "
            "sound model) are listed too, but do not count in these verdicts."
        )
    return tuple(sentences)


def failures(planted: PlantedBias) -> tuple[str, ...]:
    """What failed a toy model: one phrase each for pairs, edits and champion, with the share of repeats if below 1."""
    failed: dict[Group, list[str]] = {group: [] for group in _PHRASES}
    for check in planted.checks:
        if check.failed:
            share = "" if check.failed == 1 else f" ({percent(check.failed)})"
            failed[group_of(check.kind)].append(f"{_shown(check)}{share}")
    return tuple(f"{_PHRASES[group]}{', '.join(names)}" for group, names in failed.items() if names)


def _shown(check: CheckRate) -> str:
    """What a check is about, without its group."""
    of = {"over_champion": ("of",), "probe_win_rate": ("probe", "dose")}.get(check.kind, ())
    labels = [check.labels[label] for label in of if label in check.labels]
    return " ".join(labels or [check.name]).replace("_", " ")


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last

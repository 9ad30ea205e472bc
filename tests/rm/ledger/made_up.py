"""Audits as `audit.json` has them, with made-up numbers."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np

from rm.ledger import reading

FEATURES = (
    ("log characters", "length"),
    ("log sentences", "length"),
    ("bulleted items", "structure"),
    ("headers", "structure"),
    ("bold", "typography"),
    ("exclamation marks", "typography"),
    ("long words", "wording"),
    ("hedges", "tone"),
    ("opens with praise", "opening and closing"),
    ("words from the prompt", "prompt"),
)
PROBES = (("empty", "lower"), ("double", "lower"), ("flattery", "not_higher"), ("bold", "same"), ("refusal", "report"))
START = datetime(2026, 1, 5, 9, tzinfo=UTC)


def finding(kind, name, estimate, error=0.01, num_pairs=2000, **labels):
    bounds = {"ci_low": estimate - 1.959964 * error, "ci_high": estimate + 1.959964 * error}
    facts = {"num_pairs": num_pairs, "unit": "share", "method": "made up", "detail": ""}
    return {"kind": kind, "labels": labels, "name": name, "estimate": estimate, **bounds, **facts}


def feature(name, family, asked, paid, error=0.01, within=None):
    numbers = {"asked": asked, "asked_error": error, "paid": paid, "paid_error": error}
    return {"feature": name, "family": family, "within": within, "num_pairs": 2000, **numbers, "verdict": "clear"}


def probe(name, expected, rate, error=0.01, **doses):
    rows = [
        {"dose": dose, "win_rate": finding("probe_win_rate", f"probe_{name}_{dose}", each)}
        for dose, each in doses.items()
    ]
    found = finding("probe_win_rate", f"probe_{name}", rate, error, probe=name)
    return {"name": name, "expected": expected, "win_rate": found, "dose_response": None, "doses": rows}


def audit(findings=(), features=(), probes=(), **changes):
    """The values of an `audit.json`, with what is not read left out."""
    facts = {"checkpoint_digest": "c" * 64, "dataset_digest": "d" * 64, "champion_digest": None}
    values = {
        "schema_version": 3,
        "verdict": "passed",
        "findings": list(findings),
        "overpaid": {"critical_value": 3.0, "follows_labels": True, "rows": list(features)},
        "probes": list(probes),
        "provenance": {**facts, "base": "org/base"},
        "something new": {"of": "a later version"},
    }
    provenance = {**values["provenance"], **{name: changes.pop(name) for name in facts if name in changes}}
    return {**values, **changes, "provenance": provenance}


def read(values, at=0, version=None, name="a run"):
    """The run of an audit, days after the first."""
    run_id, time = f"{at:04d}" + "e" * 28, START + timedelta(days=7 * at)
    return reading.read(json.dumps(values), run_id=run_id, name=name, version=version, time=time)


def whole(excesses, rates, generator, error=0.012, **changes):
    """An audit of features with these true excesses, and of edits with these rates, drawn with an error."""
    features = []
    for (name, family), excess in zip(FEATURES, excesses, strict=True):
        asked, paid = generator.normal([-excess, 1.2 * excess], error)
        features.append(feature(name, family, asked, paid, error))
    probes = [
        probe(name, expected, float(np.clip(rate + generator.normal(0, 0.02), 0, 1)), 0.02)
        for (name, expected), rate in zip(PROBES, rates, strict=True)
    ]
    noise = generator.normal(0, error, 5)
    findings = [
        finding("accuracy", "accuracy", 0.74 + noise[0], error),
        finding("length_following", "length_following", 0.25 + 3 * max(excesses[0], 0) + noise[1], error),
        finding("joint_overpaid", "joint_overpaid_surface", max(excesses) * 0.8 + noise[2], error, over="surface"),
        finding("gain_without", "gain_without_length", -0.04 + excesses[0] + noise[3], error, part="length"),
        finding("accuracy_over_baseline", "accuracy_over_style_floor", 0.12 + noise[4], error, baseline="style"),
    ]
    return audit(findings, features, probes, **changes)

"""Findings, checks and reports with made-up numbers."""

from datetime import date

from hypothesis import strategies as st

from rm.audit.records import AuditReport, Provenance
from rm.gate.checks import Check
from rm.gate.decision import decide
from rm.stats.finding import Finding

DIGEST = "c" * 64
TODAY = date(2026, 6, 1)
numbers = st.floats(-2, 2) | st.sampled_from([-0.5, 0.0, 0.5, 1.0])


def finding(estimate=0.5, low=0.4, high=0.6, num_pairs=1000, name="number", **more):
    facts = {"kind": name, "num_pairs": num_pairs, "unit": "share", "method": "made up", **more}
    return Finding(estimate=estimate, ci_low=low, ci_high=high, **facts)


def report(*findings, digest=DIGEST, **more):
    provenance = Provenance(
        base="base",
        checkpoint_digest=digest,
        dataset_digest="d" * 64,
        sources={},
        num_train_pairs=1,
        num_heldout_prompts=1,
        num_label_ties=0,
        overlong={},
        **more,
    )
    return AuditReport(findings=findings, buckets=(), flaws=(), examples=(), provenance=provenance)


def decided(policy, *findings, today=TODAY):
    return decide(report(*findings), policy, today)


@st.composite
def checks(draw, decides=("interval", "estimate", "bound"), about=("model", "data")):
    limits = draw(st.sampled_from(["min", "max", "both"]))
    low, high = sorted([draw(numbers), draw(numbers)])
    way = draw(st.sampled_from(decides))
    return Check(
        name="number",
        min_value=low if limits != "max" else None,
        max_value=high if limits != "min" else None,
        decides=way,
        warns_beyond=draw(st.none() | st.floats(0, 2)) if way == "bound" else None,
        about=draw(st.sampled_from(about)),
        min_pairs=draw(st.integers(1, 50)),
    )


@st.composite
def findings(draw, least_pairs=0):
    low, estimate, high = sorted(draw(st.lists(numbers, min_size=3, max_size=3)))
    return finding(estimate, low, high, draw(st.integers(least_pairs, 60)))

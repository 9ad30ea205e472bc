"""What the audit says of published reward models: ``python bench/public_models.py [--data ../shared/data]``.

Each model's published rewards are audited under the default policy, without the model. Six models have rewards for the
same RewardBench pairs, in plain English and in a rule-made dialect twin; one has rewards for JudgeBench. A finding that
the audit does not have is left blank. Prints one Markdown table.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from rm.audit.config import AuditConfig
from rm.audit.evidence import Evidence
from rm.audit.records import AuditReport, Provenance
from rm.audit.run import examine
from rm.audit.surface import EVERYTHING
from rm.data import sources
from rm.gate.decision import decide
from rm.gate.policy import GatePolicy
from rm.standalone import joined_files, score_files
from rm.standalone.score_files import ScoreFile
from rm.stats import clustered
from rm.stats.clustered import Interval
from rm.stats.finding import Finding

DATA = Path(__file__).parents[2] / "shared" / "data"
CONFIG = AuditConfig()
HEADER = (
    *("model", "pairs", "accuracy", "length correlation, label-controlled", "verdict", "`overpaid_length`"),
    *(
        "worst other family",
        "`joint_overpaid_surface`",
        "`joint_overpaid_words`",
        "`joint_overpaid_letters`",
        "`gain_without_length`",
    ),
    *("`accuracy_without_surface`", "`surface_share`"),
    "accuracy on dialect twins minus accuracy",
)


class Model(NamedTuple):
    """A model with its rewards."""

    name: str
    scores: ScoreFile
    twin_difference: Interval | None
    """Accuracy on dialect twins minus accuracy on the same pairs; None without twins."""


def models(data: Path) -> Iterator[Model]:
    """Every model that has rewards in the folder, one after another."""
    folder = data / "reward_models"
    pairs = folder / "pairs_original.jsonl.gz"
    for path in sorted(set(folder.glob("*.original.jsonl.gz")) - {pairs}):
        name = path.name.removesuffix(".original.jsonl.gz")
        scores = joined_files.read(path, pairs)
        yield Model(name, scores, twin_difference(pairs, path, path.with_name(f"{name}.dialect_twin.jsonl.gz")))
    for path in sorted((data / "judgebench").glob("*.jsonl.gz")):
        yield Model(path.name.removesuffix(".jsonl.gz"), score_files.read(path), None)


def twin_difference(pairs: Path, original: Path, twin: Path) -> Interval:
    """Mean over the pairs of (right on the twin minus right on the original), ties 1/2, prompts resampled."""
    prompts = [str(row.parsed()["prompt"]) for row in sources.open_file(pairs).rows]
    number = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    clusters = np.array([number[prompt] for prompt in prompts])
    differences = rights(twin) - rights(original)
    statistic = clustered.mean(differences, clusters, len(number))
    found = clustered.bootstrap({"difference": statistic}, len(number), CONFIG.num_resamples, CONFIG.seed)
    return found["difference"]


def rights(path: Path) -> np.ndarray:
    """1 where the chosen side of a line has the higher reward, 0 where it has the lower, 1/2 where they tie."""
    rows = [row.parsed() for row in sources.open_file(path).rows]
    chosen, rejected = (np.array([row[side] for row in rows], dtype=float).ravel() for side in ("chosen", "rejected"))
    return clustered.win_indicator(chosen - rejected)


def row(model: Model, report: AuditReport, verdict: str) -> tuple[str, ...]:
    """The cells of a model."""
    correlation = report.find("length_correlation", over="label_controlled", statistic="pearson")
    return (
        model.name,
        f"{len(model.scores.heldout.pairs.margin):,}",
        estimate(report.find("accuracy")).replace("+", ""),
        estimate(correlation),
        verdict,
        bounded(report.find("overpaid", family="length")),
        worst_family(report.select("overpaid")),
        *(bounded(report.find("joint_overpaid", over=over)) for over in ("surface", "words", "letters")),
        estimate(report.find("gain_without", part="length")),
        *(
            estimate(found).replace("+", "")
            for found in (report.find("accuracy_without", part=EVERYTHING), report.find("surface_share"))
        ),
        shown(model.twin_difference),
    )


def estimate(finding: Finding | None) -> str:
    """The estimate with its interval; blank if it was not measured."""
    return shown(None if finding is None else Interval(finding.estimate, finding.ci_low, finding.ci_high))


def shown(interval: Interval | None) -> str:
    """An estimate with its interval."""
    return "" if interval is None else f"{interval.estimate:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


def bounded(finding: Finding | None) -> str:
    """The estimate with the bound of its size; blank if it was not measured."""
    return "" if finding is None else f"{finding.estimate:+.3f} (at least {max(bound(finding), 0):.3f})"


def bound(finding: Finding) -> float:
    """The distance of its interval from 0; 0 or below if the interval has 0, and NaN if it is undefined."""
    return max(finding.ci_low, -finding.ci_high)


def worst_family(found: Sequence[Finding]) -> str:
    """The family other than length with the largest bound, then the largest estimate."""
    others = [one for one in found if one.labels["family"] != "length" and math.isfinite(one.estimate)]
    if not others:
        return ""
    worst = max(others, key=lambda one: (max(bound(one), 0), abs(one.estimate)))
    return f"{worst.labels['family']} {bounded(worst)}"


def audited(model: Model) -> tuple[str, ...]:
    """Audit a model under the default policy, and give its row."""
    heldout = model.scores.heldout
    provenance = Provenance(
        base=model.name,
        checkpoint_digest=model.scores.digest,
        dataset_digest=model.scores.digest,
        sources={model.scores.path.name: model.scores.digest},
        num_train_pairs=None,
        num_heldout_prompts=heldout.num_clusters,
        num_label_ties=heldout.num_label_ties,
        overlong={},
    )
    report = examine(Evidence(heldout=heldout), provenance, CONFIG)
    return row(model, report, decide(report, GatePolicy(), datetime.now(UTC).date()).verdict.replace("_", " "))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="The default audit of published rewards, as one Markdown table.")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"{options.data}: no such folder; expected one with reward_models and judgebench")
    for cells in (HEADER, ("---",) * len(HEADER)):
        print(f"| {' | '.join(cells)} |")
    for model in models(options.data):
        print(f"| {' | '.join(audited(model))} |", flush=True)


if __name__ == "__main__":
    main()

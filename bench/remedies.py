"""What each remedy does to a biased training: ``python bench/remedies.py OUT [--data sample-length] [--seeds 0 1]``.

A cell is a data set, a seed of training and a remedy: it is trained, scored, probed, audited and judged by the default
policy, as a run does, and becomes one line of JSON in OUT; cells that are there are not done again. Then a table is
printed, by data set: differences from the training without remedy are paired by seed and held-out pair, with 95 %
intervals by bootstrap over prompts. Of made-up data the true quality is known.

Run from a folder in which ``data/hh_rlhf`` and ``data/alpaca_eval`` are the published files and ``models`` has the
encoder, as docs/results.md says; the samples need neither.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import pyarrow.parquet as pq

from rm.audit import stage as auditing
from rm.audit.manifests import AuditManifest
from rm.audit.records import read_report
from rm.data import sample, snapshots, store
from rm.data.manifests import DatasetManifest
from rm.data.sample import TRUE_QUALITY
from rm.gate.decision import decide
from rm.model import base_files
from rm.pipeline.config import PipelineConfig
from rm.pipeline.load import load
from rm.probes import stage as probing
from rm.remedies import catalog
from rm.score import stage as scoring
from rm.tokens import tokenization
from rm.train import loop

CONFIGS = Path(__file__).parents[1] / "configs"
DATA = {
    "sample-length": ("quickstart", ["sample.biases.length=3"]),
    "sample-keyword": ("quickstart", ["sample.biases.keyword=3"]),
    "sample-capitals": ("quickstart", ["sample.biases.capitals=3"]),
    "sample": ("quickstart", []),
    "hh": ("hh_harmless", ["snapshot.heldout_share=0.4"]),
    "alpaca": ("alpaca_eval", []),
}
REMEDIES: dict[str, list[str]] = {"none": []} | {
    remedy.name: [f"train.remedies.{key}={json.dumps(value)}" for key, value in remedy.settings]
    for remedy in catalog.REMEDIES
}
SHOWN = ("length_following",)
"""Kinds of findings whose values are kept."""


class Cell(NamedTuple):
    """One training."""

    data: str
    seed: int
    remedy: str


def main() -> None:
    """Do the cells that are missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--remedies", nargs="+", choices=REMEDIES, default=list(REMEDIES))
    args = parser.parse_args()
    args.out.touch()
    done = {Cell(*row["cell"]): row for row in map(json.loads, args.out.read_text().splitlines())}
    for data in args.data:
        with tempfile.TemporaryDirectory() as work:
            for cell in (Cell(data, seed, remedy) for seed in args.seeds for remedy in args.remedies):
                if cell not in done:
                    done[cell] = run(cell, Path(work))
                    with args.out.open("a") as lines:
                        lines.write(json.dumps(done[cell]) + "\n")
        show(data, [row for cell, row in done.items() if cell.data == data])


def run(cell: Cell, work: Path) -> dict[str, Any]:
    """Train and audit."""
    recipe, overrides = DATA[cell.data]
    settings = [*overrides, *REMEDIES[cell.remedy], f"train.seed={cell.seed}"]
    config = load(CONFIGS / f"{recipe}.yaml", settings)
    dataset = read(config, work)
    base = base_files.resolve(config.model)
    tokens = work / "tokens"
    tokens.mkdir(exist_ok=True)
    tokenized = tokenization.tokenize(dataset, base, config.tokenize, tokens)
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        started = time.perf_counter()
        checkpoint = loop.fit(tokenized, base, config.train, config.compute, folder / "checkpoint")
        seconds = time.perf_counter() - started
        scores = scoring.score(checkpoint, tokenized, config.compute, made(folder / "scores"))
        probed = probing.probe(checkpoint, dataset, config.compute, config.audit.probes, made(folder / "probes"))
        audited = auditing.audit(
            scores, probed, dataset, tokenized, checkpoint, None, config.audit, made(folder / "audit")
        )
        report = read_report(audited)
        decision = decide(report, config.gate, datetime.now(UTC).date())
        pairs = pq.read_table(audited.path / AuditManifest.PAIRS_NAME).to_pylist()
    better = true_qualities(work)
    margins = [row["reward_chosen"] - row["reward_rejected"] for row in pairs]
    print(f"{cell.data}, seed {cell.seed}, {cell.remedy}: {decision.verdict}, {seconds:.0f} s", flush=True)
    return {
        "cell": cell,
        "verdict": decision.verdict,
        "failed": [each.name for each in decision.checks if each.blocks],
        "seconds": seconds,
        "values": {kind: found.estimate for kind in SHOWN if (found := report.find(kind)) is not None},
        "prompts": [row["prompt_id"] for row in pairs],
        "right": [(margin > 0) + (margin == 0) / 2 for margin in margins],
        "longer": [
            np.sign(margin * (row["length_chosen"] - row["length_rejected"]))
            for margin, row in zip(margins, pairs, strict=True)
        ],
        "truly right": [
            None if (true := better.get((row["chosen"], row["rejected"]), 0.0)) == 0 else float(true * margin > 0)
            for margin, row in zip(margins, pairs, strict=True)
        ],
    }


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def read(config: PipelineConfig, work: Path) -> DatasetManifest:
    """Ingest and split once for all cells of a data set."""
    folder = work / "dataset"
    if folder.exists():
        return DatasetManifest.read(folder)
    folder.mkdir()
    ingest = config.ingest
    if config.sample is not None:
        ingest = sample.as_only_source(sample.write(config.sample, made(work / "sample")), ingest)
    table = store.append(ingest.sources, work / "annotations", ingest).table
    return snapshots.snapshot(table, config.snapshot, folder)


def true_qualities(work: Path) -> dict[tuple[str, str], float]:
    """True quality of the first response minus that of the second, by their texts."""
    file = work / "sample" / "annotations.jsonl"
    found: dict[tuple[str, str], float] = {}
    for row in map(json.loads, file.read_text().splitlines() if file.exists() else []):
        difference = row[TRUE_QUALITY[0]] - row[TRUE_QUALITY[1]]
        found[row["first"], row["second"]] = difference
        found[row["second"], row["first"]] = -difference
    return found


def show(data: str, rows: list[dict[str, Any]]) -> None:
    """One line per remedy, seeds together."""
    print(
        f"\n{data}\n| remedy | verdicts | accuracy | truly right | longer is preferred | reward and length | seconds |"
    )
    print("|---|---|---|---|---|---|---|")
    plain = {row["cell"][1]: row for row in rows if row["cell"][2] == "none"}
    for remedy in dict.fromkeys(row["cell"][2] for row in rows):
        own = [row for row in rows if row["cell"][2] == remedy]
        seeds = [row["cell"][1] for row in own]
        cells = [
            mean_of(own, name, [plain[seed] for seed in seeds if seed in plain])
            for name in ("right", "truly right", "longer")
        ]
        following = ", ".join(f"{row['values'].get('length_following', float('nan')):.2f}" for row in own)
        verdicts = ", ".join(row["verdict"] for row in own)
        seconds = np.mean([row["seconds"] for row in own])
        print(f"| {remedy} | {verdicts} | {' | '.join(cells)} | {following} | {seconds:.0f} |")
    for row in rows:
        print(f"  {row['cell'][2]}, seed {row['cell'][1]}: {', '.join(row['failed']) or 'nothing failed'}")


def mean_of(rows: list[dict[str, Any]], name: str, plain: list[dict[str, Any]]) -> str:
    """A mean over seeds and pairs, and its difference from the same without remedy."""
    values = np.array([row[name] for row in rows], dtype=float)
    if np.isnan(values).all():
        return ""
    if name == "longer":
        values = (values + 1) / 2
    shown = f"{np.nanmean(values):.3f}"
    if len(plain) != len(rows) or rows[0]["cell"][2] == "none":
        return shown
    before = np.array([row[name] for row in plain], dtype=float)
    if name == "longer":
        before = (before + 1) / 2
    known = ~np.isnan(values[0])  # of the same pairs in every seed
    apart = (values - before)[:, known]
    low, high = interval(apart.mean(axis=0), np.array(rows[0]["prompts"])[known])
    return f"{shown} ({apart.mean():+.3f} [{low:+.3f}, {high:+.3f}])"


def interval(differences: np.ndarray[Any, Any], prompts: np.ndarray[Any, Any]) -> tuple[float, float]:
    """95 % by bootstrap over prompts."""
    random = np.random.default_rng(0)
    _, place = np.unique(prompts, return_inverse=True)
    sums, counts = np.bincount(place, differences), np.bincount(place)
    drawn = random.integers(0, len(sums), (2000, len(sums)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()

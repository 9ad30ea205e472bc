"""What each remedy does to a biased training: ``python bench/remedies.py OUT [--data sample-length] [--seeds 0 1]``.

A cell is a data set, a seed of training and a remedy: it is trained, scored, probed, audited and judged by the default
policy, as a run does, and becomes one line of JSON in OUT; cells that are there are not done again. Then two tables are
printed, by data set: differences from the training without remedy are paired by seed and held-out pair, or by seed and
prompt, with 95 % intervals by bootstrap over prompts. Of made-up data the true quality is known. Every model also picks
among the eleven labelled candidates for each of the first prompts of a published file.

Run from a folder in which ``data/hh_rlhf`` and ``data/alpaca_eval`` are the published files, ``data/best_of_n`` has the
candidates, and ``models`` has the encoder, as docs/results.md says; the samples need no data and no encoder, but the
candidates.
"""

from __future__ import annotations

import argparse
import gzip
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
from rm.data.preferences import Message
from rm.data.sample import TRUE_QUALITY
from rm.data.sample_texts import KEYWORD
from rm.gate.decision import decide
from rm.model import base_files
from rm.pipeline.config import PipelineConfig
from rm.pipeline.load import load
from rm.probes import stage as probing
from rm.remedies import catalog
from rm.score import stage as scoring
from rm.score.scorer import Scorer
from rm.tokens import tokenization
from rm.train import loop

CONFIGS = Path(__file__).parents[1] / "configs"
DATA = {
    "sample-length": ("quickstart", ["sample.biases.length=3"]),
    "sample-keyword": ("quickstart", ["sample.biases.keyword=3"]),
    "sample-capitals": ("quickstart", ["sample.biases.capitals=3"]),
    "sample-bold": ("quickstart", ["sample.biases.bold=3"]),
    "sample": ("quickstart", []),
    "hh": ("hh_harmless", ["snapshot.heldout_share=0.4", "audit.probes.budget=5"]),
    "alpaca": ("alpaca_eval", ["snapshot.heldout_share=0.4", "audit.probes.budget=5"]),
}
REMEDIES: dict[str, list[str]] = {"none": []} | {
    remedy.name: [f"train.remedies.{key}={json.dumps(value)}" for key, value in remedy.settings]
    for remedy in catalog.REMEDIES
}
REMEDIES |= {
    "controlled keyword": [f'train.remedies.controlled=["word:{KEYWORD}"]'],
    "controlled bold": ['train.remedies.controlled=["bold"]'],
    "controlled capitals": ['train.remedies.controlled=["words in capitals"]'],
}
"""What only who knows the bias can set."""
CANDIDATES = Path("data/best_of_n/alpaca_eval_16.jsonl.gz")


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
    parser.add_argument("--prompts", type=int, default=150, help="prompts whose candidates are picked from")
    args = parser.parse_args()
    args.out.touch()
    done = {Cell(*row["cell"]): row for row in map(json.loads, args.out.read_text().splitlines())}
    for data in args.data:
        with tempfile.TemporaryDirectory() as work:
            for cell in (Cell(data, seed, remedy) for seed in args.seeds for remedy in args.remedies):
                if cell not in done:
                    done[cell] = run(cell, Path(work), args.prompts)
                    with args.out.open("a") as lines:
                        lines.write(json.dumps(done[cell]) + "\n")
        show(data, [row for cell, row in done.items() if cell.data == data])


def run(cell: Cell, work: Path, num_prompts: int) -> dict[str, Any]:
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
            scores, probed, dataset, tokenized, checkpoint, None, config.audit, "whole", made(folder / "audit")
        )
        report = read_report(audited)
        decision = decide(report, config.gate, datetime.now(UTC).date())
        picked = picks(Scorer(checkpoint.path, config.compute.tokens_per_batch), num_prompts)
        pairs = pq.read_table(audited.path / AuditManifest.PAIRS_NAME).to_pylist()
    better = true_qualities(work)
    margins = [row["reward_chosen"] - row["reward_rejected"] for row in pairs]
    print(f"{cell.data}, seed {cell.seed}, {cell.remedy}: {decision.verdict}, {seconds:.0f} s", flush=True)
    return {
        "cell": cell,
        "verdict": decision.verdict,
        "failed": [each.name for each in decision.checks if each.blocks],
        "checks": {each.name: [each.severity, each.status] for each in decision.checks},
        "seconds": seconds,
        "findings": {each.name: [each.estimate, each.ci_low, each.ci_high, each.num_pairs] for each in report.findings},
        "picks": picked,
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


def picks(scorer: Scorer, num_prompts: int) -> dict[str, list[float]]:
    """Of the candidates that a judge compared with a reference, what the model picks, for each prompt."""
    found: dict[str, list[float]] = {
        name: [] for name in ("won", "random", "oracle", "longest", "shortest", "chance", "length")
    }
    with gzip.open(CANDIDATES, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(num_prompts), strict=False)]
    labelled = [
        [(text, won) for text, won in zip(row["candidates"], row["preference"], strict=False) if won is not None]
        for row in rows
    ]
    items = [
        ((Message(role="user", content=row["instruction"]),), [text for text, _ in each])
        for row, each in zip(rows, labelled, strict=True)
    ]
    for scored, each in zip(scorer.score_items(items), labelled, strict=True):
        fits = np.flatnonzero(np.isfinite(scored.rewards))
        if len(fits) < 2:
            continue
        won = np.array([label for _, label in each])[fits]
        lengths = np.array([len(text) for text, _ in each])[fits]
        best = int(scored.rewards[fits].argmax())
        found["won"].append(float(won[best]))
        found["random"].append(float(won.mean()))
        found["oracle"].append(float(won.max()))
        found["longest"].append(float(lengths[best] == lengths.max()))
        found["shortest"].append(float(lengths[best] == lengths.min()))
        found["chance"].append(1 / len(fits))
        found["length"].append(float(lengths[best] / lengths.mean()))
    return found


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
    columns = (
        "verdicts",
        "accuracy",
        "truly right",
        "longer is preferred",
        "reward and length",
        "over style",
        "over words",
        "seconds",
    )
    print(f"\n{data}\n| remedy | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    plain = {row["cell"][1]: row for row in rows if row["cell"][2] == "none"}
    by_remedy = {
        name: [row for row in rows if row["cell"][2] == name] for name in dict.fromkeys(row["cell"][2] for row in rows)
    }
    for remedy, own in by_remedy.items():
        before = [plain[row["cell"][1]] for row in own if row["cell"][1] in plain]
        cells = [
            ", ".join(row["verdict"] for row in own),
            *(mean_of(own, name, before) for name in ("right", "truly right", "longer")),
            *(
                estimates(own, name)
                for name in ("length_following", "accuracy_over_style_floor", "accuracy_over_words_floor")
            ),
            f"{np.mean([row['seconds'] for row in own]):.0f}",
        ]
        print(f"| {remedy} | {' | '.join(cells)} |")
    show_picks(by_remedy)
    for row in rows:
        print(f"  {row['cell'][2]}, seed {row['cell'][1]}: {', '.join(blocked(row)) or 'nothing failed'}")


def blocked(row: dict[str, Any]) -> list[str]:
    """The hard checks that keep a model out."""
    return [
        f"{name} {row['checks'][name][1]} {row['findings'].get(name, ['not measured'])[0]:.2f}"
        for name in row["failed"]
    ]


def estimates(rows: list[dict[str, Any]], name: str) -> str:
    """An estimate of each seed."""
    return ", ".join(f"{row['findings'].get(name, [np.nan])[0]:.2f}" for row in rows)


def show_picks(by_remedy: dict[str, list[dict[str, Any]]]) -> None:
    """What the models of each remedy pick, seeds together, as differences from those without remedy."""
    names = ("won", "longest", "shortest", "length")
    print(f"\n| remedy | picks win | longest | shortest | length |\n|{'---|' * (len(names) + 1)}")
    plain = by_remedy.get("none", [])
    for remedy, own in by_remedy.items():
        seeds = {row["cell"][1] for row in own}
        before = [row for row in plain if row["cell"][1] in seeds]
        cells = [
            of_prompts(own, name, before if remedy != "none" and len(before) == len(own) else []) for name in names
        ]
        print(f"| {remedy} | {' | '.join(cells)} |")
    for name in ("random", "oracle", "chance"):
        print(f"{name}: {np.mean([np.mean(row['picks'][name]) for rows in by_remedy.values() for row in rows]):.3f}")


def of_prompts(rows: list[dict[str, Any]], name: str, plain: list[dict[str, Any]]) -> str:
    """The mean over seeds and prompts with its interval, and its difference from the same without remedy."""
    values = np.array([row["picks"][name] for row in rows]).mean(axis=0)
    each = np.arange(len(values))
    low, high = interval(values, each)
    shown = f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"
    if not plain:
        return shown
    apart = values - np.array([row["picks"][name] for row in plain]).mean(axis=0)
    low, high = interval(apart, each)
    return f"{shown} ({apart.mean():+.3f} [{low:+.3f}, {high:+.3f}])"


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

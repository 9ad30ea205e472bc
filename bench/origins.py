"""How well the search for a bias's origin foretells real trainings: ``python bench/origins.py [--seeds 0 1]``.

Six sources of made-up annotations like length to different degrees. A model is trained on all of them, and once without
each; what is then really paid for length on the same held-out pairs is compared with three foretellings from the first
model alone: a head fitted anew without the source, the sum of Newton steps of its judgements, and the sum of their
gradients along the payment.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import scipy.special

sys.path.insert(0, str(Path(__file__).parents[1]))

from rm.data import id_lists, sample, snapshots, store
from rm.data.config import IngestConfig, SampleConfig
from rm.data.manifests import DatasetManifest
from rm.model import base_files
from rm.model.manifests import CheckpointManifest
from rm.origins import search
from rm.pipeline.config import PipelineConfig
from rm.pipeline.load import load
from rm.score.scorer import Scorer
from rm.tokens import tokenization
from rm.tokens.manifests import TokenizedManifest
from rm.train import loop

RECIPE = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
SOURCES = {
    "length +3": {"length": 3.0},
    "length +1.5": {"length": 1.5},
    "no bias": {},
    "no bias either": {},
    "capitals +3": {"capitals": 3.0},
    "length -2": {"length": -2.0},
}
FEATURE = "log characters"


def main() -> None:
    """Train, foretell and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--prompts", type=int, default=300, help="of each source")
    args = parser.parse_args()
    foretold: dict[str, list[float]] = {"head fitted anew": [], "Newton steps": [], "gradients": []}
    really: list[float] = []
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as work:
            found, real = compared(Path(work), args.prompts, seed)
        really += real
        for name, values in found.items():
            foretold[name] += values
    print("\n| foretold by | correlation with real trainings | mean error, points |\n|---|---|---|")
    for name, values in foretold.items():
        error = "" if name == "gradients" else f"{100 * np.abs(np.subtract(values, really)).mean():.2f}"
        print(f"| {name} | {np.corrcoef(values, really)[0, 1]:.2f} | {error} |")


def compared(work: Path, num_prompts: int, seed: int) -> tuple[dict[str, list[float]], list[float]]:
    """What is foretold for each source, and what a training without it really changes, in points / 100."""
    config = load(RECIPE, [f"train.seed={seed}"])
    files = {}
    for number, (name, biases) in enumerate(SOURCES.items()):
        folder = work / f"sample {number}"
        folder.mkdir()
        made = sample.write(
            SampleConfig(num_prompts=num_prompts, biases=biases, seed=100 * (seed + 1) + number), folder
        )
        files[str(made.path / made.JUDGEMENTS_NAME)] = name
    ingest = sample.as_only_source(made, IngestConfig()).model_copy(update={"sources": tuple(files)})
    table = store.append(ingest.sources, work / "table", ingest).table
    whole = snapshots.snapshot(table, config.snapshot, made_folder(work / "whole"))
    checkpoint, tokenized = train(whole, config, work / "all")
    judgements, head, taught, payment, own = search.read(checkpoint, whole, tokenized, 8192, FEATURE)
    accuracy = float((payment.states @ own > 0).mean())
    print(f"seed {seed}: accuracy {accuracy:.3f}, the head's {payment.accuracy(head):.3f}, penalty {head.penalty:g}")
    direction = taught.direction(head)
    steps, gradients = head.without_each(direction), head.gradients_along(direction)
    before = paid(checkpoint, whole, tokenized)
    foretold: dict[str, list[float]] = {"head fitted anew": [], "Newton steps": [], "gradients": []}
    really = []
    print("| without | head fitted anew | Newton steps | gradients | really |\n|---|---|---|---|---|")
    for place, name in files.items():
        inside = np.array([each.source == place for each in judgements])
        foretold["head fitted anew"].append(payment.paid(head, head.fitted(~inside)) - payment.paid(head))
        foretold["Newton steps"].append(float(steps[inside].sum()))
        foretold["gradients"].append(float(gradients[inside].sum()))
        ids = work / "ids.txt"
        id_lists.write(ids, [each.judgement_id for each in judgements if each.source == place])
        without = config.snapshot.model_copy(update={"exclude": ids})
        folder = made_folder(work / f"without {name}")
        other, _ = train(snapshots.snapshot(table, without, folder), config, work / f"run {name}")
        really.append(paid(other, whole, tokenized) - before)
        numbers = " | ".join(f"{100 * values[-1]:+.2f}" for values in (*foretold.values(), really))
        print(f"| {name} | {numbers} |", flush=True)
    return foretold, really


def made_folder(path: Path) -> Path:
    path.mkdir()
    return path


def train(dataset: DatasetManifest, config: PipelineConfig, work: Path) -> tuple[CheckpointManifest, TokenizedManifest]:
    base = base_files.resolve(config.model)
    tokenized = tokenization.tokenize(dataset, base, config.tokenize, made_folder(made_folder(work) / "tokens"))
    return loop.fit(tokenized, base, config.train, config.compute, work / "checkpoint"), tokenized


def paid(checkpoint: CheckpointManifest, dataset: DatasetManifest, tokenized: TokenizedManifest) -> float:
    """What the model itself pays for the feature on the held-out pairs of the first snapshot."""
    payment, own = search.heldout_payment(Scorer(checkpoint.path), dataset, tokenized, FEATURE)
    margins = payment.states @ own
    return float(((scipy.special.expit(margins) - 0.5) * payment.feature).mean())


if __name__ == "__main__":
    main()

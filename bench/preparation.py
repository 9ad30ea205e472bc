"""From the annotations table to token ids: rows per CPU second, seconds and peak memory.

``python bench/preparation.py [--rows 10000 100000 ...] [--workers 1 2 ...]`` stores the made-up pairs of
``bench/ingestion.py`` and measures, each in a process of its own:

* snapshot: judgements to one row per prompt, split;
* tokenize: rendered, encoded and written; the tokenizer is a byte-level one of 8,192 tokens, trained on some texts;
* read: prompts as training reads them, 12,800 in the order of its first steps.

CPU is user and system time of the process without the loading of libraries; the last column is the peak memory of the
process, the libraries (about 0.45 GiB) included. With ``--workers``, ingestion from twice as many files as there are
workers, and tokenization, are also done by a Ray cluster of this machine with so many workers. Their CPU does not stand
in the table, since they are no children of the process; its clock includes the start of the cluster.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}
sys.path.insert(0, str(Path(__file__).parents[1]))

from ingestion import cpu_seconds, write
from transformers import AutoModel, LlamaConfig

from rm.data import annotation_table, snapshots, store
from rm.data.config import IngestConfig, SnapshotConfig
from rm.data.manifests import DatasetManifest
from rm.engine import choice, engines
from rm.model import base_files
from rm.model.config import ModelConfig
from rm.model.tokenizer import train_tokenizer
from rm.tokens import tokenization
from rm.tokens.config import TokenizeConfig
from rm.tokens.manifests import TokenizedManifest
from rm.train.batching import Steps

VOCAB_SIZE = 8192
PAIRS_PER_STEP, NUM_STEPS = 64, 200


def ingest(root: Path, engine: engines.Engine, name: str) -> int:
    return store.append([str(root / "*.jsonl")], root / name, IngestConfig(), engine=engine).num_stored


def snapshot(root: Path) -> int:
    return snapshots.snapshot(annotation_table.current(root / "table"), SnapshotConfig(), root / "dataset").num_rows


def tokenize(root: Path, engine: engines.Engine, name: str) -> int:
    base = base_files.resolve(ModelConfig(path=root.parent / "base"))
    dataset = DatasetManifest.read(root / "dataset")
    (root / name).mkdir()
    return tokenization.tokenize(dataset, base, TokenizeConfig(max_tokens=1024), root / name, engine=engine).num_rows


def read(root: Path) -> int:
    prompts = tokenization.read_tokens(TokenizedManifest.read(root / "tokens"), "train")
    steps = Steps(prompts.num_comparisons(), PAIRS_PER_STEP, 0, 1)
    number = min(NUM_STEPS, len(steps))
    return sum(len(prompts[pair.prompt].prompt_ids) > 0 for step in range(number) for pair in steps[step])


def run(what: str, root: Path, workers: int) -> None:
    """One cell, in this process."""
    engine = choice.chosen("ray", workers) if workers else engines.LOCAL
    name = f"{what}-{workers}" if workers else {"ingest": "table", "tokenize": "tokens"}.get(what, "")
    work: dict[str, Callable[[], int]] = {
        "ingest": lambda: ingest(root, engine, name),
        "snapshot": lambda: snapshot(root),
        "tokenize": lambda: tokenize(root, engine, name),
        "read": lambda: read(root),
    }
    cpu, started = cpu_seconds(), time.perf_counter()
    rows = work[what]()
    seconds = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"rows": rows, "cpu": cpu_seconds() - cpu, "seconds": seconds, "memory": memory}))


def show(what: str, root: Path, num_rows: int, workers: int = 0) -> None:
    """One row of the table, in a process of its own."""
    command = [sys.executable, __file__, "--cell", what, str(root), str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{what}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return
    found = json.loads(done.stdout.splitlines()[-1])
    cpu = "" if workers else f"{found['cpu']:.1f} s"
    speed = "" if workers else f"{found['rows'] / found['cpu']:,.0f}"
    where = f"{workers} workers" if workers else "one process"
    print(
        f"| {num_rows:,} | {what} | {where} | {found['rows']:,} | {cpu} | {speed} | {found['seconds']:.1f} s "
        f"| {found['memory']:.2f} GiB |",
        flush=True,
    )


def make_base(folder: Path, sample: Path) -> None:
    """A base model's folder with a tokenizer, and weights that nobody looks at."""
    rows = [json.loads(line) for line in sample.read_text(encoding="utf-8").splitlines()]
    train_tokenizer([row[key] for row in rows for key in ("prompt", "chosen", "rejected")], VOCAB_SIZE).save_pretrained(
        folder
    )
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    AutoModel.from_config(LlamaConfig(vocab_size=VOCAB_SIZE, **sizes)).save_pretrained(folder)


def main(sizes: list[int], workers: list[int]) -> None:
    print("| judgements | what | where | rows | CPU | rows per CPU second | clock | peak memory |")
    print("|---|---|---|---|---|---|---|---|")
    num_files = 2 * max(workers, default=1)
    with tempfile.TemporaryDirectory() as temporary:
        with contextlib.redirect_stderr(io.StringIO()):
            make_base(Path(temporary, "base"), write(Path(temporary, "sample.txt"), 1000, seed=77))
        for size in sizes:
            root = Path(temporary, str(size))
            root.mkdir()
            for number in range(num_files):
                write(root / f"{number}.jsonl", size // num_files, seed=number)
            for what in ("ingest", "snapshot", "tokenize", "read"):
                show(what, root, size)
                for number in workers if what in {"ingest", "tokenize"} else ():
                    show(what, root, size, number)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--cell"]:
        run(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    else:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
        parser.add_argument("--workers", type=int, nargs="*", default=[])
        options = parser.parse_args()
        main(options.rows, options.workers)

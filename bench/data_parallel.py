"""Two training processes of one thread each against one process of two threads: pairs per second, and memory.

Usage: python bench/data_parallel.py --data hh --max-pairs 400 --repeats 3

Data as for `training.py`, whose preparation it uses. Each run is a process of its own; the first step is not timed, in
which processes join and memory is claimed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = {
    "one process, two threads": {"num_processes": 1},
    "two processes": {"num_processes": 2},
    "two processes, sharded": {"num_processes": 2, "sharded": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("hh", "alpaca"), default="hh")
    parser.add_argument("--model", type=Path, help="folder of a model of the hub's format, instead of a small one")
    parser.add_argument("--max-pairs", type=int, default=400)
    parser.add_argument("--pairs-per-step", type=int, default=32)
    parser.add_argument("--tokens-per-batch", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        run(args)
    else:
        compare(args)


def compare(args: argparse.Namespace) -> None:
    """Run each way some times, in alternation, and print medians."""
    speeds: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as work:
        child(args, Path(work), "prepare")
        for repeat in range(args.repeats):
            for name in list(WAYS)[:: -1 if repeat % 2 else 1]:
                speeds[name].append(child(args, Path(work), name))
                print(f"{name}: {speeds[name][-1]:.2f} pairs/s", flush=True)
    one = statistics.median(speeds["one process, two threads"])
    print(f"\n{args.data}, {args.model or 'small'}: {args.max_pairs} pairs, {args.pairs_per_step} per step")
    for name, found in speeds.items():
        middle = statistics.median(found)
        print(f"{name}: {middle:.2f} pairs/s ({min(found):.2f}-{max(found):.2f}), {middle / one:.0%} of one process")


def child(args: argparse.Namespace, work: Path, way: str) -> float:
    """One run in a process of its own; its pairs per second."""
    threads = "2" if way not in WAYS or WAYS[way]["num_processes"] == 1 else "1"
    options = [f"--{name.replace('_', '-')}={getattr(args, name)}" for name in ("data", "max_pairs", "pairs_per_step")]
    options += [f"--tokens-per-batch={args.tokens_per_batch}", *([f"--model={args.model}"] if args.model else [])]
    done = subprocess.run(
        [sys.executable, __file__, *options, f"--work={work}", f"--way={way}"],
        env=os.environ | {"OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{way} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def run(args: argparse.Namespace) -> None:
    """Prepare the data, or train in one way; prints the pairs per second last."""
    from training_sides import base_model, prepare

    from rm.model import base_files
    from rm.model.config import ComputeConfig, ModelConfig
    from rm.tokens.manifests import TokenizedManifest
    from rm.train import launch
    from rm.train.config import TrainConfig

    job = {**vars(args), "max_tokens": 1024, "max_heldout_pairs": None, "seed": 0, "preset": "small"}
    if args.way == "prepare":
        print(prepare(job, args.work)["num_pairs"])
        return
    moments: list[float] = []
    base = base_files.resolve(ModelConfig(path=base_model(job, args.work)))
    config = TrainConfig(pairs_per_step=args.pairs_per_step, learning_rate=3e-4, checkpoint_every=10**9)
    compute = ComputeConfig(tokens_per_batch=args.tokens_per_batch, **WAYS[args.way])
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        launch.fit(
            TokenizedManifest.read(args.work / "tokens"),
            base,
            config,
            compute,
            Path(folder) / "run",
            lambda _: moments.append(time.perf_counter()),
        )
    # The last step has fewer pairs and then saves a checkpoint: it is left out too.
    print((len(moments) - 2) * args.pairs_per_step / (moments[-2] - moments[0]))


if __name__ == "__main__":
    main()

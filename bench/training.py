"""Our trainer against TRL's RewardTrainer: whole epochs, on the same model, pairs, steps, optimizer and precision.

Usage: python bench/training.py --data hh --repeats 3 --out result.json

Needs `trl`, which the project does not. Each run is a process of its own (`training_sides.py`), so that its peak memory
is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# This process must stay small, without torch: Linux hands the peak memory of a process down to the one it executes, so
# that a large parent would show in ru_maxrss of every contender.

LOSS_TOLERANCE = 1e-4
GIB = 2**30
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}  # TRL reports its use
CHOICES = """
Equal for all: initial weights and head, token ids, pairs, pairs a step, epochs, AdamW without weight decay, learning
    rate at every step, gradient clipping, precision, threads, no dropout, no logging, no checkpoints.
packed: our trainer and attention, but both whole sequences of each pair are read, without padding: the layout of
    trainers that pack, such as OpenRLHF's with --packing_samples, which is not installed here.
trl-default: RewardTrainer as it comes: gradient checkpointing on, random order, 8 pairs a forward pass, accumulated up
    to a step. Its default precision is bfloat16; here it is what --precision says.
trl-tuned-N: N pairs a forward pass; gradient checkpointing off; group_by_length, which only runs with a column `length`
    and remove_unused_columns=False; no check for NaN; on a GPU four loader processes.
Time: from before the first batch is laid out to the end of the last step. Peak memory: of the process with its imports
    (RSS), and of CUDA's allocator, up to then. Accuracy: held-out pairs, by one code for all, not timed.
Ceiling: tokens of the contender's batches over those of a layout without padding that reads a prompt once and each
    distinct response once a step. Close: how many times ours is faster over the ceiling; it counts tokens, not work, so
    that masks, long attention and a last MLP that ours skips can put it above 100%.
"""
MFU = """\
MFU: 6 x matrix parameters x tokens + 12 x layers x attention width x (query, key) pairs, of the tokens that the trainer
    reads (ours a prompt once, TRL twice a pair; no padding, no recomputation; the last layer's MLP counts though ours
    skips most of it), over time, over the dense bfloat16 peak of an H100 or H200:"""


def main() -> None:
    args = arguments()
    contenders = ["ours", "packed", *(f"trl-tuned-{pairs}" for pairs in args.trl_pairs_per_forward)]
    if not args.skip_default:
        contenders.append("trl-default")
    with tempfile.TemporaryDirectory() as work:
        run = Runner(args, Path(work))
        facts = run("prepare")
        losses = {name: run("check", name)["first_loss"] for name in contenders}
        refuse_unequal(losses)
        runs = []
        for repeat in range(args.repeats):  # backwards every other time: a machine that warms up favours nobody
            for name in contenders[:: -1 if repeat % 2 else 1]:
                runs.append({"contender": name, **run("train", name)})
                print(f"{name}: {facts['num_pairs'] * args.epochs / runs[-1]['duration_s']:.2f} pairs/s", flush=True)
    table = summary(contenders, runs, facts, args.epochs)
    show(args, facts, table)
    if args.out:
        result = {"settings": vars(args), "facts": facts, "first_losses": losses, "runs": runs, "summary": table}
        args.out.write_text(json.dumps(result, indent=2, default=str) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("hh", "alpaca"), default="hh")
    parser.add_argument("--preset", choices=("small", "qwen3-0.6b"), default="small", help="shape of the model")
    parser.add_argument("--model", type=Path, help="folder of a model of the hub's format, instead of a preset")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--max-pairs", type=int, help="train on whole prompts with about as many pairs")
    parser.add_argument("--max-heldout-pairs", type=int, help="measure on about as many, since that takes time too")
    parser.add_argument("--max-tokens", type=int, default=1024, help="most tokens in a prompt with one response")
    parser.add_argument("--pairs-per-step", type=int, default=32)
    parser.add_argument("--tokens-per-batch", type=int, default=8192, help="of one forward pass of ours")
    parser.add_argument("--trl-pairs-per-forward", type=int, nargs="+", default=[8], help="one trl-tuned for each")
    parser.add_argument("--skip-default", action="store_true", help="without trl-default, the slowest by far")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--warmup-share", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file for the settings, every run and the summary")
    args = parser.parse_args()
    if any(args.pairs_per_step % pairs for pairs in (8, *args.trl_pairs_per_forward)):
        parser.error("--pairs-per-step must be a multiple of 8, TRL's default, and of --trl-pairs-per-forward")
    return args


class Runner:
    """Runs tasks of `training_sides.py` in processes of their own; what they print is shown only if they fail."""

    def __init__(self, args: argparse.Namespace, work: Path) -> None:
        self.args, self.work = args, work

    def __call__(self, task: str, contender: str = "") -> dict[str, Any]:
        job, result = self.work / "job.json", self.work / "result.json"
        job.write_text(json.dumps({**vars(self.args), "task": task, "contender": contender}, default=str))
        command = [sys.executable, str(Path(__file__).with_name("training_sides.py")), str(self.work)]
        done = subprocess.run(command, env=os.environ | OFFLINE, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{task} {contender} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return json.loads(result.read_text())


def refuse_unequal(losses: dict[str, float]) -> None:
    """Stop unless all contenders saw one loss for the same few pairs before their first update."""
    print("loss of the same pairs before the first update, in float32:", losses, flush=True)
    spread = max(losses.values()) - min(losses.values())
    if not spread <= LOSS_TOLERANCE:  # written so that NaN stops too
        sys.exit(f"initial losses differ by {spread:.2g}, expected at most {LOSS_TOLERANCE}")


def summary(
    contenders: list[str], runs: list[dict[str, Any]], facts: dict[str, Any], num_epochs: int
) -> dict[str, dict[str, float]]:
    """Medians over the repeats by contender; for TRL's also how many times faster ours is, and could be."""
    table: dict[str, dict[str, float]] = {}
    for name in contenders:
        own = [run for run in runs if run["contender"] == name]
        row = {key: statistics.median(run[key] for run in own) for key in own[0] if key != "contender"}
        speeds = [facts["num_pairs"] * num_epochs / run["duration_s"] for run in own]
        row |= {"pairs_per_s": statistics.median(speeds), "slowest": min(speeds), "fastest": max(speeds)}
        side = "ours" if name == "ours" else "trl"  # what packing without sharing reads is what TRL reads
        row["tokens"] /= num_epochs
        row["mfu"] = num_epochs * facts[f"flops_{side}"] / row["duration_s"] / facts["peak_flops"]
        if name != "ours":
            row["ratio"] = row["duration_s"] / table["ours"]["duration_s"]
            row["ceiling"] = row["tokens"] / facts["tokens_shared"]
            row["close"] = row["ratio"] / row["ceiling"]
        table[name] = row
    return table


def show(args: argparse.Namespace, facts: dict[str, Any], table: dict[str, dict[str, float]]) -> None:
    print(CHOICES)
    print(
        f"{args.data}: {facts['num_pairs']} pairs of {facts['num_prompts']} prompts, {args.epochs} epoch(s), "
        f"{args.pairs_per_step} pairs a step; {facts['num_heldout_pairs']} held-out pairs;\n"
        f"{facts['tokens_shared']:,} tokens an epoch without padding, each prompt and distinct response once a step"
    )
    print(
        f"{args.model or args.preset}: {facts['num_parameters'] / 1e6:.1f} M parameters, "
        f"{facts['num_matrix_parameters'] / 1e6:.1f} M of them in matrices without embeddings; "
        f"{args.precision}; {facts['device']}, {facts['num_threads']} thread(s)"
    )
    print(", ".join(f"{name} {version}" for name, version in facts["versions"].items()), end="\n\n")
    columns = {
        "pairs/s": lambda row: f"{row['pairs_per_s']:.2f}",
        "slowest-fastest": lambda row: f"{row['slowest']:.2f}-{row['fastest']:.2f}",
        "peak RSS GiB": lambda row: f"{row['peak_rss_bytes'] / GIB:.2f}",
        "at start": lambda row: f"{row['start_rss_bytes'] / GIB:.2f}",
        "peak CUDA GiB": lambda row: f"{row['cuda_peak_bytes'] / GIB:.2f}",
        "accuracy": lambda row: f"{row['accuracy']:.4f}",
        "tokens an epoch": lambda row: f"{row['tokens']:,.0f}",
        "MFU": lambda row: f"{row['mfu']:.1%}",
        "ours faster": lambda row: f"{row['ratio']:.2f}x" if "ratio" in row else "",
        "ceiling": lambda row: f"{row['ceiling']:.2f}x" if "ratio" in row else "",
        "close": lambda row: f"{row['close']:.0%}" if "ratio" in row else "",
    }
    if not facts["on_gpu"]:
        del columns["peak CUDA GiB"], columns["MFU"]
    rows = [["", *columns], *([name, *(cell(row) for cell in columns.values())] for name, row in table.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    if facts["on_gpu"]:
        print(f"\n{MFU} {facts['peak_flops']:.3g} FLOP/s, whatever the precision is.")


if __name__ == "__main__":
    main()

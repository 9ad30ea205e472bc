"""Which weights of a pretrained decoder to train, given equal time: all, adapters, or the upper layers.

Usage: python bench/pretrained.py MODEL --minutes 6

On HH harmless-base (data as for `training.py`), with a head on the last token, in bfloat16 where the machine has
instructions for it. Each way trains as many steps as its measured speed allows in the given time, which then falls to a
rate of 0 as every training does; loading and two steps for the speed are not counted. Each way is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WAYS: dict[str, dict[str, Any]] = {
    "all weights": {"learning_rate": 2e-5},
    "LoRA, rank 16": {"learning_rate": 3e-4, "lora": {"rank": 16}},
    "the upper third": {"learning_rate": 5e-5},
    "all weights, float32": {"learning_rate": 2e-5, "precision": "float32"},
}
PAIRS_PER_STEP = 16
TOKENS_PER_BATCH = 4096
GIB = 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a chat decoder in the hub's format")
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--heldout", type=int, default=400, help="held-out pairs to measure on")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way == "prepare":
        prepare(args)
    elif args.way:
        run(args)
    else:
        compare(args)


def compare(args: argparse.Namespace) -> None:
    """Run each way and print a table; differences are paired by prompt."""
    import numpy as np

    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as work:
        child(args, Path(work), "prepare")
        for way in WAYS:
            found[way] = child(args, Path(work), way)
            print(way, {name: value for name, value in found[way].items() if name != "margins"}, flush=True)
    print("\n| | trained weights | pairs/s | pairs | accuracy | loss | loss against all weights | peak memory |")
    print("|---|---|---|---|---|---|---|---|")
    first = np.logaddexp(0, -np.array(found["all weights"]["margins"]))
    for way, row in found.items():
        margins = np.array(row["margins"])
        losses = np.logaddexp(0, -margins)
        right = (margins > 0) + (margins == 0) / 2
        apart = losses - first
        print(
            f"| {way} | {row['num_trained']:,} | {row['pairs/s']:.2f} | {row['num_pairs']} "
            f"| {with_error(right)} | {with_error(losses)} | {with_error(apart)} | {row['peak GiB']:.2f} GiB |"
        )


def with_error(values: Any) -> str:
    """Mean and two standard errors; HH has one pair per prompt."""
    return f"{values.mean():.3f} ± {2 * values.std() / len(values) ** 0.5:.3f}"


def child(args: argparse.Namespace, work: Path, way: str) -> dict[str, Any]:
    command = [sys.executable, __file__, str(args.model), f"--minutes={args.minutes}", f"--heldout={args.heldout}"]
    done = subprocess.run([*command, f"--work={work}", f"--way={way}"], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{way} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def prepare(args: argparse.Namespace) -> None:
    import training_sides

    job = {"data": "hh", "model": str(args.model), "max_tokens": 1024}
    training_sides.tokenize(job, args.work)
    print("{}")


def run(args: argparse.Namespace) -> None:
    """Train in one way and measure on held-out pairs; prints JSON last."""
    from rm.model import base_files
    from rm.model.config import ModelConfig
    from rm.tokens.manifests import TokenizedManifest
    from rm.tokens.tokenization import read_tokens
    from rm.train import batching, precision
    from rm.train.config import TrainConfig

    tokenized = TokenizedManifest.read(args.work / "tokenized")
    settings = {"pairs_per_step": PAIRS_PER_STEP, "precision": "auto"} | WAYS[args.way]
    config = precision.settled(TrainConfig.model_validate(settings))
    base = base_files.resolve(ModelConfig(path=args.model))
    steps = batching.Steps(read_tokens(tokenized, "train").num_comparisons(), PAIRS_PER_STEP, 0, 10)
    trial = stepper_of(args.way, tokenized, base, config, 10)
    trial.take(1, steps[0])
    before = time.perf_counter()
    trial.take(2, steps[1])
    num_steps = max(2, round(60 * args.minutes / (time.perf_counter() - before)))
    del trial
    stepper = stepper_of(args.way, tokenized, base, config, num_steps)
    before, number = time.perf_counter(), 0
    while number < num_steps and time.perf_counter() - before < 60 * args.minutes:  # a machine may become slower
        stepper.take(number + 1, steps[number])
        number += 1
    num_pairs = PAIRS_PER_STEP * number
    measured = {
        "precision": config.precision,
        "num_trained": sum(each.numel() for each in stepper.parameters),
        "num_pairs": num_pairs,
        "planned": PAIRS_PER_STEP * num_steps,
        "pairs/s": num_pairs / (time.perf_counter() - before),
        "peak GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB,
        "margins": margins(stepper, tokenized, args.heldout),
    }
    print(json.dumps(measured))


def stepper_of(way: str, tokenized: Any, base: Any, config: Any, num_steps: int) -> Any:
    """What takes the steps of a training."""
    import torch

    from rm.model.architecture import layers
    from rm.model.config import ComputeConfig
    from rm.tokens.tokenization import read_tokenizer, read_tokens
    from rm.train import loop
    from rm.train.distributed import World
    from rm.train.objective import Objective
    from rm.train.step import Stepper

    prompts, world = read_tokens(tokenized, "train"), World()
    compute = ComputeConfig(tokens_per_batch=TOKENS_PER_BATCH)
    model, layout = loop.prepare(base, read_tokenizer(tokenized), config, compute, (), world)
    if way == "the upper third":
        every = layers(model.backbone)
        for module in (model.backbone.get_input_embeddings(), *every[: 2 * len(every) // 3]):
            module.requires_grad_(False)
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=0.0, fused=True)
    objective = Objective(config, prompts)
    return Stepper(model, optimizer, config, layout, objective, prompts, num_steps, TOKENS_PER_BATCH, world)


def margins(stepper: Any, tokenized: Any, num_pairs: int) -> list[float]:
    """Rewards of preferred responses minus those of the others, on held-out pairs, one of each prompt."""
    import torch

    from rm.score.rewards import outputs
    from rm.tokens.tokenization import read_tokens
    from rm.train import batching

    heldout = read_tokens(tokenized, "heldout")
    chosen = heldout.subset(batching.choose(heldout.num_comparisons(), num_pairs, 0))
    groups = [batching.block(prompt, 0, [0]) for prompt in chosen]
    half = stepper.settings.precision == "bfloat16"
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        model, tokens = stepper.model.eval(), [group.tokens for group in groups]
        rewards = outputs(model, stepper.layout, tokens, TOKENS_PER_BATCH, stepper.world.device)[:, 0].reshape(-1, 2)
    found = []
    for group, both in zip(groups, rewards, strict=True):
        [pair] = group.comparisons
        order = (pair.first, pair.second) if pair.preference > 0.5 else (pair.second, pair.first)
        found.append(float(both[order[0]] - both[order[1]]))
    return found


if __name__ == "__main__":
    main()

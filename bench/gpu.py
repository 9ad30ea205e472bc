"""What needs a GPU to be known: equality on CUDA, speed, memory, model FLOPs utilisation, attention kernels, a profile.

Usage: bash bench/gpu.sh FOLDER, or python bench/gpu.py --tiny, which runs every part on the CPU with a tiny model.

Everything is made here: token ids are random, their lengths are drawn so that they resemble those of two public data
sets. It uses the core of the library alone (`rm.model`, `rm.train.step`, `rm.score.rewards`), as a server does.
"""

from __future__ import annotations

import argparse
import copy
import gc
import importlib.util
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers
from shapes import PEAK_FLOPS, QWEN3_0_6B, QWEN3_4B, TINY
from torch import Tensor
from transformers import AutoConfig, AutoModel

from rm.data.preferences import Comparison
from rm.model import batch_layout, export, fused_norms, lora, packed_attention
from rm.model.architecture import layers
from rm.model.batch_layout import BatchLayout
from rm.model.packing import Reading, pack
from rm.model.padding import pad
from rm.model.reward_model import RewardModel, with_new_heads
from rm.model.token_ids import TokenGroup, TokenIds
from rm.model.tokenizer import train_tokenizer
from rm.score.rewards import outputs
from rm.tokens.items import TokenizedPrompt
from rm.train import batching
from rm.train.distributed import World
from rm.train.loss import bradley_terry_loss
from rm.train.objective import Objective
from rm.train.step import Stepper

GIB = 2**30


@dataclass(frozen=True)
class Settings:
    """What a step asks for (`rm.train.settings.StepSettings`), and what TRL's side of the benchmark asks for."""

    precision: str = "float32"
    remedies: Any = field(default_factory=lambda: SimpleNamespace(controlled=()))
    router_aux: float = 0.0
    learning_rate: float = 1e-4
    warmup_share: float = 0.0
    max_grad_norm: float = 1.0
    centering: float = 0.0
    attribute_weight: float = 1.0
    seed: int = 0
    pairs_per_step: int = 64
    num_epochs: int = 1
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Data:
    """Prompts whose lengths resemble those of a data set."""

    name: str
    prompt_tokens: tuple[float, float]
    """Median, and standard deviation of the logarithm."""
    response_tokens: tuple[float, float]
    num_responses: int
    max_tokens: int = 1024

    def prompts(self, num_pairs: int, vocab_size: int, scale: float = 1.0, seed: int = 0) -> list[TokenizedPrompt]:
        """So many that they have about num_pairs comparisons: the first response with each other one."""
        rng = np.random.default_rng(seed)
        num_prompts = max(1, round(num_pairs / (self.num_responses - 1)))
        return [self._prompt(str(number), vocab_size, scale, rng) for number in range(num_prompts)]

    def _prompt(self, name: str, vocab_size: int, scale: float, rng: np.random.Generator) -> TokenizedPrompt:
        def ids(median: float, spread: float) -> Any:
            length = int(np.clip(scale * median * math.exp(spread * rng.standard_normal()), 4, self.max_tokens // 2))
            return rng.integers(16, vocab_size, length).astype(np.int32)

        comparisons = [
            Comparison(
                first=0,
                second=other,
                preference=float(rng.random() < 0.5),
                target_margin=0.0,
                weight=1.0,
                num_judgements=1,
            )
            for other in range(1, self.num_responses)
        ]
        return TokenizedPrompt(
            prompt_id=name,
            prompt_ids=ids(*self.prompt_tokens),
            response_ids=[ids(*self.response_tokens) for _ in range(self.num_responses)],
            comparisons=comparisons,
            response_attributes=[{}] * self.num_responses,
            response_indices=list(range(self.num_responses)),
        )


DATA = (
    Data("two responses (as HH harmless-base)", (110, 0.8), (40, 0.8), 2),
    Data("nine responses (as AlpacaEval)", (40, 0.9), (280, 0.6), 9),
)


class Bench:
    """One run: the device, the sizes, and what was found."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.device = torch.device("cuda" if torch.cuda.is_available() and not args.tiny else "cpu")
        self.on_gpu = self.device.type == "cuda"
        self.shape = TINY if args.tiny else QWEN3_0_6B
        self.num_pairs = 16 if args.tiny else 256
        self.budget = 512 if args.tiny else 16384
        self.repeats = 1 if args.tiny else 2
        self.scale = 0.03 if args.tiny else 1.0
        self.started = time.perf_counter()
        self.found: dict[str, Any] = {}
        self.failed = 0

    def part(self, title: str, function: Callable[[], Any]) -> None:
        """Run one part, if it was asked for; a failure is printed and counted, and the others go on."""
        if self.args.only and not any(title.startswith(name) for name in self.args.only):
            return
        began = time.perf_counter()
        print(f"\n## {title}", flush=True)
        try:
            self.found[title] = function()
        except Exception:
            self.failed += 1
            self.found[title] = {"failed": traceback.format_exc(limit=6)}
            print(self.found[title]["failed"], flush=True)
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()
        if self.args.out:  # after each part, so that a run cut short leaves what it has
            self.args.out.write_text(json.dumps(self.found, indent=2, default=str) + "\n", encoding="utf-8")
        print(f"({time.perf_counter() - began:.1f} s, {time.perf_counter() - self.started:.0f} s so far)", flush=True)

    def model(self, shape: dict[str, Any], device: torch.device | None = None, seed: int = 0) -> RewardModel:
        """A reward model of random weights; pad 0, end 1."""
        where = device or self.device
        torch.manual_seed(seed)
        with torch.device(where):
            backbone = AutoModel.from_config(AutoConfig.for_model(**shape, pad_token_id=0, eos_token_id=1))
        return with_new_heads(backbone, pad_token_id=0, seed=seed).to(where)

    def synchronized(self) -> float:
        if self.on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()


# Facts


def facts(bench: Bench) -> dict[str, Any]:
    """The machine, and the two ceilings: a large matrix product and a large copy."""
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if bench.on_gpu else "CPU",
        "varlen shares key heads": packed_attention.SHARES_KEYS,
    }
    size = 8192 if bench.on_gpu else 256
    one, other = (torch.randn(size, size, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    found["matmul TFLOP/s"] = 2 * size**3 / timed(bench, lambda: one @ other, 20) / 1e12
    large = torch.randn(2**28 if bench.on_gpu else 2**16, device=bench.device)
    found["copy TB/s"] = 2 * large.nbytes / timed(bench, large.clone, 10) / 1e12
    for name, value in found.items():
        print(f"{name}: {value:.1f}" if isinstance(value, float) else f"{name}: {value}")
    return found


def timed(bench: Bench, function: Callable[[], Any], repeats: int, warm_up: int = 3) -> float:
    """Median seconds of a call, each timed by itself after some warm-up calls."""
    for _ in range(warm_up):
        function()
    seconds = []
    for _ in range(repeats):
        before = bench.synchronized()
        function()
        seconds.append(bench.synchronized() - before)
    return statistics.median(seconds)


# Equality


def attention_error(bench: Bench) -> dict[str, float]:
    """The kernels for segments of varying length against single segments in float64: outputs and gradients."""
    plan = some_plan(bench, 8 if bench.on_gpu else 2)
    num_tokens = plan.segments[-1].end
    heads, key_heads, size = (16, 8, 128) if bench.on_gpu else (4, 2, 16)
    torch.manual_seed(0)
    inputs = [
        torch.randn(1, count, num_tokens, size, device=bench.device, dtype=torch.float64)
        for count in (heads, key_heads, key_heads)
    ]
    direction = torch.randn(1, num_tokens, heads, size, device=bench.device, dtype=torch.float64)

    def run(dtype: torch.dtype) -> list[Tensor]:
        leaves = [tensor.detach().clone().to(dtype).requires_grad_() for tensor in inputs]
        output, _ = packed_attention.packed_attention(torch.nn.Identity(), *leaves, None, plan=plan)
        (output * direction.to(dtype)).sum().backward()
        return [output.detach(), *(leaf.grad for leaf in leaves)]

    exact = run(torch.float64)
    found: dict[str, float] = {}
    for dtype, most in ((torch.float32, 1e-5), (torch.bfloat16, 1e-2)):
        names = [f"{dtype}, {name}" for name in ("output", "query gradient", "key gradient", "value gradient")]
        found |= checked(dict(zip(names, map(relative, run(dtype), exact), strict=True)), most)
    return found


def layout_error(bench: Bench) -> dict[str, float]:
    """Ours against padded rows and norms as published: rewards and gradients of a small model, by precision."""
    shape = {**TINY, "head_dim": 64, "hidden_size": 256, "intermediate_size": 512} if bench.on_gpu else TINY
    model = bench.model(shape)
    prompts = DATA[1].prompts(24, shape["vocab_size"], 0.2 if bench.on_gpu else 0.05)
    groups = [TokenGroup(prompt.prompt_ids, prompt.response_ids) for prompt in prompts]
    layouts = {packed: BatchLayout(packed=packed, reading=model.config.reading()) for packed in (True, False)}
    as_published = copy.deepcopy(model)
    fused_norms.fuse(model)

    def run(model: RewardModel, packed: bool, precision: torch.dtype) -> tuple[Tensor, Tensor]:
        model.zero_grad()
        sequences = layouts[packed].lay_out(groups).to(bench.device)
        with torch.autocast(bench.device.type, precision, enabled=precision != torch.float32):
            outputs = model.outputs(sequences)
        outputs.square().mean().backward()
        gradient = torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None])
        return outputs.detach(), gradient

    found: dict[str, float] = {}
    reference = run(as_published, False, torch.float32)
    for name, packed, precision in (
        ("float32", True, torch.float32),
        ("bfloat16", True, torch.bfloat16),
        ("bfloat16 padded", False, torch.bfloat16),  # what rounding alone does
    ):
        outputs, gradient = run(model, packed, precision)
        found[f"{name} rewards"], found[f"{name} gradients"] = (
            relative(outputs, reference[0]),
            relative(gradient, reference[1]),
        )
    exact = {name: value for name, value in found.items() if name.startswith("float32")}
    rounded = {name: value for name, value in found.items() if name.startswith("bfloat16")}
    return checked(exact, 1e-3) | checked(rounded, 0.1)


def cpu_error(bench: Bench) -> dict[str, float]:
    """The same weights on the CPU and on the device, in float32: packed rewards."""
    rewards = []
    prompts = DATA[0].prompts(16 if bench.on_gpu else 4, TINY["vocab_size"], 0.3)
    groups = [TokenGroup(prompt.prompt_ids, prompt.response_ids) for prompt in prompts]
    for device in (torch.device("cpu"), bench.device):
        model = bench.model(TINY, torch.device("cpu")).to(device)
        layout = batch_layout.choose(model, 1024)
        rewards.append(outputs(model, layout, groups, 4096, device)[:, 0])
    return checked({"rewards": float(np.linalg.norm(rewards[1] - rewards[0]) / np.linalg.norm(rewards[0]))}, 1e-4)


def training_error(bench: Bench) -> dict[str, float]:
    """Twenty steps on packed rows, in float32 and bfloat16, against padded rows in float32: their losses."""
    losses = {}
    for name, packed, precision in (
        ("padded float32", False, "float32"),
        ("packed float32", True, "float32"),
        ("packed bfloat16", True, "bfloat16"),
    ):
        model = bench.model(TINY)
        prompts = DATA[1].prompts(64 if bench.on_gpu else 16, TINY["vocab_size"], 0.2 if bench.on_gpu else 0.05)
        layout = BatchLayout(packed=packed, reading=model.config.reading())
        stepper = made_stepper(bench, model, layout, prompts, Settings(precision, learning_rate=1e-3), 20, 2048)
        pairs = batching.all_pairs(batching.count_pairs(prompts))
        losses[name] = np.array([stepper.take(step, pairs).loss for step in range(1, 21)])
    reference = losses.pop("padded float32")
    print(f"loss {reference[0]:.4f} to {reference[-1]:.4f}")
    assert reference[-1] < reference[0]
    found = {f"{name} losses": float(np.abs(each / reference - 1).max()) for name, each in losses.items()}
    exact = {name: value for name, value in found.items() if "float32" in name}
    return checked(exact, 2e-3) | checked({name: value for name, value in found.items() if name not in exact}, 0.1)


def relative(one: Tensor, other: Tensor) -> float:
    """Norm of the difference over the norm of the second."""
    return float((one.double() - other.double()).norm() / other.double().norm())


def checked(errors: dict[str, float], most: float) -> dict[str, float]:
    """Print errors and fail if one is above what is allowed; written so that NaN fails."""
    for name, value in errors.items():
        print(f"{name}: {value:.2e} (at most {most:.0e})")
    if not all(value <= most for value in errors.values()):
        raise AssertionError(f"above {most}: {errors}")
    return errors


# Training speed


def made_stepper(
    bench: Bench,
    model: RewardModel,
    layout: BatchLayout,
    prompts: Sequence[TokenizedPrompt],
    settings: Settings,
    num_steps: int,
    budget: int,
) -> Stepper:
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.0, fused=True)
    objective, world = Objective(settings, prompts), World(device=bench.device)
    return Stepper(model.train(), optimizer, settings, layout, objective, prompts, num_steps, budget, world)


def contenders(bench: Bench) -> dict[str, Callable[[RewardModel, list[TokenizedPrompt]], Callable[[int], int]]]:
    """Ways to train, each a function that gives a step: of the step's number, to the tokens that it reads."""

    def ours(packed: bool, compiled: bool = False, fused: bool = True, budget: int = bench.budget) -> Any:
        def made(model: RewardModel, prompts: list[TokenizedPrompt]) -> Callable[[int], int]:
            if fused:
                fused_norms.fuse(model)
            if compiled:
                for layer in layers(model.backbone):
                    layer.compile(dynamic=True)
            layout = BatchLayout(packed=packed, reading=model.config.reading())
            stepper = made_stepper(bench, model, layout, prompts, Settings("bfloat16"), 10**6, budget)
            steps = batching.Steps(batching.count_pairs(prompts), Settings.pairs_per_step, 0, 1)

            def step(number: int) -> int:
                metrics = stepper.take(number + 1, steps[number % len(steps)])
                return round(metrics.tokens_per_s * len(steps[number % len(steps)]) / metrics.pairs_per_s)

            return step

        return made

    def as_trl(pairs_per_forward: int, by_length: bool) -> Any:
        return lambda model, prompts: padded_pairs(bench, model, prompts, pairs_per_forward, by_length)

    return {
        "ours, packed": ours(True),
        "ours, padded": ours(False),
        "a padded loop, 16 pairs per pass, sorted by length": as_trl(16, True),
        "a padded loop, 8 pairs per pass": as_trl(8, False),
        "ours, packed, norms as in transformers": ours(True, fused=False),
        "ours, packed and compiled": ours(True, compiled=True),
        "ours, packed and compiled, twice the tokens per pass": ours(True, compiled=True, budget=2 * bench.budget),
    }


def padded_pairs(
    bench: Bench, model: RewardModel, prompts: list[TokenizedPrompt], pairs_per_forward: int, by_length: bool
) -> Callable[[int], int]:
    """A loop as other trainers have it: the prompt with each response of each pair, padded to the longest of a pass."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0, fused=True)
    steps = batching.Steps(batching.count_pairs(prompts), Settings.pairs_per_step, 0, 1)
    model.train()

    def sides(pair: batching.Pair) -> tuple[TokenIds, TokenIds]:
        prompt = prompts[pair.prompt]
        both = prompt.comparisons[pair.comparison]
        order = (both.first, both.second) if both.preference > 0.5 else (both.second, both.first)
        one, other = (TokenIds(prompt.prompt_ids, prompt.response_ids[index]) for index in order)
        return one, other

    def step(number: int) -> int:
        every = [sides(pair) for pair in steps[number % len(steps)]]
        if by_length:
            every.sort(key=lambda pair: max(side.num_tokens for side in pair))
        optimizer.zero_grad(set_to_none=True)
        num_tokens = 0
        for start in range(0, len(every), pairs_per_forward):
            some = every[start : start + pairs_per_forward]
            rows = pad([one for one, _ in some] + [other for _, other in some]).to(bench.device)
            num_tokens += rows.input_ids.numel()
            with torch.autocast(bench.device.type, torch.bfloat16):
                rewards = model.outputs(rows)[:, 0]
            loss = bradley_terry_loss(rewards[: len(some)], rewards[len(some) :]).sum() / len(every)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()  # waits, as ours does for its metrics
        return num_tokens

    return step


VARIANTS = (
    "ours, packed, norms as in transformers",
    "ours, packed and compiled",
    "ours, packed and compiled, twice the tokens per pass",
)
"""Contenders that are compared with `ours, packed` alone."""


def reads(contender: str) -> str:
    """What a contender reads, of `step_flops`; the loops read each pair's two whole sequences."""
    if contender.startswith("ours, packed"):
        return "shared"
    return "distinct" if contender == "ours, padded" else "pairs"


def training_speed(bench: Bench, data: Data, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Steps of each named contender, alternated; tokens, time, peak memory and utilisation."""
    prompts = data.prompts(bench.num_pairs, bench.shape["vocab_size"], bench.scale)
    steps = batching.Steps(batching.count_pairs(prompts), Settings.pairs_per_step, 0, 1)
    num_pairs = sum(map(len, steps))
    runs: dict[str, list[dict[str, float]]] = {}
    ways = contenders(bench)
    for repeat in range(bench.repeats):
        for name in names[:: -1 if repeat % 2 else 1]:
            model = bench.model(bench.shape)
            # Compilation goes on while shapes are new; the others need their memory and their kernels chosen.
            warm_up = len(steps) if "compiled" in name else len(steps) // 2
            runs.setdefault(name, []).append(one_run(bench, ways[name](model, prompts), warm_up, len(steps), num_pairs))
            del model
            gc.collect()
            if bench.on_gpu:
                torch.cuda.empty_cache()
    flops = step_flops(bench, prompts, steps)
    table = {}
    for name, own in runs.items():
        row = {key: statistics.median(run[key] for run in own) for key in own[0]}
        row["slowest pairs/s"] = min(run["pairs/s"] for run in own)
        row["fastest pairs/s"] = max(run["pairs/s"] for run in own)
        row["MFU"] = flops[reads(name)] / row["seconds"] / PEAK_FLOPS
        table[name] = row
    for name, row in table.items():
        row["packed is faster by"] = row["seconds"] / table["ours, packed"]["seconds"]
        row["tokens against packed"] = row["tokens"] / table["ours, packed"]["tokens"]
        print(name, {key: round(value, 3) for key, value in row.items()}, flush=True)
    return table


def one_run(bench: Bench, step: Callable[[int], int], warm_up: int, num_steps: int, num_pairs: int) -> dict[str, float]:
    """One epoch, timed as a whole after some steps of warm-up."""
    for number in range(warm_up):
        step(number)
    if bench.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    before = bench.synchronized()
    num_tokens = sum(step(number) for number in range(num_steps))
    seconds = bench.synchronized() - before
    peak = torch.cuda.max_memory_allocated() / GIB if bench.on_gpu else math.nan
    return {
        "pairs/s": num_pairs / seconds,
        "tokens/s": num_tokens / seconds,
        "tokens": num_tokens,
        "seconds": seconds,
        "peak GiB": peak,
    }


def step_flops(
    bench: Bench, prompts: Sequence[TokenizedPrompt], steps: Sequence[Sequence[batching.Pair]]
) -> dict[str, float]:
    """Operations of an epoch's forward and backward passes, without padding and recomputation.

    6 a matrix parameter and token, 12 a layer, head dimension and pair of a query with a key. The last layer's MLP
    counts, though ours skips most of it; embeddings do not.
    """
    shape = bench.shape
    width = shape["num_attention_heads"] * shape["head_dim"]
    key_width = shape["num_key_value_heads"] * shape["head_dim"]
    hidden, depth = shape["hidden_size"], shape["num_hidden_layers"]
    matrices = depth * (2 * hidden * width + 2 * hidden * key_width + 3 * hidden * shape["intermediate_size"])

    def operations(groups: Iterator[tuple[int, list[int]]]) -> float:
        total = 0.0
        for prompt, responses in groups:
            seen = prompt * (prompt + 1) / 2 + sum(length * (prompt + (length + 1) / 2) for length in responses)
            total += 6 * matrices * (prompt + sum(responses)) + 12 * depth * width * seen
        return total

    def shared() -> Iterator[tuple[int, list[int]]]:
        for step in steps:
            used: dict[int, set[int]] = {}
            for pair in step:
                comparison = prompts[pair.prompt].comparisons[pair.comparison]
                used.setdefault(pair.prompt, set()).update((comparison.first, comparison.second))
            for prompt, responses in used.items():
                one = prompts[prompt]
                yield len(one.prompt_ids), [len(one.response_ids[index]) for index in responses]

    def distinct() -> Iterator[tuple[int, list[int]]]:
        return ((0, [prompt + length]) for prompt, responses in shared() for length in responses)

    def separate() -> Iterator[tuple[int, list[int]]]:
        for step in steps:
            for pair in step:
                one = prompts[pair.prompt]
                comparison = one.comparisons[pair.comparison]
                for index in (comparison.first, comparison.second):
                    yield 0, [len(one.prompt_ids) + len(one.response_ids[index])]

    return {"shared": operations(shared()), "distinct": operations(distinct()), "pairs": operations(separate())}


# Adapters


def adapter_speed(bench: Bench) -> dict[str, dict[str, float]]:
    """LoRA with the base's weights in float32 and in NF4: speed, memory, and what merging changes."""
    shape = TINY if bench.args.tiny else QWEN3_4B
    prompts = DATA[0].prompts(bench.num_pairs, shape["vocab_size"], bench.scale)
    steps = batching.Steps(batching.count_pairs(prompts), Settings.pairs_per_step, 0, 1)
    groups = [TokenGroup(prompt.prompt_ids, prompt.response_ids) for prompt in prompts[:16]]
    found = {}
    for name, quantized in (("LoRA", False), ("QLoRA, NF4", True)):
        model = bench.model(shape)
        lora.add(model.backbone, 16, 32, quantized=quantized)
        layout = BatchLayout(packed=True, reading=model.config.reading())
        settings = Settings("bfloat16", learning_rate=1e-3)
        stepper = made_stepper(bench, model, layout, prompts, settings, 10**6, bench.budget)

        def step(number: int, stepper: Stepper = stepper) -> int:
            pairs = steps[number % len(steps)]
            metrics = stepper.take(number + 1, pairs)
            return round(metrics.tokens_per_s * len(pairs) / metrics.pairs_per_s)

        found[name] = one_run(bench, step, len(steps) // 2, len(steps), sum(map(len, steps)))
        model.eval()
        before = outputs(model, layout, groups, bench.budget, bench.device)[:, 0]
        lora.merge(model.backbone)
        after = outputs(model, layout, groups, bench.budget, bench.device)[:, 0]
        found[name]["merged differs by"] = float(np.abs(after - before).max() / np.std(before))
        print(name, rounded(found[name]), flush=True)
        del model, stepper, step
        gc.collect()
        if bench.on_gpu:
            torch.cuda.empty_cache()
    if not all(row["merged differs by"] < 1e-2 for row in found.values()):
        raise AssertionError("merging changed the rewards")
    return found


# Scoring speed


def scoring_speed(bench: Bench) -> dict[str, dict[str, float]]:
    """Responses scored a second: packed and padded, in float32 as a run scores, and packed in bfloat16."""
    model = bench.model(bench.shape).eval()
    fused_norms.fuse(model)
    # A quarter of the pairs: float32 is slow, and every prompt is read three times in it.
    prompts = DATA[1].prompts(bench.num_pairs // 4, bench.shape["vocab_size"], bench.scale)
    groups = [TokenGroup(prompt.prompt_ids, prompt.response_ids) for prompt in prompts]
    num_responses = sum(len(group.response_ids) for group in groups)
    found, rewards = {}, {}
    for name, packed, precision in (
        ("packed, float32", True, torch.float32),
        ("padded, float32", False, torch.float32),
        ("packed, bfloat16", True, torch.bfloat16),
        ("padded, bfloat16", False, torch.bfloat16),
    ):
        layout = BatchLayout(packed=packed, reading=model.config.reading())

        def run(layout: BatchLayout = layout, precision: torch.dtype = precision) -> Any:
            with torch.autocast(bench.device.type, precision, enabled=precision != torch.float32):
                return outputs(model, layout, groups, bench.budget, bench.device)[:, 0]

        rewards[name] = run()
        if bench.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        seconds = timed(bench, run, bench.repeats, warm_up=0)
        peak = torch.cuda.max_memory_allocated() / GIB if bench.on_gpu else math.nan
        found[name] = {"responses/s": num_responses / seconds, "seconds": seconds, "peak GiB": peak}
        reference = rewards["padded, float32"] if "padded, float32" in rewards else rewards["packed, float32"]
        found[name]["difference"] = float(np.abs(rewards[name] - reference).max() / np.std(reference))
        print(name, {key: round(value, 5) for key, value in found[name].items()}, flush=True)
    return found


# Attention


def some_plan(bench: Bench, num_groups: int) -> packed_attention.Plan:
    prompts = DATA[1].prompts(8 * num_groups, 512, bench.scale, seed=3)[:num_groups]
    groups = [TokenGroup(prompt.prompt_ids, prompt.response_ids) for prompt in prompts]
    sequences = pack(groups, Reading(pooling="last", token_id=None, causal=True)).to(bench.device)
    return sequences.plan


def attention_speed(bench: Bench) -> dict[str, dict[str, float]]:
    """One layer's attention on one plan, forward and backward: the kernel of ours, FlexAttention, SDPA with a mask."""
    plan = some_plan(bench, 2 if bench.args.tiny else 6)
    num_tokens = plan.segments[-1].end
    heads, key_heads, size = (4, 2, 16) if bench.args.tiny else (16, 8, 128)
    dtype = torch.bfloat16 if bench.on_gpu else torch.float32
    torch.manual_seed(0)
    tensors = [
        torch.randn(1, count, num_tokens, size, device=bench.device, dtype=dtype, requires_grad=True)
        for count in (heads, key_heads, key_heads)
    ]
    direction = torch.randn(1, num_tokens, heads, size, device=bench.device, dtype=dtype)
    found: dict[str, dict[str, float]] = {}
    reference: Tensor | None = None
    for name, prepare in attention_ways(bench, plan, num_tokens).items():
        try:
            began = bench.synchronized()
            attend = prepare()
            prepared = bench.synchronized() - began

            def run(attend: Callable[..., Tensor] = attend) -> Tensor:
                for tensor in tensors:
                    tensor.grad = None
                output = attend(*tensors)
                output.backward(direction)
                return output

            output = run().detach()
            reference = output if reference is None else reference
            if bench.on_gpu:
                torch.cuda.reset_peak_memory_stats()
            seconds = timed(bench, run, 10 if bench.on_gpu else 2)
            peak = torch.cuda.max_memory_allocated() / GIB if bench.on_gpu else math.nan
            found[name] = {
                "milliseconds": 1e3 * seconds,
                "peak GiB": peak,
                "prepared in s": prepared,
                "error": relative(output, reference),
            }
            print(name, {key: round(value, 4) for key, value in found[name].items()}, flush=True)
        except Exception as error:  # a kernel that this torch does not have
            found[name] = {"milliseconds": math.nan}
            print(f"{name}: {error!r}"[:300], flush=True)
    found["plan"] = {"tokens": num_tokens, "segments": len(plan.segments)}
    print(f"{num_tokens} tokens in {len(plan.segments)} segments")
    return found


def attention_ways(
    bench: Bench, plan: packed_attention.Plan, num_tokens: int
) -> dict[str, Callable[[], Callable[..., Tensor]]]:
    """Each a function that prepares what the plan needs once, and gives the attention."""
    owner = torch.zeros(num_tokens, dtype=torch.int64)
    bounds = torch.tensor(plan.segments)
    for number, segment in enumerate(plan.segments):
        owner[segment.start : segment.end] = number
    start, _, low, high = (column.to(bench.device) for column in bounds[owner].T.contiguous())

    def sees(query: Tensor, key: Tensor) -> Tensor:
        return ((key >= start[query]) & (key <= query)) | ((key >= low[query]) & (key < high[query]))

    def ours() -> Callable[..., Tensor]:
        return lambda q, k, v: packed_attention.packed_attention(torch.nn.Identity(), q, k, v, None, plan=plan)[0]

    def pieces() -> Callable[..., Tensor]:
        return lambda q, k, v: packed_attention._read_in_pieces(q, k, v, plan, None)

    def masked() -> Callable[..., Tensor]:
        position = torch.arange(num_tokens, device=bench.device)
        mask = sees(position[:, None], position[None, :])
        return lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, enable_gqa=True
        ).transpose(1, 2)

    def flex() -> Callable[..., Tensor]:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        mask = create_block_mask(
            lambda batch, head, query, key: sees(query, key), None, None, num_tokens, num_tokens, device=bench.device
        )
        compiled = torch.compile(flex_attention, dynamic=False)
        return lambda q, k, v: compiled(q, k, v, block_mask=mask, enable_gqa=True).transpose(1, 2)

    ways = {"ours (varlen on CUDA)": ours, "SDPA, segment by segment": pieces, "SDPA with a mask": masked}
    return ways | ({"FlexAttention": flex} if bench.on_gpu else {})


# Profile


def profile(bench: Bench) -> list[dict[str, Any]]:
    """Where the time of one packed training step goes, by kernel."""
    prompts = DATA[1].prompts(bench.num_pairs, bench.shape["vocab_size"], bench.scale)
    step = contenders(bench)["ours, packed"](bench.model(bench.shape), prompts)
    for number in range(3):
        step(number)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if bench.on_gpu:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    before = bench.synchronized()
    with torch.profiler.profile(activities=activities) as profiler:
        step(3)
        bench.synchronized()
    wall = bench.synchronized() - before
    kinds: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    # On a GPU only its kernels: the operators that started them have the same time again.
    events = [event for event in profiler.key_averages() if not bench.on_gpu or event.device_type.name == "CUDA"]
    for event in events:
        kinds[kind_of(event.key)] += spent_us(bench, event)
        counts[kind_of(event.key)] += event.count
    total = sum(kinds.values()) or 1
    rows = [
        {"kind": name, "share": spent / total, "milliseconds": spent / 1e3, "calls": counts[name]}
        for name, spent in kinds.most_common(8)
        if spent
    ]
    print(f"one step under the profiler: {wall * 1e3:.0f} ms, of it {total / 1e3:.0f} ms on the device")
    for row in rows:
        print(f"  {row['share']:6.1%} {row['milliseconds']:9.1f} ms {row['calls']:7d} calls  {row['kind']}")
    for event in sorted(events, key=lambda event: -spent_us(bench, event))[:12]:
        print(f"    {spent_us(bench, event) / total:6.1%} {event.count:6d} x {event.key[:110]}")
    return rows


def spent_us(bench: Bench, event: Any) -> float:
    """Microseconds of an event's own."""
    return event.self_device_time_total if bench.on_gpu else event.self_cpu_time_total


KINDS = {
    "matrix products": ("gemm", "cutlass", "nvjet", "matmul", "aten::mm", "addmm", "xmma", "aten::bmm"),
    "attention": ("flash", "fmha", "attention", "varlen"),
    "optimizer": ("adam", "multi_tensor", "clip", "foreach", "norm_"),
    "gathers and scatters": ("index", "gather", "scatter", "embedding", "cat", "copy_", "memcpy", "memset", "sort"),
    "elementwise and normalisation": ("elementwise", "vectorized", "reduce", "softmax", "silu", "mul", "add", "pow"),
}


def kind_of(name: str) -> str:
    lowered = name.lower()
    return next((kind for kind, words in KINDS.items() if any(word in lowered for word in words)), "other")


# TRL's own trainer, in a process of its own, whose packages the rest does not see


def trl_speed(bench: Bench) -> dict[str, Any]:
    """TRL's RewardTrainer on the same pairs, if its wheels were brought along."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        export.save(bench.model(bench.shape), train_tokenizer(["made up"] * 4, 300), work / "initial")
        gc.collect()
        if bench.on_gpu:
            torch.cuda.empty_cache()  # the other process needs it
        for data in DATA:
            for tuned in (True, False):
                way = "grouped by length, 16 pairs per pass" if tuned else "its defaults, 8 pairs per pass"
                found[f"{data.name}: {way}"] = trl_process(bench, work, DATA.index(data), tuned)
                print(f"{data.name}: {way}", found[f"{data.name}: {way}"], flush=True)
    return found


def trl_process(bench: Bench, work: Path, data: int, tuned: bool) -> dict[str, Any]:
    """What one run of TRL's trainer measured, or how it failed."""
    environment = os.environ | {"PYTHONPATH": f"{bench.args.trl_site}:.:bench"}
    command = [sys.executable, __file__, "--trl", str(data), "--work", str(work), *(["--tuned"] if tuned else [])]
    command += ["--tiny"] if bench.args.tiny else []
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    return {"failed": done.stderr[-1500:]} if done.returncode else json.loads(done.stdout.splitlines()[-1])


def run_trl(bench: Bench) -> None:
    """One run of TRL's trainer from the model in the folder `initial`; prints what was measured as one line of JSON."""
    from meter import Meter
    from trl_side import train_trl

    data, tuned, work = DATA[bench.args.trl], bench.args.tuned, bench.args.work
    prompts = data.prompts(bench.num_pairs, bench.shape["vocab_size"], bench.scale)
    pairs = []
    for prompt in prompts:
        for both in prompt.comparisons:
            order = (both.first, both.second) if both.preference > 0.5 else (both.second, both.first)
            pairs.append(tuple([*prompt.prompt_ids.tolist(), *prompt.response_ids[at].tolist()] for at in order))
    settings = Settings("bfloat16", num_epochs=2 if tuned else 1)  # its defaults take twice as long
    measured = train_trl(
        pairs, work / "initial", settings, work / "out", Meter(), per_forward=16 if tuned else 8, tuned=tuned
    )
    seconds = measured["duration_s"] - measured["first_step_s"]
    num_pairs = settings.num_epochs * len(pairs) - min(len(pairs), settings.pairs_per_step)
    peak = measured.get("cuda_peak_bytes", math.nan) / GIB
    print(json.dumps({"pairs/s": num_pairs / seconds, "seconds": seconds, "peak GiB": peak}))


# The table


def summary(bench: Bench) -> None:
    """A table of everything, last, since the end of a log is what is read."""
    found = bench.found
    print("\n# Summary")
    print(found.get("machine", "machine: not asked for"))
    print(
        f"model: {bench.shape['model_type']}, {bench.shape['num_hidden_layers']} layers of {bench.shape['hidden_size']}"
    )
    for data in DATA:
        print(f"\n{data.name}: {bench.num_pairs} pairs an epoch, {Settings.pairs_per_step} a step, bfloat16 autocast")
        rows = found.get(f"training: {data.name}") or {"failed": ""}
        if "failed" in rows:
            continue
        print("| | pairs/s (slowest to fastest) | tokens/s | peak GiB | MFU | packed is faster | tokens |")
        print("|---|---|---|---|---|---|---|")
        for name, row in rows.items():
            print(
                f"| {name} | {row['pairs/s']:.1f} ({row['slowest pairs/s']:.1f}-{row['fastest pairs/s']:.1f}) "
                f"| {row['tokens/s']:,.0f} | {row['peak GiB']:.1f} | {row['MFU']:.1%} "
                f"| {row['packed is faster by']:.2f}x | {row['tokens']:,.0f} |"
            )
    for title in ("scoring", "attention", "adapters", "TRL"):
        for name, row in (found.get(title) or {}).items():
            print(f"{title}: {name}: {row}" if not isinstance(row, dict) else f"{title}: {name}: {rounded(row)}")
    print(f"\n{bench.failed} parts failed; {time.perf_counter() - bench.started:.0f} s in all")


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a tiny model on the CPU: does every part run?")
    parser.add_argument("--out", type=Path, help="JSON file for everything that was found")
    parser.add_argument("--only", nargs="+", help="only the parts whose titles begin so, such as training")
    parser.add_argument("--trl-site", help="folder with trl and datasets, for TRL's own trainer")
    parser.add_argument("--trl", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tuned", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    bench = Bench(args)
    if args.trl is not None:
        return run_trl(bench)
    torch.set_float32_matmul_precision("highest")
    bench.part("machine", lambda: facts(bench))
    bench.part("attention, error", lambda: attention_error(bench))
    bench.part("layouts, error", lambda: layout_error(bench))
    bench.part("device, error", lambda: cpu_error(bench))
    bench.part("steps, error", lambda: training_error(bench))
    for data in DATA:
        names = [name for name in contenders(bench) if name not in VARIANTS]
        bench.part(f"training: {data.name}", lambda data=data, names=names: training_speed(bench, data, names))
    bench.part("scoring", lambda: scoring_speed(bench))
    bench.part("attention", lambda: attention_speed(bench))
    if importlib.util.find_spec("bitsandbytes"):
        bench.part("adapters", lambda: adapter_speed(bench))
    if args.trl_site:
        bench.part("TRL", lambda: trl_speed(bench))
    bench.part("profile", lambda: profile(bench))
    bench.part("variants", lambda: training_speed(bench, DATA[1], ["ours, packed", *VARIANTS]))
    summary(bench)
    sys.exit(1 if bench.failed else 0)


if __name__ == "__main__":
    main()

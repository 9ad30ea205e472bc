"""What the processes of `training.py` do: prepare data and model, or train and measure one contender.

Usage: python bench/training_sides.py FOLDER, which holds job.json and gets result.json
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from meter import Meter
from shapes import PEAK_FLOPS, QWEN3_0_6B
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from rm.data import snapshots, store
from rm.data.config import IngestConfig, SnapshotConfig
from rm.data.preferences import Comparison, Split
from rm.manifests import Manifest
from rm.model import base_files, base_models, batch_layout, export, reward_model
from rm.model.batch_layout import BatchLayout
from rm.model.config import ComputeConfig, ModelConfig, ScratchConfig
from rm.model.packing import PackedSequences, pack
from rm.model.token_ids import TokenGroup
from rm.tokens import tokenization
from rm.tokens.config import TokenizeConfig
from rm.tokens.items import TokenizedPrompt
from rm.tokens.manifests import TokenizedManifest
from rm.tokens.token_files import TokenWriter, token_batch
from rm.train import batching, loop
from rm.train.config import TrainConfig

SOURCES = {"hh": "data/hh_rlhf/*.jsonl.gz", "alpaca": "data/alpaca_eval/*.json.gz"}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "model_type": "qwen2",
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "vocab_size": 8192,
    },
    "qwen3-0.6b": QWEN3_0_6B,
}
NUM_WORDS = 8192
"""Tokens of the tokenizer, which is trained on the data; a larger embedding has rows that no text uses."""
NUM_CHECK_PAIRS = 8

Json = dict[str, Any]
Sides = tuple[list[int], list[int]]
"""The whole token ids of a comparison's preferred and other response."""


def main() -> None:
    work = Path(sys.argv[1])
    job = json.loads((work / "job.json").read_text())
    torch.set_num_threads(num_threads())
    result = prepare(job, work) if job["task"] == "prepare" else train(job, work)
    (work / "result.json").write_text(json.dumps(result))


def num_threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


# Preparation: one set of files for all contenders


def prepare(job: Json, work: Path) -> Json:
    """Write token ids, backbone and initial reward model, and count them."""
    tokenized = tokenize(job, work)
    trained, heldout = tokenization.read_tokens(tokenized, "train"), tokenization.read_tokens(tokenized, "heldout")
    heldout = heldout.subset(batching.choose(heldout.num_comparisons(), job["max_heldout_pairs"], job["seed"]))
    for name, max_pairs in {"tokens": job["max_pairs"], "check": NUM_CHECK_PAIRS}.items():
        chosen = batching.choose(batching.count_pairs(trained), max_pairs, job["seed"])
        copy_hard(tokenized, {"train": trained.subset(chosen), "validation": [], "heldout": heldout}, work / name)
    prompts = tokenization.read_tokens(TokenizedManifest.read(work / "tokens"), "train")
    model = write_model(job, tokenized, work)
    matrices = [value.numel() for name, value in model.named_parameters() if value.ndim == 2 and "embed" not in name]
    shared = list(shared_lengths(prompts, job))
    # TRL reads the prompt again with each response: lengths of no prompt and one long response.
    separate = [(0, [len(ids)]) for prompt in prompts for sides in preferred_first(prompt) for ids in sides]
    return {
        "num_pairs": sum(len(prompt.comparisons) for prompt in prompts),
        "num_prompts": len(prompts),
        "num_heldout_pairs": sum(len(prompt.comparisons) for prompt in heldout),
        "tokens_shared": sum(length + sum(lengths) for length, lengths in shared),
        "flops_ours": flops(shared, model.backbone.config, sum(matrices)),
        "flops_trl": flops(separate, model.backbone.config, sum(matrices)),
        "peak_flops": PEAK_FLOPS,
        "num_parameters": sum(value.numel() for value in model.parameters()),
        "num_matrix_parameters": sum(matrices),
        "on_gpu": torch.cuda.is_available(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "num_threads": num_threads(),
        "versions": {name: version(name) for name in ("torch", "transformers", "trl")},
    }


def tokenize(job: Json, work: Path) -> TokenizedManifest:
    """The project's own way from annotation files to token ids."""
    dataset_folder, tokens_folder = work / "dataset", work / "tokenized"
    dataset_folder.mkdir()
    tokens_folder.mkdir()
    ingest = IngestConfig(sources=(SOURCES[job["data"]],))
    table = store.append(ingest.sources, work / "annotations", ingest).table
    dataset = snapshots.snapshot(table, SnapshotConfig(), dataset_folder)
    scratch = ModelConfig(scratch=ScratchConfig(architecture="qwen2", vocab_size=NUM_WORDS))
    base = base_files.resolve(ModelConfig(path=job["model"]) if job["model"] else scratch)
    return tokenization.tokenize(dataset, base, TokenizeConfig(max_tokens=job["max_tokens"]), tokens_folder)


def copy_hard(tokenized: TokenizedManifest, prompts: Mapping[Split, Iterable[TokenizedPrompt]], folder: Path) -> None:
    """Write prompts, of their comparisons what TRL can express: decided, of one weight, without target margins."""
    shutil.copytree(tokenized.path / TokenizedManifest.TOKENIZER_NAME, folder / TokenizedManifest.TOKENIZER_NAME)
    num_rows = 0
    for split, some in prompts.items():
        with TokenWriter(folder / TokenizedManifest.tokens_name(split)) as writer:
            hard = [
                (prompt, [as_hard(pair) for pair in prompt.comparisons if pair.preference != 0.5]) for prompt in some
            ]
            writer.write(token_batch([replace(prompt, comparisons=pairs) for prompt, pairs in hard if pairs]))
        num_rows += writer.num_prompts
    fields = {name: getattr(tokenized, name) for name in TokenizedManifest.model_fields.keys() - Manifest.model_fields}
    TokenizedManifest.seal(folder, inputs=(tokenized,), config=TokenizeConfig(), num_rows=num_rows, **fields)


def as_hard(pair: Comparison) -> Comparison:
    return replace(pair, preference=float(pair.preference > 0.5), target_margin=0.0, weight=1.0)


def write_model(job: Json, tokenized: TokenizedManifest, work: Path) -> reward_model.RewardModel:
    """Write a backbone of random weights for ours, unless one is given, and the same with ours' head for TRL."""
    tokenizer = tokenization.read_tokenizer(tokenized)
    if not job["model"]:
        special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
        torch.manual_seed(job["seed"])
        backbone = AutoModel.from_config(AutoConfig.for_model(**PRESETS[job["preset"]], **special), dtype=torch.float32)
        backbone.save_pretrained(work / "base")
        tokenizer.save_pretrained(work / "base")
    base = base_files.resolve(ModelConfig(path=base_model(job, work)))
    model = base_models.build(base, tokenizer, job["seed"], torch.device("cpu"))
    export.save(model, tokenizer, work / "initial")
    return model


def base_model(job: Json, work: Path) -> Path:
    return Path(job["model"] or work / "base")


# Counting


def preferred_first(prompt: TokenizedPrompt) -> Iterator[Sides]:
    prompt_ids = list(map(int, prompt.prompt_ids))
    for pair in prompt.comparisons:
        indices = (pair.first, pair.second) if pair.preference > 0.5 else (pair.second, pair.first)
        chosen, other = (prompt_ids + list(map(int, prompt.response_ids[index])) for index in indices)
        yield chosen, other


def shared_lengths(prompts: list[TokenizedPrompt], job: Json) -> Iterator[tuple[int, list[int]]]:
    """Step by step of our first epoch, the length of each prompt and of the distinct responses compared."""
    for step in batching.Steps(batching.count_pairs(prompts), job["pairs_per_step"], job["seed"], 1):
        used: dict[int, set[int]] = defaultdict(set)
        for pair in step:
            comparison = prompts[pair.prompt].comparisons[pair.comparison]
            used[pair.prompt] |= {comparison.first, comparison.second}
        for number, indices in used.items():
            yield len(prompts[number].prompt_ids), [len(prompts[number].response_ids[index]) for index in indices]


def flops(groups: list[tuple[int, list[int]]], config: Any, num_matrix_parameters: int) -> float:
    """Operations of forward and backward passes over prompts and their responses, by their lengths.

    A multiplication and an addition a parameter and token, and twice that backwards; the same for scores and weighted
    values of each token with itself and those before it.
    """
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    attention = 12 * config.num_hidden_layers * config.num_attention_heads * head_dim
    tokens = sum(prompt + sum(responses) for prompt, responses in groups)
    seen = sum(
        prompt * (prompt + 1) / 2 + sum(length * (prompt + (length + 1) / 2) for length in responses)
        for prompt, responses in groups
    )
    return 6 * num_matrix_parameters * tokens + attention * seen


# Training and measuring


def train(job: Json, work: Path) -> dict[str, float]:
    """Train one contender and measure it; the check is one step on a few pairs, for its loss."""
    checking = job["task"] == "check"
    tokenized = TokenizedManifest.read(work / ("check" if checking else "tokens"))
    prompts = tokenization.read_tokens(tokenized, "train")
    pairs = [sides for prompt in prompts for sides in preferred_first(prompt)]
    config = TrainConfig(
        num_epochs=1 if checking else job["epochs"],
        pairs_per_step=len(pairs) if checking else job["pairs_per_step"],
        learning_rate=job["learning_rate"],
        warmup_share=job["warmup_share"],
        precision="float32" if checking else job["precision"],  # bfloat16 rounds more than the check allows
        checkpoint_every=10**9,  # TRL writes none either
        seed=job["seed"],
    )
    folder = work / "trained"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if job["contender"] in ("ours", "packed"):
        compute = ComputeConfig(tokens_per_batch=job["tokens_per_batch"])
        with nothing_shared() if job["contender"] == "packed" else contextlib.nullcontext():
            measured = train_ours(tokenized, len(pairs), config, compute, base_model(job, work), folder)
    else:
        from trl_side import train_trl

        *_, number = job["contender"].split("-")
        per_forward = len(pairs) if checking else 8 if number == "default" else int(number)
        tuned = number != "default"
        measured = train_trl(pairs, work / "initial", config, folder, Meter(), per_forward=per_forward, tuned=tuned)
    return measured if checking else measured | heldout(folder, tokenization.read_tokens(tokenized, "heldout"))


class Apart(BatchLayout):
    """Packed rows in which each response stands behind a prompt of its own."""

    def num_tokens(self, groups: Sequence[TokenGroup]) -> int:
        return sum(each.num_tokens for group in groups for each in group.sequences())

    def lay_out(self, groups: Sequence[TokenGroup]) -> PackedSequences:
        whole = [np.concatenate([group.prompt_ids, ids]) for group in groups for ids in group.response_ids]
        return pack([TokenGroup(ids[:0], [ids]) for ids in whole], self.reading)


@contextlib.contextmanager
def nothing_shared() -> Iterator[None]:
    """Our trainer reads both whole sequences of each pair, packed, as trainers that pack without sharing do."""

    def apart(prompts: Any, pairs: Any, layout: BatchLayout, tokens_per_batch: int, num_parts: int = 1) -> Any:
        blocks = [batching.block(prompts[pair.prompt], pair.prompt, [pair.comparison]) for pair in pairs]
        return batching.Division(layout.fill(blocks, tokens_per_batch, num_parts), [])

    choose = batch_layout.choose
    with (
        mock.patch.object(batching, "divide", apart),
        mock.patch.object(batch_layout, "choose", lambda *given: Apart(packed=True, reading=choose(*given).reading)),
    ):
        yield


def train_ours(
    tokenized: TokenizedManifest, num_pairs: int, config: TrainConfig, compute: ComputeConfig, base: Path, folder: Path
) -> dict[str, float]:
    meter, steps = Meter(), []

    class TimedAdamW(torch.optim.AdamW):
        """Starts the clock when `fit` makes its optimizer: after the model is loaded, before it lays out any step."""

        def __init__(self, *args: Any, **options: Any) -> None:
            meter.start()
            super().__init__(*args, **options)

    def on_step(metrics: loop.StepMetrics) -> None:
        steps.append(metrics)
        meter.step(last=metrics.step == metrics.num_steps)

    with mock.patch.object(torch.optim, "AdamW", TimedAdamW):
        loop.fit(tokenized, base_files.resolve(ModelConfig(path=base)), config, compute, folder, on_step)
    num_full, num_last = divmod(num_pairs, config.pairs_per_step)
    sizes = ([config.pairs_per_step] * num_full + [num_last] * (num_last > 0)) * config.num_epochs
    tokens = sum(size * step.tokens_per_s / step.pairs_per_s for size, step in zip(sizes, steps, strict=True))
    return {"first_loss": steps[0].loss, "num_steps": len(steps), "tokens": tokens, **meter.measured}


@torch.inference_mode()
def heldout(folder: Path, prompts: list[TokenizedPrompt], tokens_per_batch: int = 16384) -> dict[str, float]:
    """Accuracy, a tie counting one half, and loss in nats; in float32 by transformers alone, whoever has trained."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).to(device).eval()
    pairs = [sides for prompt in prompts for sides in preferred_first(prompt)]
    waiting = sorted({tuple(ids) for sides in pairs for ids in sides}, key=len)
    rewards: dict[tuple[int, ...], float] = {}
    while waiting:
        size = max(1, tokens_per_batch // len(waiting[-1]))  # sorted by length, so that the last sets the width
        batch, waiting = waiting[-size:], waiting[:-size]
        padded = pad_sequence([torch.tensor(ids) for ids in batch], True, model.config.pad_token_id)
        mask = pad_sequence([torch.ones(len(ids), dtype=torch.int64) for ids in batch], True)
        logits = model(padded.to(device), attention_mask=mask.to(device), use_cache=False).logits.squeeze(-1)
        rewards |= dict(zip(batch, logits.tolist(), strict=True))
    margins = np.array([rewards[tuple(chosen)] - rewards[tuple(other)] for chosen, other in pairs])
    accuracy, loss = ((margins > 0) + (margins == 0) / 2).mean(), np.logaddexp(0, -margins).mean()
    return {"accuracy": float(accuracy), "heldout_loss": float(loss)}


if __name__ == "__main__":
    main()

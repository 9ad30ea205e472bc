"""Pairs tokenized a second, against the preparation of TRL's RewardTrainer, on the same pairs with the same tokenizer.

That both give the same ids for every pair is checked before anything is timed. What is timed:

* rmflow, the stage: `rm.tokens.tokenization.tokenize`, as a user runs it: the data set is read from its Parquet file,
  the tokenizer loaded and its template checked, every conversation rendered and tokenized, the ids written to
  Arrow files, and all files digested for the manifest.
* rmflow, ids alone: `rm.tokens.encoder.encode_chunks`, from texts in memory to ids in memory.
* TRL: ``RewardTrainer._prepare_dataset``, TRL's own code, from an Arrow data set of messages in memory to one of ids:
  rendering, tokenization and the filter by length through ``datasets.map``, caching off.

Threads and processes: rmflow renders in one thread and tokenizes on all cores; TRL has one process for all unless told
otherwise. The more cores, the larger rmflow's lead, up to what rendering allows.

The tokenizer is trained on the texts, so that nothing is downloaded.

Usage: python bench/tokenization.py data/hh_rlhf/harmless_base_test.jsonl.gz
"""

import argparse
import contextlib
import functools
import gc
import io
import operator
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

import datasets
from transformers import AutoModel, LlamaConfig
from trl import RewardConfig, RewardTrainer

from rm.data import prompt_groups, snapshots, store
from rm.data.config import IngestConfig, SnapshotConfig
from rm.data.manifests import DatasetManifest
from rm.data.preferences import SPLITS, Comparison, PromptGroup
from rm.model import base_files, base_models
from rm.model.config import ModelConfig
from rm.model.tokenizer import train_tokenizer
from rm.tokens import encoder, tokenization
from rm.tokens.config import TokenizeConfig
from rm.tokens.encoder import Encoder
from rm.tokens.manifests import TokenizedManifest

MAX_TOKENS = 1024  # TRL's default
VOCAB_SIZE = 8192
STAGE, TRL = "rmflow, the stage", "TRL, as it comes"

Pair = tuple[list[int], list[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Pairs tokenized a second, rmflow against TRL.")
    parser.add_argument("source", help="annotations in any layout that rmflow reads, a file or a pattern")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    datasets.disable_caching()
    datasets.disable_progress_bars()
    warnings.simplefilter("ignore", FutureWarning)  # TRL's arguments, once a run
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = read(options.source, folder)
        base = tokenizer_only(dataset, folder / "base")
        ours = functools.partial(prepare_ours, dataset, base)
        theirs = functools.partial(prepare_trl, messages(dataset), base)
        num_fitting = check_same_ids(ours(), theirs())
        contenders = {
            STAGE: ours,
            "rmflow, ids alone": functools.partial(ids_alone, read_groups(dataset), base),
            TRL: theirs,
            f"TRL, dataset_num_proc={os.cpu_count()}": functools.partial(theirs, num_proc=os.cpu_count()),
        }
        report(alternate(contenders, options.repeats), sum(dataset.num_pairs.values()), num_fitting)


def read(source: str, folder: Path) -> DatasetManifest:
    ingested = store.append([source], folder / "table", IngestConfig())
    return snapshots.snapshot(ingested.table, SnapshotConfig(), folder / "dataset")


def read_groups(dataset: DatasetManifest) -> list[PromptGroup]:
    """The prompts of all splits, in order of prompt id."""
    groups = [group for split in SPLITS for group in prompt_groups.read_groups(dataset, split)]
    return sorted(groups, key=operator.attrgetter("prompt_id"))


def tokenizer_only(dataset: DatasetManifest, folder: Path) -> base_files.BaseModelRef:
    """A base model's folder with a tokenizer trained on the texts, and weights that nobody looks at."""
    groups = read_groups(dataset)
    texts = [message.content for group in groups for message in group.prompt]
    texts += [text for group in groups for text in group.responses]
    train_tokenizer(texts, VOCAB_SIZE).save_pretrained(folder)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    AutoModel.from_config(LlamaConfig(vocab_size=VOCAB_SIZE, **sizes)).save_pretrained(folder)
    return base_files.resolve(ModelConfig(path=folder))


def messages(dataset: DatasetManifest) -> datasets.Dataset:
    """The pairs as TRL takes them: two whole conversations a row."""
    rows: list[dict[str, Any]] = []
    for group in read_groups(dataset):
        prompt = [message._asdict() for message in group.prompt]
        answers = [[*prompt, {"role": "assistant", "content": text}] for text in group.responses]
        rows += [{"chosen": answers[one], "rejected": answers[other]} for one, other in map(sides, group.comparisons)]
    return datasets.Dataset.from_list(rows)


def sides(comparison: Comparison) -> tuple[int, int]:
    """Indices of the chosen and the rejected response; of a tie the first counts as chosen."""
    first, second = comparison.first, comparison.second
    return (first, second) if comparison.preference >= 0.5 else (second, first)


def prepare_ours(dataset: DatasetManifest, base: base_files.BaseModelRef) -> TokenizedManifest:
    folder = Path(tempfile.mkdtemp(dir=dataset.path.parent))
    return tokenization.tokenize(dataset, base, TokenizeConfig(max_tokens=MAX_TOKENS, overlong="drop"), folder)


def ids_alone(groups: list[PromptGroup], base: base_files.BaseModelRef) -> list[list[encoder.Encoded]]:
    texts = [(group.prompt, group.responses) for group in groups]
    chunks = [texts[start : start + 256] for start in range(0, len(texts), 256)]
    return list(encoder.encode_chunks(Encoder(base_models.load_tokenizer(base, [])), chunks))


def prepare_trl(
    pairs: datasets.Dataset, base: base_files.BaseModelRef, num_proc: int | None = None
) -> datasets.Dataset:
    tokenizer = base_models.load_tokenizer(base, [])
    config = RewardConfig(output_dir=str(base.folder), max_length=MAX_TOKENS, dataset_num_proc=num_proc, use_cpu=True)
    # The method reads nothing of the trainer, which would cost TRL the time to build a model.
    with contextlib.redirect_stderr(io.StringIO()):
        return RewardTrainer._prepare_dataset(None, pairs, tokenizer, config, "train")


def check_same_ids(ours: TokenizedManifest, theirs: datasets.Dataset) -> int:
    """Compare the ids of every pair and give the number of pairs that fit."""
    prompts = [prompt for split in SPLITS for prompt in tokenization.read_tokens(ours, split)]
    our_pairs: list[Pair] = []
    for prompt in sorted(prompts, key=operator.attrgetter("prompt_id")):
        whole = [[*map(int, prompt.prompt_ids), *map(int, ids)] for ids in prompt.response_ids]
        our_pairs += [(whole[one], whole[other]) for one, other in map(sides, prompt.comparisons)]
    their_pairs = list(zip(theirs["chosen_ids"], theirs["rejected_ids"], strict=True))
    if our_pairs != their_pairs:
        raise SystemExit(f"the two sides differ: {len(our_pairs)} pairs of rmflow, {len(their_pairs)} of TRL")
    return len(our_pairs)


def alternate(contenders: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every run; the order turns around with each round, so that no one always follows another."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats):
        for name in list(contenders)[:: 1 if turn % 2 == 0 else -1]:
            gc.collect()  # no one pays for what the one before left behind
            started = time.perf_counter()
            contenders[name]()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def report(seconds: dict[str, list[float]], num_pairs: int, num_fitting: int) -> None:
    medians = {name: statistics.median(runs) for name, runs in seconds.items()}
    print(
        f"{num_pairs} pairs, {num_fitting} of at most {MAX_TOKENS} tokens, the same ids for all; {os.cpu_count()} cores"
    )
    print(f"{'':24}  median s  fastest  slowest  pairs/s  times TRL")
    for name, runs in seconds.items():
        print(
            f"{name:24}  {medians[name]:8.3f}  {min(runs):7.3f}  {max(runs):7.3f}  {num_pairs / medians[name]:7.0f}"
            f"  {medians[TRL] / medians[name]:9.1f}"
        )


if __name__ == "__main__":
    main()

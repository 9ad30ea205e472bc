"""How fast this machine trains: a few steps on a sample of a snapshot, thrown away."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path

import torch

from rm.data import prompt_groups
from rm.data.manifests import DatasetManifest
from rm.model.base_files import BaseModelRef
from rm.model.config import ComputeConfig
from rm.remedies.prompts import remedied
from rm.remedies.texts import Texts
from rm.tokens import limit
from rm.tokens.config import TokenizeConfig
from rm.tokens.token_files import TokenizedSplit, TokenWriter
from rm.tokens.tokenization import Tokenizing, checked_tokenizer
from rm.train import distributed
from rm.train.batching import Steps
from rm.train.config import TrainConfig
from rm.train.loop import prepare
from rm.train.objective import Objective, attribute_scales
from rm.train.step import Stepper

_NUM_PROMPTS = 512
_FIRST_PAIRS = 4
_ENOUGH_S = 10.0
_MAX_STEPS = 8


def pairs_per_s(
    dataset: DatasetManifest,
    base: BaseModelRef,
    tokenize: TokenizeConfig,
    train: TrainConfig,
    compute: ComputeConfig,
    folder: Path,
) -> float | None:
    """Measure how many pairs a second of training takes on this machine, in one process.

    Parameters
    ----------
    dataset : DatasetManifest
    base : BaseModelRef
    tokenize : TokenizeConfig
    train : TrainConfig
    compute : ComputeConfig
    folder : Path
        Gets a file of token ids.

    Returns
    -------
    float or None
        Of the fastest step, since other work disturbs; of the first one only if it is the only one. None if no pair of
        the sample fits.

    Raises
    ------
    TrainingError, NonFiniteLoss
        As training itself.

    Notes
    -----
    The model, its optimizer and a step's activations are in memory meanwhile. The first step has only four pairs; if it
    takes ten seconds, no other is taken.
    """
    shards = prompt_groups.batches(dataset, _NUM_PROMPTS)
    groups = (group for shard in shards for split, group in prompt_groups.groups_of(shard) if split == "train")
    tokenizer = checked_tokenizer(dataset, base, islice(groups, _NUM_PROMPTS))
    max_tokens = limit.max_tokens(tokenize, base, tokenizer, limit.sample(dataset))
    tokenized = _tokenized(dataset, Tokenizing(tokenizer, tokenize, max_tokens), folder)

    def texts() -> Texts:
        return Texts(prompt_groups.each_group(dataset, "train"), tokenizer)

    prompts = remedied(tokenized, train.remedies, 0, texts)
    counts = prompts.num_comparisons()
    if not counts.sum():
        return None
    world = distributed.single_process()
    scales = attribute_scales(prompts, base.config.attributes)
    model, layout = prepare(base, tokenizer, train, compute, scales, world)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=train.learning_rate, weight_decay=train.weight_decay, fused=True)
    objective = Objective(train, prompts, base.config.num_heads, scales, tokenized.mean_weight())
    steps = Steps(counts, min(train.pairs_per_step, int(counts.sum())), train.seed, num_epochs=_MAX_STEPS)
    stepper = Stepper(model, optimizer, train, layout, objective, prompts, _MAX_STEPS, compute.tokens_per_batch, world)
    started = time.monotonic()
    rates = [stepper.take(1, steps[0][:_FIRST_PAIRS]).pairs_per_s]
    for number in range(1, _MAX_STEPS):
        if time.monotonic() - started > _ENOUGH_S:
            break
        rates.append(stepper.take(number + 1, steps[number]).pairs_per_s)
    return max(rates[1:] or rates)  # four pairs may be short ones


def _tokenized(dataset: DatasetManifest, tokenizing: Tokenizing, folder: Path) -> TokenizedSplit:
    """The first training prompts of a snapshot, which are a random sample."""
    folder.mkdir(parents=True)
    with TokenWriter(folder / "sample.arrow") as writer:
        for shard in prompt_groups.batches(dataset, _NUM_PROMPTS):
            writer.write(tokenizing(shard).batches["train"])
            if writer.num_prompts >= _NUM_PROMPTS:
                break
    return TokenizedSplit(folder / "sample.arrow")

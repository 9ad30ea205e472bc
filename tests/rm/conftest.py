"""A tiny data set and a tiny trained model, made once through the real store, snapshot and tokenize path."""

import json
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, BertConfig, PreTrainedTokenizerFast

from rm.audit import heldout
from rm.audit import stage as auditing
from rm.audit.config import AuditConfig
from rm.audit.records import read_report
from rm.data import snapshots, store
from rm.data.config import IngestConfig, SnapshotConfig
from rm.data.preferences import Message
from rm.gate.decision import decide
from rm.gate.policy import GatePolicy
from rm.model import base_files
from rm.model.config import ComputeConfig, ModelConfig, ScratchConfig
from rm.probes.config import ProbeConfig
from rm.probes.stage import probe
from rm.score.stage import SCORES_SCHEMA, score
from rm.tokens import tokenization
from rm.tokens.config import TokenizeConfig
from rm.tokens.manifests import TokenizedManifest
from rm.tokens.token_files import TokenWriter, token_batch
from rm.train import loop
from rm.train.config import TrainConfig

SIZES = {
    "llama": {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "num_key_value_heads": 1},
    "qwen3": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
    },
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 512},
    "bert": {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2},
    "modernbert": {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2},
    "mixtral": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "num_local_experts": 4,
    },
}
NUM_PROMPTS = 150
FILLERS = [
    "the",
    "a",
    "of",
    "some",
    "very",
    "quite",
    "small",
    "large",
    "old",
    "new",
    "green",
    "quiet",
    "round",
    "plain",
]


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tiny matrices gain nothing from threads, and the machine may be shared."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def scratch_base():
    """Make a base model with random weights: ``scratch_base("bert", pooling="mean")``."""

    def make(architecture, *, seed=0, **settings):
        depth = {} if architecture == "gpt2" else {"num_hidden_layers": 1, "max_position_embeddings": 512}
        scratch = ScratchConfig(
            architecture=architecture, sizes={**SIZES[architecture], **depth}, vocab_size=320, seed=seed
        )
        return base_files.resolve(ModelConfig(scratch=scratch, **settings))

    return make


@pytest.fixture(scope="session")
def make_dataset(tmp_path_factory):
    """Make a snapshot of rows in the judgement format, through the annotations table."""

    def make(rows, heldout_share=0.25, validation_share=0.0):
        folder = tmp_path_factory.mktemp("data")
        source = folder / "annotations.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        ingested = store.append([str(source)], folder / "table", IngestConfig())
        config = SnapshotConfig(heldout_share=heldout_share, validation_share=validation_share)
        return snapshots.snapshot(ingested.table, config, folder / "dataset")

    return make


@pytest.fixture(scope="session")
def judgements():
    """Rows whose better response says "good" where the other says "bad"; length has no say.

    Every tenth prompt has four responses and five comparisons, every twelfth a tie, every seventh a 2:1 vote.
    """
    generator = np.random.default_rng(7)

    def response(word):
        fillers = generator.choice(FILLERS, size=generator.integers(2, 12)).tolist()
        fillers.insert(int(generator.integers(len(fillers) + 1)), word)
        return " ".join(fillers)

    rows = []
    for number in range(NUM_PROMPTS):
        prompt = f"Say something about thing {number}, please."
        good, bad = response("good"), response("bad")
        pair = {"prompt": prompt, "first": good, "second": bad, "preference": 1.0, "annotator": "ann"}
        if number % 2:
            pair |= {"first": bad, "second": good, "preference": 0.0}
        rows.append(pair)
        if number % 7 == 0:
            rows.append({**pair, "annotator": "bob"})
            rows.append({**pair, "annotator": "cid", "preference": 1 - pair["preference"]})
        if number % 12 == 0:
            rows.append({"prompt": prompt, "first": good, "second": f"{good} good", "preference": 0.5})
        if number % 10 == 0:
            better, worse = f"{good} indeed", f"{bad} indeed"
            for first, second in [(good, worse), (better, bad), (better, worse)]:
                rows.append({"prompt": prompt, "first": first, "second": second, "preference": 1.0})
            rows.append({"prompt": prompt, "first": bad, "second": worse, "preference": 0.5})
    return rows


@pytest.fixture(scope="session")
def dataset(make_dataset, judgements):
    return make_dataset(judgements)


@pytest.fixture(scope="session")
def llama(scratch_base):
    return scratch_base("llama")


@pytest.fixture(scope="session")
def tokenized(dataset, llama, tmp_path_factory):
    """Ids that every architecture from random weights can read: they share the tokenizer."""
    return tokenization.tokenize(dataset, llama, TokenizeConfig(max_tokens=512), tmp_path_factory.mktemp("tokenized"))


@pytest.fixture(scope="session")
def tokenizer(tokenized):
    return tokenization.read_tokenizer(tokenized)


@pytest.fixture(scope="session")
def edit_tokens(tokenized, tmp_path_factory):
    """Make other tokenized data: ``edit_tokens(edit)`` with a function from training prompts to training prompts."""

    def make(edit):
        folder = shutil.copytree(tokenized.path, tmp_path_factory.mktemp("edited"), dirs_exist_ok=True)
        before = list(tokenization.read_tokens(tokenized, "train"))
        with TokenWriter(folder / TokenizedManifest.tokens_name("train")) as writer:
            writer.write(token_batch(edit(before)))
        return TokenizedManifest.seal(
            folder,
            inputs=(),
            config=TokenizeConfig(),
            num_rows=tokenized.num_rows - len(before) + writer.num_prompts,
            num_pairs=tokenized.num_pairs | {"train": writer.num_pairs},
            num_tokens={},
            num_refused=0,
            overlong={},
        )

    return make


@pytest.fixture(scope="session")
def train_config():
    return TrainConfig(num_epochs=3, pairs_per_step=16, learning_rate=1e-2)


@pytest.fixture(scope="session")
def compute():
    return ComputeConfig(tokens_per_batch=1024)


@pytest.fixture(scope="session")
def trained(tokenized, llama, train_config, compute, tmp_path_factory):
    """A checkpoint that has learnt the planted preference, and the metrics of its steps."""
    steps = []
    return loop.fit(tokenized, llama, train_config, compute, tmp_path_factory.mktemp("checkpoint"), steps.append), steps


@pytest.fixture(scope="session")
def checkpoint(trained):
    return trained[0]


@pytest.fixture(scope="session")
def scores(checkpoint, tokenized, compute, tmp_path_factory):
    return score(checkpoint, tokenized, compute, tmp_path_factory.mktemp("scores"))


@pytest.fixture(scope="session")
def audit_config():
    return AuditConfig(num_resamples=100, bucket_tokens=10, num_examples=4, probes=ProbeConfig(num_parents=20))


@pytest.fixture(scope="session")
def probed(checkpoint, dataset, compute, audit_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("probes")
    return probe(checkpoint, dataset, compute, audit_config.probes, folder)


@pytest.fixture(scope="session")
def audited(scores, probed, dataset, tokenized, checkpoint, audit_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    return auditing.audit(scores, probed, dataset, tokenized, checkpoint, None, audit_config, "whole", folder)


@pytest.fixture(scope="session")
def report(audited):
    return read_report(audited)


@pytest.fixture(scope="session")
def decision(report):
    """A rejection: so few held-out pairs satisfy no default check."""
    return decide(report, GatePolicy(), date(2026, 1, 1))


@pytest.fixture(scope="session")
def edit_scores(scores, tmp_path_factory):
    """Make other scores: ``edit_scores(edit)`` with a function from rows to rows."""

    def make(edit):
        folder = tmp_path_factory.mktemp("edited")
        shutil.copytree(scores.path, folder, dirs_exist_ok=True)
        rows = edit(pq.read_table(folder / "scores.parquet").to_pylist())
        pq.write_table(pa.Table.from_pylist(rows, schema=SCORES_SCHEMA), folder / "scores.parquet")
        return scores.model_copy(update={"path": folder})

    return make


@pytest.fixture(scope="session")
def make_heldout():
    """Make scored pairs: ``make_heldout(clusters, chosen, rejected)``, each side a list of (reward, length, text)."""

    def make(clusters, chosen, rejected):
        clusters = np.asarray(clusters, dtype=np.int64)
        (reward_chosen, length_chosen), (reward_rejected, length_rejected) = (
            np.array([row[:2] for row in side], dtype=np.float64).T for side in (chosen, rejected)
        )
        ids = tuple(f"prompt {cluster}" for cluster in range(int(clusters.max()) + 1))
        scored = heldout.ScoredPairs(
            prompt=clusters,
            cluster=clusters,
            reward_chosen=reward_chosen,
            reward_rejected=reward_rejected,
            length_chosen=length_chosen,
            length_rejected=length_rejected,
            preference=np.ones(len(clusters)),
            prompts=tuple(f"prompt {cluster}" for cluster in clusters),
            chosen=tuple(row[2] for row in chosen),
            rejected=tuple(row[2] for row in rejected),
        )
        return heldout.Heldout(
            num_clusters=int(clusters.max()) + 1,
            num_label_ties=0,
            num_unscored=0,
            length_unit="tokens",
            prompt_ids=ids,
            clusters=np.arange(len(ids)),
            prompts=tuple((Message("user", text),) for text in ids),
            responses=heldout.ScoredResponses(
                prompt=np.concatenate([clusters, clusters]),
                cluster=np.concatenate([clusters, clusters]),
                reward=np.concatenate([reward_chosen, reward_rejected]),
                length=np.concatenate([length_chosen, length_rejected]),
                texts=scored.chosen + scored.rejected,
            ),
            pairs=scored,
            table=pa.table(
                {
                    name: pa.array([values.get(name)] * len(clusters), heldout.PAIRS_SCHEMA.field(name).type)
                    for values in [
                        {
                            "num_judgements": 1,
                            "num_undecided": 0,
                            "num_turns": 1,
                            "prompt_characters": 8,
                            "length_unit": "tokens",
                        }
                    ]
                    for name in heldout.PAIRS_SCHEMA.names
                }
            ),
        )

    return make


@pytest.fixture(scope="session")
def save_base(tmp_path_factory):
    """Save a tokenizer and random weights as the folder of a base model: ``save_base(tokenizer, config)``."""

    def save(tokenizer, config):
        folder: Path = tmp_path_factory.mktemp("base")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            AutoModel.from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return base_files.resolve(ModelConfig(path=folder))

    return save


@pytest.fixture(scope="session")
def word_base(save_base):
    """A BERT folder whose tokenizer has one id a word, so that lengths can be counted by hand.

    Asked to add its special tokens, it puts [CLS] and [SEP] around any text, as BERT's does.
    """
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *(f"w{number}" for number in range(400))]
    backend = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=512,
    )
    return save_base(tokenizer, config)


@pytest.fixture(scope="session")
def with_validation(make_dataset, judgements, llama, tmp_path_factory):
    """Token ids of the same annotations with a validation split."""
    dataset = make_dataset(judgements, validation_share=0.2)
    return tokenization.tokenize(dataset, llama, TokenizeConfig(), tmp_path_factory.mktemp("tokens"))

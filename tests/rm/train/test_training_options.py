"""What a training may be told besides its data: validation, adapters, several heads, attributes, memory, precision."""

import itertools
import logging
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from rm.data.preferences import SPLITS
from rm.errors import TrainingError
from rm.model import base_files, base_models, batch_layout, export, reward_model
from rm.model.base_files import BaseModelRef
from rm.model.config import ComputeConfig, ModelConfig, ScratchConfig
from rm.model.padding import pad
from rm.model.token_ids import TokenGroup, TokenIds
from rm.remedies.config import RemediesConfig
from rm.score import stage
from rm.score.scorer import Scorer
from rm.tokens.config import TokenizeConfig
from rm.tokens.tokenization import read_tokenizer, read_tokens, tokenize
from rm.train import batching, loop, resume
from rm.train.config import LoraConfig, TrainConfig, ValidationConfig
from rm.train.distributed import World
from rm.train.step import learning_rate

CPU = torch.device("cpu")
CONFIG = TrainConfig(max_pairs=40, pairs_per_step=8, learning_rate=1e-3)
SMALL = ComputeConfig(tokens_per_batch=600)
DEFAULT = ComputeConfig()


def weights(manifest):
    return load_file(manifest.path / "model.safetensors")


def assert_same_weights(one, other):
    expected = weights(other)
    for name, value in weights(one).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-6)


@pytest.fixture(scope="module")
def plain(tokenized, llama, tmp_path_factory):
    """A run without options, and its steps."""
    steps = []
    return loop.fit(tokenized, llama, CONFIG, SMALL, tmp_path_factory.mktemp("plain") / "run", steps.append), steps


def reference_losses(tokenized, base, config, num_steps):
    """Losses of a padded trainer in the plainest form: one row a response of a pair, as in most code one meets."""
    tokenizer = read_tokenizer(tokenized)
    model = base_models.build(base, tokenizer, config.seed, CPU).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    prompts = read_tokens(tokenized, "train")
    steps = batching.Steps(batching.count_pairs(prompts), config.pairs_per_step, config.seed, config.num_epochs)
    losses = []
    for step, pairs in enumerate(itertools.islice(steps, num_steps), start=1):
        compared = [prompts[pair.prompt] for pair in pairs]
        labels = [prompt.comparisons[pair.comparison] for prompt, pair in zip(compared, pairs, strict=True)]
        sequences = [
            TokenIds(prompt.prompt_ids, prompt.response_ids[getattr(label, side)])
            for side in ("first", "second")
            for prompt, label in zip(compared, labels, strict=True)
        ]
        rows_of_ids = pad(sequences)
        rewards = model(rows_of_ids.input_ids, rows_of_ids.attention_mask).logits.squeeze(-1)
        margin = rewards[: len(pairs)] - rewards[len(pairs) :]
        preference = torch.tensor([label.preference for label in labels])
        weight = torch.tensor([label.weight for label in labels])
        probability = torch.sigmoid(margin)
        nats = -(preference * probability.log() + (1 - preference) * (1 - probability).log())
        loss = (weight * nats).sum() / weight.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.param_groups[0]["lr"] = learning_rate(config, step, len(steps))
        optimizer.step()
        losses.append(loss.item())
    return losses, model


@pytest.mark.parametrize("architecture", ["llama", pytest.param("qwen3", marks=pytest.mark.slow), "bert"])
def test_fifty_steps_follow_a_padded_trainer(tokenized, scratch_base, tmp_path, architecture):
    base = scratch_base(architecture)
    config = TrainConfig(num_epochs=6, pairs_per_step=20, learning_rate=1e-3)
    steps = []
    loop.fit(tokenized, base, config, ComputeConfig(tokens_per_batch=700), tmp_path / "run", steps.append)
    assert len(steps) >= 50
    expected, _ = reference_losses(tokenized, base, config, 50)
    assert [step.loss for step in steps[:50]] == pytest.approx(expected, rel=2e-3)
    assert steps[49].loss < steps[0].loss - 0.01  # they went somewhere together


def test_gradient_checkpointing_changes_nothing(tokenized, llama, plain, tmp_path):
    compute = SMALL.model_copy(update={"gradient_checkpointing": True})
    assert_same_weights(loop.fit(tokenized, llama, CONFIG, compute, tmp_path / "run"), plain[0])


def test_adapters_leave_the_backbone_alone_until_they_are_merged(tokenized, llama, tmp_path):
    config = CONFIG.model_copy(update={"lora": LoraConfig(rank=4), "learning_rate": 1e-2, "checkpoint_every": 2})

    def stop(metrics):
        if metrics.step == 3:
            (state,) = resume.beside(tmp_path / "run").rglob("*.safetensors")
            names = {name for name in load_file(state) if name.startswith("model.")}
            assert "model.score.weight" in names
            assert all("lora_" in name for name in names - {"model.score.weight"})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.fit(tokenized, llama, config, SMALL, tmp_path / "run", stop)
    resumed = loop.fit(tokenized, llama, config, SMALL, tmp_path / "run")
    whole = loop.fit(tokenized, llama, config, SMALL, tmp_path / "whole")
    assert resumed.digest == whole.digest

    # Plain weights, as without adapters; they differ from the base model's, by products of rank 4 at most.
    model = base_models.build(llama, read_tokenizer(tokenized), config.seed, CPU)
    merged = AutoModelForSequenceClassification.from_pretrained(whole.path, dtype=torch.float32)
    before = model.backbone.state_dict()
    after = merged.base_model.state_dict()
    assert before.keys() == after.keys()
    changed = {name: after[name] - before[name] for name in before if not torch.equal(after[name], before[name])}
    assert len(changed) == 7  # the linear layers of one llama layer
    for change in changed.values():
        assert torch.linalg.matrix_rank(change, atol=1e-6) <= 4
    assert not torch.equal(merged.score.weight, model.score.weight)


def test_adapters_learn(tokenized, llama, tmp_path):
    config = TrainConfig(num_epochs=3, pairs_per_step=16, learning_rate=1e-2, lora=LoraConfig(rank=8))
    steps = []
    loop.fit(tokenized, llama, config, DEFAULT, tmp_path / "run", steps.append)
    assert np.mean([step.accuracy for step in steps[-5:]]) > 0.9


class OutOfMemory:
    """Raises torch's error whenever a forward pass reads more than so many tokens."""

    def __init__(self, monkeypatch, limit):
        self.limit, self.largest = limit, 0
        real = reward_model.RewardModel.outputs

        def outputs(model, sequences):
            if torch.is_grad_enabled():
                if sequences.input_ids.numel() > self.limit:
                    raise torch.OutOfMemoryError("CUDA out of memory.")
                self.largest = max(self.largest, sequences.input_ids.numel())
            return real(model, sequences)

        monkeypatch.setattr(reward_model.RewardModel, "outputs", outputs)


def test_out_of_memory_halves_the_budget_and_goes_on(tokenized, llama, plain, tmp_path, monkeypatch, caplog):
    memory = OutOfMemory(monkeypatch, limit=200)
    with caplog.at_level(logging.WARNING, logger="rm"):
        manifest = loop.fit(tokenized, llama, CONFIG, SMALL, tmp_path / "run")
    assert_same_weights(manifest, plain[0])
    assert 0 < memory.largest <= 200
    assert [record.getMessage() for record in caplog.records] == [
        "step 1: out of memory; continuing with 300 tokens per batch",
        "step 4: out of memory; continuing with 150 tokens per batch",
    ]


def test_too_little_memory_for_one_response_is_an_error(tokenized, llama, tmp_path, monkeypatch):
    OutOfMemory(monkeypatch, limit=20)
    with pytest.raises(TrainingError, match=r"step 1: out of memory, and less is not enough: prompt \w{32}: "):
        loop.fit(tokenized, llama, CONFIG, SMALL, tmp_path / "run")


def test_a_budget_below_the_longest_response_is_an_error_before_the_first_step(tokenized, llama, tmp_path):
    steps = []
    prompts = read_tokens(tokenized, "train")
    chosen = batching.choose(prompts.num_comparisons(), CONFIG.max_pairs, CONFIG.seed)
    longest = int(prompts.subset(chosen).longest().max())
    compute = ComputeConfig(tokens_per_batch=longest - 1)
    with pytest.raises(
        TrainingError,
        match=rf"^prompt \w{{32}}: the prompt and one of its responses take {longest} tokens, but "
        rf"compute.tokens_per_batch is {longest - 1}; raise it, or lower tokenize.max_tokens$",
    ):
        loop.fit(tokenized, llama, CONFIG, compute, tmp_path / "run", steps.append)
    assert not steps


def test_a_model_that_cannot_be_packed_trains_padded_and_says_so(tokenized, tmp_path, caplog):
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3}
    scratch = ScratchConfig(architecture="modernbert", sizes=sizes, vocab_size=320)
    base = base_files.resolve(ModelConfig(scratch=scratch))
    with caplog.at_level(logging.WARNING, logger="rm"):
        manifest = loop.fit(tokenized, base, CONFIG, SMALL, tmp_path / "run")
    assert "training and scoring on padded rows, which is slower: its attention window of 64" in caplog.text
    assert manifest.step == 5


# Validation.


def validation_loss(folder, tokenized, explained=lambda prompt, pair: 0.0):
    """Mean loss over all pairs of the validation split, one response at a time through transformers."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    losses, total, right, decided = 0.0, 0.0, 0.0, 0
    for prompt in read_tokens(tokenized, "validation"):
        with torch.inference_mode():
            rewards = [model(torch.tensor([[*prompt.prompt_ids, *ids]])).logits.item() for ids in prompt.response_ids]
        for pair in prompt.comparisons:
            margin = rewards[pair.first] - rewards[pair.second]
            share, logit = pair.preference, margin + explained(prompt, pair)
            nats = share * math.log1p(math.exp(-logit)) + (1 - share) * math.log1p(math.exp(logit))
            losses, total = losses + pair.weight * nats, total + pair.weight
            if share != 0.5:
                decided, right = decided + 1, right + float((margin > 0) == (share > 0.5))
    return losses / total, right / decided


@pytest.mark.parametrize("tokens_per_batch", [100, 10_000])
def test_validation_is_the_mean_over_all_of_its_pairs(with_validation, llama, tmp_path, tokens_per_batch):
    config = CONFIG.model_copy(update={"validation": ValidationConfig(every=2, keep="last")})
    compute = ComputeConfig(tokens_per_batch=tokens_per_batch)
    steps = []
    manifest = loop.fit(with_validation, llama, config, compute, tmp_path / "run", steps.append)
    assert [step.step for step in steps if step.validation_loss is not None] == [2, 4, 6]
    loss, accuracy = validation_loss(manifest.path, with_validation)
    assert steps[-1].validation_loss == pytest.approx(loss, rel=1e-4)
    assert steps[-1].validation_accuracy == pytest.approx(accuracy)


def test_validation_has_the_terms_of_controlled_features(with_validation, llama, tmp_path, monkeypatch):
    terms, real = [], loop.validate

    def validate(*given):
        terms.append(float(given[-1].coefficients[0]))
        return real(*given)

    monkeypatch.setattr(loop, "validate", validate)
    config = TrainConfig(
        pairs_per_step=16,
        validation=ValidationConfig(every=20, keep="last"),
        remedies=RemediesConfig(controlled=("length",)),
    )
    steps = []
    manifest = loop.fit(with_validation, llama, config, DEFAULT, tmp_path / "run", steps.append)
    every = read_tokens(with_validation, "train").compared()
    unit = np.sqrt(np.mean(np.log(every.first_tokens / every.second_tokens) ** 2))

    def explained(prompt, pair):
        lengths = [len(prompt.response_ids[at]) for at in (pair.first, pair.second)]
        return terms[-1] * math.log(lengths[0] / lengths[1]) / unit

    loss, accuracy = validation_loss(manifest.path, with_validation, explained)
    assert terms[-1] != 0
    assert steps[-1].validation_loss == pytest.approx(loss, rel=1e-4)
    assert steps[-1].validation_accuracy == pytest.approx(accuracy)
    assert steps[-1].validation_loss != pytest.approx(validation_loss(manifest.path, with_validation)[0], rel=1e-3)


def test_the_best_weights_are_kept_and_patience_ends_the_run(with_validation, llama, tmp_path):
    # A rate so high that the loss gets worse after a few steps.
    config = TrainConfig(
        num_epochs=20,
        pairs_per_step=16,
        learning_rate=0.1,
        validation=ValidationConfig(every=1, patience=4),
        checkpoint_every=3,
    )
    steps = []
    manifest = loop.fit(with_validation, llama, config, DEFAULT, tmp_path / "run", steps.append)
    losses = [step.validation_loss for step in steps]
    best = int(np.argmin(losses))
    assert manifest.step == best + 1
    assert len(steps) == best + 1 + 4 < steps[0].num_steps
    assert validation_loss(manifest.path, with_validation)[0] == pytest.approx(losses[best], rel=1e-3)

    def interrupt(metrics):
        if metrics.step == len(steps) - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.fit(with_validation, llama, config, DEFAULT, tmp_path / "again", interrupt)
    again = []
    assert loop.fit(with_validation, llama, config, DEFAULT, tmp_path / "again", again.append).digest == manifest.digest
    assert again[-1].step == steps[-1].step


def test_validation_needs_a_validation_split(tokenized, llama, tmp_path):
    config = CONFIG.model_copy(update={"validation": ValidationConfig()})
    with pytest.raises(TrainingError, match=r"no validation split to measure on; set snapshot.validation_share"):
        loop.fit(tokenized, llama, config, SMALL, tmp_path / "run")


def test_validation_neither_trains_nor_sees_the_audited_prompts(with_validation, llama, tmp_path, monkeypatch):
    read = {prompt.prompt_id: split for split in SPLITS for prompt in read_tokens(with_validation, split)}
    trained, measured = set(), set()
    real = batching.lay_out

    def lay_out(blocks, *rest):
        prompts = read_tokens(with_validation, "train" if torch.is_grad_enabled() else "validation")
        (trained if torch.is_grad_enabled() else measured).update(prompts[block.prompt].prompt_id for block in blocks)
        return real(blocks, *rest)

    monkeypatch.setattr(batching, "lay_out", lay_out)
    config = TrainConfig(pairs_per_step=32, validation=ValidationConfig(every=10))
    loop.fit(with_validation, llama, config, DEFAULT, tmp_path / "run")
    assert trained == {prompt for prompt, split in read.items() if split == "train"}
    assert measured == {prompt for prompt, split in read.items() if split == "validation"}


# Several heads.


def with_model(base: BaseModelRef, **update) -> BaseModelRef:
    return base.model_copy(update={"config": base.config.model_copy(update=update)})


def test_heads_differ_and_what_the_field_loads_is_their_mean(tokenized, llama, tmp_path):
    base = with_model(llama, num_heads=4)
    config = TrainConfig(num_epochs=2, pairs_per_step=16, learning_rate=1e-2)
    manifest = loop.fit(tokenized, base, config, DEFAULT, tmp_path / "run")
    heads = load_file(manifest.path / "heads" / "heads.safetensors")["weight"]
    assert heads.shape == (4, 32)
    native = AutoModelForSequenceClassification.from_pretrained(manifest.path, dtype=torch.float32)
    assert type(native).__module__.startswith("transformers.")
    torch.testing.assert_close(native.score.weight, heads.mean(dim=0, keepdim=True))

    scores = stage.score(manifest, tokenized, DEFAULT, tmp_path / "scores")
    table = pq.read_table(scores.path / "scores.parquet").to_pylist()
    model, _ = export.load(manifest.path, CPU)
    prompt = read_tokens(tokenized, "heldout")[0]
    (found,) = [item for item in table if (item["prompt_id"], item["response"]) == (prompt.prompt_id, 0)]
    one = pad([TokenIds(prompt.prompt_ids, prompt.response_ids[0])])
    with torch.inference_mode():
        every = model.outputs(one)[0].tolist()
        mean = native.eval()(one.input_ids).logits.item()
    assert found["reward"] == pytest.approx(np.mean(every), abs=1e-5) == pytest.approx(mean, abs=1e-5)
    assert found["disagreement"] == pytest.approx(np.std(every, ddof=1), abs=1e-5)
    assert min(item["disagreement"] for item in table) > 0


def test_one_head_has_no_disagreement(scores):
    assert pq.read_table(scores.path / "scores.parquet")["disagreement"].null_count == scores.num_rows


# Attributes.


@pytest.fixture(scope="module")
def rated(make_dataset, judgements, llama, tmp_path_factory):
    """The same annotations with an attribute that counts words, missing for every third row, and one that is rare."""
    rows = []
    for number, row in enumerate(judgements):
        rated = dict(row)
        if number % 3:
            for side in ("first", "second"):
                words = {"words": float(len(row[side].split()))}
                rated[f"attributes_{side}"] = words | ({"rare": float(number)} if number % 20 == 1 else {})
        rows.append(rated)
    dataset = make_dataset(rows)
    return tokenize(dataset, llama, TokenizeConfig(), tmp_path_factory.mktemp("tokens"))


def test_an_attribute_head_learns_its_attribute(rated, llama, tmp_path):
    base = with_model(llama, attributes=("words", "rare"))
    config = TrainConfig(num_epochs=8, pairs_per_step=16, learning_rate=1e-2)
    steps = []
    manifest = loop.fit(rated, base, config, DEFAULT, tmp_path / "run", steps.append)
    scores = stage.score(manifest, rated, DEFAULT, tmp_path / "scores")
    said = {
        (row["prompt_id"], row["response"]): dict(row["attributes"])
        for row in pq.read_table(scores.path / "scores.parquet").to_pylist()
    }
    pairs = [
        (said[prompt.prompt_id, index]["words"], attributes["words"])
        for prompt in read_tokens(rated, "heldout")
        for index, attributes in zip(prompt.response_indices, prompt.response_attributes, strict=True)
        if "words" in attributes
    ]
    estimates, values = np.array(pairs).T
    assert len(values) > 20
    assert np.corrcoef(estimates, values)[0, 1] > 0.8
    assert abs(estimates.mean() - values.mean()) < 0.5 * values.std()  # in the annotations' units
    assert np.mean([step.accuracy for step in steps[-5:]]) > 0.9  # beside it, the reward is learnt as before


def test_an_attribute_that_no_annotation_has_is_an_error(tokenized, llama, tmp_path):
    base = with_model(llama, attributes=("helpfulness",))
    with pytest.raises(TrainingError, match=r"model.attributes: 'helpfulness' has 0 different values in the training"):
        loop.fit(tokenized, base, CONFIG, SMALL, tmp_path / "run")


@pytest.mark.slow
def test_compiled_layers_change_nothing(tokenized, llama, plain, tmp_path):
    compute = SMALL.model_copy(update={"compile": True})
    assert_same_weights(loop.fit(tokenized, llama, CONFIG, compute, tmp_path / "run"), plain[0])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bfloat16_learns_as_float32_does(tokenized, llama, tmp_path, seed):
    config = TrainConfig(num_epochs=3, pairs_per_step=16, learning_rate=1e-2, seed=seed)
    accuracy = {}
    for precision in ("float32", "bfloat16"):
        run = config.model_copy(update={"precision": precision})
        manifest = loop.fit(tokenized, llama, run, DEFAULT, tmp_path / precision)
        scorer = Scorer(manifest.path)
        right = []
        for prompt in read_tokens(tokenized, "heldout"):
            rewards = scorer.score_groups([TokenGroup(prompt.prompt_ids, prompt.response_ids)]).rewards
            right += [
                (rewards[pair.first] > rewards[pair.second]) == (pair.preference > 0.5)
                for pair in prompt.comparisons
                if pair.preference != 0.5
            ]
        accuracy[precision] = np.mean(right)
    assert accuracy["float32"] > 0.9
    assert accuracy["bfloat16"] == pytest.approx(accuracy["float32"], abs=3 * math.sqrt(0.1 * 0.9 / len(right)))


def test_the_balance_of_experts_is_trained(tokenized, scratch_base, tmp_path):
    imbalance = {}
    for coefficient in (0.0, 1.0):
        options = {"router_aux": coefficient, "learning_rate": 1e-2, "num_epochs": 3}
        config = CONFIG.model_copy(update=options)
        trained = loop.fit(tokenized, scratch_base("mixtral"), config, SMALL, tmp_path / f"run-{coefficient}")
        model, _ = export.load(trained.path, CPU)
        groups = [TokenGroup(each.prompt_ids, each.response_ids) for each in read_tokens(tokenized, "heldout")]
        sequences = batch_layout.choose(model, 512).lay_out(groups)
        with torch.no_grad(), model.routing.recorded() as logits:
            model.outputs(sequences)
        imbalance[coefficient] = float(model.routing.imbalance(logits, sequences))
    assert 1.99 < imbalance[1.0] < imbalance[0.0] - 0.01  # two experts per token, even: 2


def test_the_balance_of_experts_that_are_not_there_is_refused(tokenized, llama, tmp_path):
    config = CONFIG.model_copy(update={"router_aux": 0.01})
    with pytest.raises(TrainingError, match=r"^train.router_aux: LlamaModel has no experts"):
        loop.fit(tokenized, llama, config, SMALL, tmp_path / "run")


@pytest.mark.parametrize("by", ["router_aux", "sharded"])
def test_what_needs_texts_read_together_is_refused_where_they_are_read_apart(tokenized, tmp_path, by):
    rope = {
        "short_mscale": 1.0,
        "long_mscale": 1.0,
        "short_factor": [1.0] * 4,
        "long_factor": [4.0] * 4,
        "original_max_position_embeddings": 100,
    }
    config = AutoConfig.for_model(
        "phimoe",
        vocab_size=320,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=2,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, **rope},
    )
    AutoModel.from_config(config).save_pretrained(tmp_path / "base")
    read_tokenizer(tokenized).save_pretrained(tmp_path / "base")
    base = base_files.resolve(ModelConfig(path=tmp_path / "base"))
    options = CONFIG.model_copy(update={"router_aux": 0.01}) if by == "router_aux" else CONFIG
    world = World(sharded=by == "sharded")
    with pytest.raises(
        TrainingError, match=r"more than 100 tokens are read apart.*tokenize.max_tokens to at most 100$"
    ):
        loop.prepare(base, read_tokenizer(tokenized), options, SMALL, (), world)

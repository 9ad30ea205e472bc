import copy
import math
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_post_hook

from rm.data import prompt_groups
from rm.errors import NonFiniteLoss, TrainingError
from rm.model.base_models import build
from rm.model.batch_layout import BatchLayout
from rm.model.config import ComputeConfig
from rm.remedies.config import RemediesConfig
from rm.tokens.tokenization import read_tokenizer, read_tokens
from rm.train import batching, distributed, loop, objective, resume
from rm.train.config import TrainConfig
from rm.train.step import Stepper, learning_rate

SHORT = TrainConfig(num_epochs=2, max_pairs=32, pairs_per_step=8, learning_rate=1e-3, checkpoint_every=3)
"""Eight steps or some more, with checkpoints after the third and the sixth."""
COMPUTE = ComputeConfig()


class Interrupted(Exception):
    pass


def interrupt_at(*steps):
    """Raise after each of the steps, once."""
    left = set(steps)

    def on_step(metrics):
        if metrics.step in left:
            left.remove(metrics.step)
            raise Interrupted

    return on_step


@pytest.fixture(scope="module")
def gpt2(scratch_base):
    """GPT-2 has dropout by default: it must be off, or a resumed run would draw something else."""
    return scratch_base("gpt2")


@pytest.fixture(scope="module")
def uninterrupted(tokenized, gpt2, tmp_path_factory):
    steps = []
    return loop.fit(tokenized, gpt2, SHORT, COMPUTE, tmp_path_factory.mktemp("whole"), steps.append), steps


@pytest.fixture
def optimizer_steps():
    """The number of optimizer steps taken so far, in a list of one."""
    count = [0]

    def add(*_):
        count[0] += 1

    hook = register_optimizer_step_post_hook(add)
    yield count
    hook.remove()


@pytest.mark.parametrize("steps", [(1,), (2,), (3,), (4,), (5,), (6,), (1, 4), (3, 6, 7), (3, 4, 5), (8,)], ids=str)
def test_an_interrupted_run_ends_with_the_same_bytes(tokenized, gpt2, uninterrupted, tmp_path, steps):
    whole, metrics = uninterrupted
    assert whole.step >= 8
    on_step = interrupt_at(*steps)
    for _ in steps:
        with pytest.raises(Interrupted):
            loop.fit(tokenized, gpt2, SHORT, COMPUTE, tmp_path, on_step)
    seen = []
    resumed = loop.fit(tokenized, gpt2, SHORT, COMPUTE, tmp_path, seen.append)
    assert (tmp_path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()
    assert resumed.digest == whole.digest
    if max(steps) == whole.step:  # the last step is always kept: what is left is to save
        assert not seen
        return
    # It went on after the last checkpoint, and each step was the one that it would have been.
    assert seen[0].step == max(steps) // SHORT.checkpoint_every * SHORT.checkpoint_every + 1
    assert [(step.step, step.loss, step.learning_rate) for step in seen] == [
        (step.step, step.loss, step.learning_rate) for step in metrics[seen[0].step - 1 :]
    ]


def test_a_run_interrupted_after_its_last_step_only_saves(tokenized, gpt2, tmp_path, optimizer_steps):
    config = SHORT.model_copy(update={"checkpoint_every": 1})
    last = loop.fit(tokenized, gpt2, config, COMPUTE, tmp_path / "whole")
    with pytest.raises(Interrupted):
        loop.fit(tokenized, gpt2, config, COMPUTE, tmp_path / "resumed", interrupt_at(last.step))
    before = optimizer_steps[0]
    assert loop.fit(tokenized, gpt2, config, COMPUTE, tmp_path / "resumed").digest == last.digest
    assert optimizer_steps[0] == before


def test_what_the_caller_draws_between_steps_does_not_leak_into_another_run(tokenized, gpt2, uninterrupted, tmp_path):
    torch.manual_seed(12345)
    assert loop.fit(tokenized, gpt2, SHORT, COMPUTE, tmp_path).digest == uninterrupted[0].digest


def test_nothing_to_resume_is_left_when_the_run_is_finished(uninterrupted):
    folder = uninterrupted[0].path
    assert not resume.beside(folder).exists()
    assert set(uninterrupted[0].files) == {path.name for path in folder.iterdir()} - {"manifest.json"}


def test_the_state_of_another_run_is_refused(tokenized, gpt2, scratch_base, edit_tokens, tmp_path):
    with pytest.raises(Interrupted):
        loop.fit(tokenized, gpt2, SHORT, COMPUTE, tmp_path, interrupt_at(4))
    others = [
        (tokenized, gpt2, SHORT.model_copy(update={"learning_rate": 2e-3})),
        (tokenized, gpt2, SHORT.model_copy(update={"seed": 1})),
        (tokenized, scratch_base("gpt2", seed=1), SHORT),
        (tokenized, scratch_base("gpt2", pooling="mean"), SHORT),
        (edit_tokens(lambda prompts: prompts[1:]), gpt2, SHORT),
    ]
    for other in others:
        with pytest.raises(TrainingError, match="belongs to a run on other data or with another configuration"):
            loop.fit(*other, COMPUTE, tmp_path)


def test_a_damaged_state_is_an_error_and_not_a_fresh_start(tokenized, gpt2, tmp_path):
    with pytest.raises(Interrupted):
        loop.fit(tokenized, gpt2, SHORT, COMPUTE, tmp_path, interrupt_at(4))
    (path,) = resume.beside(tmp_path).rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TrainingError, match="the checkpoint cannot be read"):
        loop.fit(tokenized, gpt2, SHORT, COMPUTE, tmp_path)


def test_a_loss_that_is_no_number_stops_the_run_before_the_optimizer_step(tokenized, llama, tmp_path, optimizer_steps):
    config = SHORT.model_copy(update={"learning_rate": 1e30, "warmup_share": 0.0, "checkpoint_every": 1})
    with pytest.raises(
        NonFiniteLoss, match=r"^loss (nan|inf) at step 2; first prompts of the batch: \['\w{32}', "
    ) as got:
        loop.fit(tokenized, llama, config, COMPUTE, tmp_path)
    assert got.value.step == 2
    assert not math.isfinite(got.value.loss)
    assert optimizer_steps == [1]
    prompts, steps = chosen_steps(tokenized, 32, 8)
    second = steps[1]
    assert got.value.prompt_ids == tuple(prompts[pair.prompt].prompt_id for pair in second)
    (state,) = resume.beside(tmp_path).rglob("state.json")
    assert '"step": 1,' in state.read_text()


def chosen_steps(tokenized, max_pairs, pairs_per_step):
    """The prompts that a run with seed 0 chooses, and the steps of its first epoch."""
    prompts = read_tokens(tokenized, "train")
    prompts = prompts.subset(batching.choose(batching.count_pairs(prompts), max_pairs, 0))
    return prompts, batching.Steps(batching.count_pairs(prompts), pairs_per_step, 0, 1)


def make_stepper(model, prompts, config):
    return Stepper(
        model,
        torch.optim.AdamW(model.parameters()),
        config,
        BatchLayout(packed=False, reading=model.config.reading()),
        objective.Objective(config, prompts, 1, []),
        prompts,
        10,
        COMPUTE.tokens_per_batch,
        distributed.World(),
    )


def test_a_weight_that_is_no_number_is_found_before_it_spreads(tokenized, llama, tokenizer, optimizer_steps):
    model = build(llama, tokenizer, 0, torch.device("cpu"))
    model.score.weight.data[0, 0] = float("nan")
    before = copy.deepcopy(model.state_dict())
    prompts = read_tokens(tokenized, "train")
    stepper = make_stepper(model, prompts, SHORT)
    with pytest.raises(NonFiniteLoss, match="loss nan at step 7"):
        stepper.take(7, batching.Steps(batching.count_pairs(prompts), 8, 0, 1)[0])
    assert optimizer_steps == [0]
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)


def test_a_gradient_that_overflows_stops_the_run_before_the_optimizer_step(tokenized, llama, tmp_path, optimizer_steps):
    config = SHORT.model_copy(update={"centering": 1e30})
    with pytest.raises(TrainingError, match=r"gradient norm inf at step 1, loss .*; the step was not taken"):
        loop.fit(tokenized, llama, config, COMPUTE, tmp_path)
    assert optimizer_steps == [0]


def weights(manifest):
    return load_file(manifest.path / "model.safetensors")


def test_the_gradient_does_not_depend_on_the_batches(tokenized, llama, tmp_path):
    config = TrainConfig(max_pairs=48, pairs_per_step=24, learning_rate=1e-3)
    steps = {}
    for tokens_per_batch in (100, 300, 10_000):
        compute = ComputeConfig(tokens_per_batch=tokens_per_batch)
        seen = []
        steps[tokens_per_batch] = (
            loop.fit(tokenized, llama, config, compute, tmp_path / str(tokens_per_batch), seen.append),
            seen,
        )
    one_by_one, metrics = steps[100]
    for other, its_metrics in (steps[300], steps[10_000]):
        for name, value in weights(one_by_one).items():
            torch.testing.assert_close(weights(other)[name], value, rtol=1e-4, atol=1e-6)
        for here, there in zip(metrics, its_metrics, strict=True):
            assert there.loss == pytest.approx(here.loss, rel=1e-5)
            assert there.grad_norm == pytest.approx(here.grad_norm, rel=1e-4)
            assert there.accuracy == here.accuracy


def test_a_weighted_pair_counts_as_that_many_copies(edit_tokens, llama, tmp_path):
    def first_pairs(prompts, weight, copies):
        few = [replace(prompt, comparisons=prompt.comparisons[:1]) for prompt in prompts[:6]]
        few[0] = replace(few[0], comparisons=[replace(few[0].comparisons[0], weight=weight)] * copies)
        return few

    config = TrainConfig(num_epochs=3, pairs_per_step=50, learning_rate=1e-3)

    def fit(name, weight, copies):
        edited = edit_tokens(lambda prompts: first_pairs(prompts, weight, copies))
        return loop.fit(edited, llama, config, COMPUTE, tmp_path / name)

    weighted = fit("weighted", 3.0, 1)
    copied = fit("copied", 1.0, 3)
    plain = fit("plain", 1.0, 1)
    for name, value in weights(weighted).items():
        torch.testing.assert_close(weights(copied)[name], value, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(weights(plain)["score.weight"], weights(weighted)["score.weight"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("controlled", [(), ("length",)])
def test_a_model_of_flipped_labels_gives_the_negated_rewards(
    edit_tokens, tokenized, llama, tmp_path, monkeypatch, controlled
):
    # The swap control. Whatever else of a pair told the training which response is preferred would make a difference.
    def flipped(prompts):
        for prompt in prompts:
            pairs = [replace(pair, preference=1 - pair.preference) for pair in prompt.comparisons]
            yield replace(prompt, comparisons=pairs)

    def negated(*args):
        model = build(*args)
        model.score.weight.data.neg_()
        return model

    remedies = RemediesConfig(controlled=controlled)
    config = SHORT.model_copy(update={"remedies": remedies})
    right = loop.fit(tokenized, llama, config, COMPUTE, tmp_path / "right")
    monkeypatch.setattr(loop, "build", negated)
    swapped = edit_tokens(lambda prompts: list(flipped(prompts))).model_copy(update={"inputs": tokenized.inputs})
    wrong = loop.fit(swapped, llama, config, COMPUTE, tmp_path / "wrong")
    found, expected = weights(wrong), weights(right)
    expected["score.weight"] = -expected["score.weight"]
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5)
    assert expected["score.weight"].abs().max() > 0.01


def test_the_first_step_matches_a_slow_loop_over_its_pairs(tokenized, llama, tmp_path):
    config = TrainConfig(max_pairs=40, pairs_per_step=40, learning_rate=1e-3, centering=0.1)
    seen = []
    loop.fit(tokenized, llama, config, COMPUTE, tmp_path, seen.append)
    model = build(llama, read_tokenizer(tokenized), config.seed, torch.device("cpu")).eval()
    prompts, steps = chosen_steps(tokenized, 40, 40)
    losses, margins, total_weight = [], [], 0.0
    for pair in steps[0]:
        prompt = prompts[pair.prompt]
        label = prompt.comparisons[pair.comparison]
        first, second = (
            model(torch.tensor([[*prompt.prompt_ids, *prompt.response_ids[response]]])).logits.item()
            for response in (label.first, label.second)
        )
        share, margin = label.preference, first - second
        nats = -share * math.log(1 / (1 + math.exp(-margin))) - (1 - share) * math.log(1 / (1 + math.exp(margin)))
        losses.append(label.weight * (nats + 0.1 * (first + second) ** 2))
        total_weight += label.weight
        if share != 0.5:
            margins.append(margin if share > 0.5 else -margin)
    assert seen[0].loss == pytest.approx(sum(losses) / total_weight, rel=1e-5)
    assert seen[0].margin == pytest.approx(sum(margins) / len(margins), rel=1e-3, abs=1e-6)
    assert seen[0].accuracy == pytest.approx(sum(margin > 0 for margin in margins) / len(margins))
    assert len(margins) < len(losses)  # a tie has no right answer


def test_metrics_say_what_happened(trained, train_config):
    manifest, steps = trained
    assert [step.step for step in steps] == list(range(1, manifest.step + 1))
    assert {step.num_steps for step in steps} == {manifest.step}
    assert abs(steps[0].loss - math.log(2)) < 0.05  # the head starts small: near equal rewards
    assert all(0 <= step.accuracy <= 1 for step in steps)
    assert all(step.grad_norm > 0 and step.pairs_per_s > 0 and step.tokens_per_s > step.pairs_per_s for step in steps)
    for step in steps:
        assert step.learning_rate == learning_rate(train_config, step.step, manifest.step)


def test_the_manifest_says_what_was_trained_on_what(trained, tokenized, llama, train_config):
    manifest, _ = trained
    assert manifest.num_train_pairs == tokenized.num_pairs["train"]
    assert manifest.step == train_config.num_epochs * math.ceil(manifest.num_train_pairs / train_config.pairs_per_step)
    assert (manifest.base, manifest.base_digest) == (llama.name, llama.digest)
    assert [each.digest for each in manifest.inputs] == [tokenized.digest]
    manifest.check()


def test_max_pairs_limits_what_is_trained_on(uninterrupted):
    manifest, steps = uninterrupted
    assert 32 <= manifest.num_train_pairs < 32 + 5
    assert len(steps) == manifest.step == 2 * math.ceil(manifest.num_train_pairs / 8)


def test_a_planted_preference_is_learnt_and_holds_on_held_out_prompts(scores, dataset):
    table = pq.read_table(scores.path / "scores.parquet").to_pylist()
    rewards = {(row["prompt_id"], row["response"]): row["reward"] for row in table}
    right = []
    for group in prompt_groups.read_groups(dataset, "heldout"):
        for pair in group.comparisons:
            if pair.preference != 0.5:
                first, second = (rewards[group.prompt_id, response] for response in (pair.first, pair.second))
                right.append((first > second) == (pair.preference > 0.5))
    assert len(right) > 30
    assert sum(right) / len(right) > 0.9


def test_a_bfloat16_body_trains_float32_weights(tokenized, llama, tmp_path):
    steps = []
    config = SHORT.model_copy(update={"precision": "bfloat16", "num_epochs": 1})
    manifest = loop.fit(tokenized, llama, config, COMPUTE, tmp_path, steps.append)
    assert {value.dtype for value in weights(manifest).values()} == {torch.float32}
    assert abs(steps[0].loss - math.log(2)) < 0.05
    assert all(0 < step.grad_norm < 100 for step in steps)


@pytest.mark.parametrize(
    ("warmup_share", "num_steps", "shares"),
    [
        (0.0, 4, [1, 3 / 4, 2 / 4, 1 / 4]),
        (0.4, 10, [1 / 4, 2 / 4, 3 / 4, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        (0.01, 3, [1, 1, 1 / 2]),
        (1.0, 3, [1 / 3, 2 / 3, 1]),
        (0.5, 1, [1]),
    ],
)
def test_the_rate_rises_to_its_peak_and_falls_towards_zero(warmup_share, num_steps, shares):
    config = TrainConfig(learning_rate=0.5, warmup_share=warmup_share)
    rates = [learning_rate(config, step, num_steps) for step in range(1, num_steps + 1)]
    assert rates == pytest.approx([0.5 * share for share in shares])


@given(st.floats(0, 1), st.integers(1, 300))
def test_every_step_moves_and_none_above_the_peak(warmup_share, num_steps):
    config = TrainConfig(learning_rate=1e-3, warmup_share=warmup_share)
    rates = [learning_rate(config, step, num_steps) for step in range(1, num_steps + 1)]
    assert all(0 < rate <= 1e-3 for rate in rates)
    assert max(rates) == 1e-3
    peak = rates.index(1e-3)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)

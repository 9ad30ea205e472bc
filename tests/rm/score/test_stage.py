import shutil
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from rm.data import prompt_groups
from rm.data.preferences import SPLITS, Message
from rm.errors import DataError, ModelError, RegistrationError
from rm.model.config import ComputeConfig
from rm.model.token_ids import TokenGroup, TokenIds
from rm.probes import flawed_pairs
from rm.score import reload, stage
from rm.score.scorer import Scorer
from rm.tokens import tokenization
from rm.tokens.config import TokenizeConfig
from rm.tokens.tokenization import read_tokens
from rm.train import loop
from rm.train.config import TrainConfig


@pytest.fixture(scope="module")
def heldout(tokenized):
    """Token ids of the held-out responses, in the order of the file."""
    return [
        TokenIds(prompt.prompt_ids, ids) for prompt in read_tokens(tokenized, "heldout") for ids in prompt.response_ids
    ]


@pytest.fixture(scope="module")
def alone(checkpoint, heldout):
    """What transformers' own class says of each of them alone."""
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint.path, dtype=torch.float32).eval()
    assert type(model).__module__.startswith("transformers.")
    with torch.inference_mode():
        return [model(torch.tensor([[*ids.prompt_ids, *ids.response_ids]])).logits.item() for ids in heldout]


def singles(sequences):
    return [TokenGroup(prompt_ids, [ids]) for prompt_ids, ids in sequences]


@pytest.mark.parametrize("tokens_per_batch", [1, 100, 333, 100_000])
def test_rewards_are_those_of_transformers_whatever_the_batches(checkpoint, heldout, alone, tokens_per_batch):
    rewards = Scorer(checkpoint.path, tokens_per_batch).score_groups(singles(heldout)).rewards
    assert rewards.shape == (len(heldout),)
    np.testing.assert_allclose(rewards, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tokens_per_batch", [1, 150, 100_000])
def test_responses_to_one_prompt_may_be_scored_together(checkpoint, heldout, alone, tokens_per_batch):
    by_prompt = {}
    for number, (prompt_ids, ids) in enumerate(heldout):
        by_prompt.setdefault(tuple(prompt_ids), []).append((number, ids))
    groups = [TokenGroup(prompt_ids, [ids for _, ids in items]) for prompt_ids, items in by_prompt.items()]
    assert max(len(group.response_ids) for group in groups) > 2
    rewards = Scorer(checkpoint.path, tokens_per_batch).score_groups(groups).rewards
    order = [number for items in by_prompt.values() for number, _ in items]
    assert rewards == pytest.approx([alone[number] for number in order], abs=1e-5)


def test_rewards_come_in_the_order_given(checkpoint, heldout, alone):
    order = np.random.default_rng(0).permutation(len(heldout))
    rewards = Scorer(checkpoint.path, 200).score_groups(singles([heldout[place] for place in order])).rewards
    np.testing.assert_allclose(rewards, np.array(alone)[order], rtol=1e-5, atol=1e-5)
    assert np.ptp(alone) > 1  # or any order would do


def test_nothing_to_score_gives_nothing(checkpoint):
    assert Scorer(checkpoint.path).score_groups(singles([])).rewards.shape == (0,)
    assert Scorer(checkpoint.path).score_texts([]).shape == (0,)


def test_progress_counts_responses(checkpoint, heldout):
    seen = []
    Scorer(checkpoint.path, 40).score_groups(singles(heldout), lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert len(seen) > 1
    assert seen[-1] == (len(heldout), len(heldout))


def test_texts_are_read_as_they_were_in_training(checkpoint, dataset, alone):
    groups = prompt_groups.read_groups(dataset, "heldout")
    items = [(group.prompt, response) for group in groups for response in group.responses]
    np.testing.assert_allclose(Scorer(checkpoint.path).score_texts(items), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tokens_per_batch", [60, 8192])
def test_texts_with_one_prompt_read_it_once_and_keep_their_order(
    checkpoint, dataset, alone, tokens_per_batch, monkeypatch
):
    groups = prompt_groups.read_groups(dataset, "heldout")
    items = [(group.prompt, response) for group in groups for response in group.responses]
    order = np.random.default_rng(0).permutation(len(items))
    scorer, seen = Scorer(checkpoint.path, tokens_per_batch), []
    score_groups = scorer.score_groups
    monkeypatch.setattr(scorer, "score_groups", lambda given: seen.append(given) or score_groups(given))
    found = scorer.score_texts([items[place] for place in order])
    np.testing.assert_allclose(found, np.array(alone)[order], rtol=1e-5, atol=1e-5)
    assert sum(len(group.response_ids) for group in seen[0]) == len(items)
    prompts = [tuple(group.prompt_ids) for group in seen[0]]
    assert (len(set(prompts)) == len(prompts)) == (tokens_per_batch == 8192)


def test_scores_hold_every_held_out_response_with_its_own_length_and_reward(scores, tokenized, alone):
    rows = pq.read_table(scores.path / "scores.parquet").to_pylist()
    expected = [
        (prompt.prompt_id, index, len(ids))
        for prompt in read_tokens(tokenized, "heldout")
        for index, ids in zip(prompt.response_indices, prompt.response_ids, strict=True)
    ]
    assert [(row["prompt_id"], row["response"], row["num_tokens"]) for row in rows] == expected
    np.testing.assert_allclose([row["reward"] for row in rows], alone, rtol=1e-5, atol=1e-5)
    assert scores.num_rows == len(rows)


def test_the_manifest_names_the_checkpoint_and_the_data(scores, checkpoint, tokenized):
    assert scores.checkpoint_digest == checkpoint.digest
    assert [each.digest for each in scores.inputs] == [checkpoint.digest, tokenized.digest]


def test_places_are_those_of_the_snapshot_when_a_response_was_dropped(make_dataset, llama, tmp_path):
    rows = [
        {"prompt": f"prompt {number}", "first": first, "second": second, "preference": 1.0}
        for number in range(30)
        for long in [f"no {number} " * 40]
        for first, second in [(f"yes {number}", "no"), (f"yes {number}", long), ("no", long)]
    ]
    dataset = make_dataset(rows)
    config, compute = TrainConfig(pairs_per_step=64), ComputeConfig()
    tokenized = tokenization.tokenize(
        dataset, llama, TokenizeConfig(max_tokens=64, max_lost_share=0.5), tmp_path / "tokens"
    )
    checkpoint = loop.fit(tokenized, llama, config, compute, tmp_path / "checkpoint")
    scores = stage.score(checkpoint, tokenized, compute, tmp_path / "scores")
    responses = {
        group.prompt_id: group.responses for split in SPLITS for group in prompt_groups.read_groups(dataset, split)
    }
    found = pq.read_table(scores.path / "scores.parquet").to_pylist()
    texts = Counter(responses[row["prompt_id"]][row["response"]].split()[0] for row in found)
    assert texts["yes"] == texts["no"] == dataset.num_pairs["heldout"] / 3
    assert all(len(responses[row["prompt_id"]][row["response"]]) < 80 for row in found)


def test_flawed_pairs_are_scored_as_texts_are(probed, checkpoint):
    rows = pq.read_table(probed.path / "flawed_pairs.parquet").to_pylist()
    pairs = flawed_pairs.flawed_pairs()
    assert [(row["id"], row["flaw"]) for row in rows] == [(pair["id"], pair["flaw"]) for pair in pairs]
    scorer = Scorer(checkpoint.path)
    for side in ("chosen", "rejected"):
        items = [([Message("user", pair["prompt"])], pair[side]) for pair in pairs]
        np.testing.assert_allclose([row[f"reward_{side}"] for row in rows], scorer.score_texts(items), atol=1e-5)
        assert [row[f"num_tokens_{side}"] for row in rows] == [len(ids.response_ids) for ids in scorer.encode(items)]


def copied(checkpoint, folder, change):
    """The checkpoint with other weights."""
    shutil.copytree(checkpoint.path, folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return checkpoint.model_copy(update={"path": folder})


def test_a_checkpoint_reloads_to_its_own_rewards(checkpoint, tokenized, scores, tmp_path):
    reload.check_reload(checkpoint, tokenized, scores, num_compared=20, tolerance=1e-5)
    same = copied(checkpoint, tmp_path / "same", lambda tensors: None)
    reload.check_reload(same, tokenized, scores, num_compared=10_000, tolerance=1e-5)


@pytest.mark.parametrize("name", ["score.weight", "model.layers.0.mlp.up_proj.weight", "model.norm.weight"])
@pytest.mark.parametrize("value", [0.3, float("nan")])
def test_one_changed_weight_is_found_on_reload(checkpoint, tokenized, scores, tmp_path, name, value):
    def change(tensors):
        tensors[name].view(-1)[0] += value

    changed = copied(checkpoint, tmp_path / "changed", change)
    with pytest.raises(
        RegistrationError,
        match=r"reloaded rewards differ from the audited ones by up to .*, expected at most .*e-05",
    ):
        reload.check_reload(changed, tokenized, scores, num_compared=20, tolerance=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "mean_response", "last"])
def test_an_encoder_reloads_to_its_own_rewards(tokenized, scratch_base, tmp_path, pooling):
    base = scratch_base("bert", pooling=pooling)
    config, compute = TrainConfig(max_pairs=16, pairs_per_step=8), ComputeConfig()
    checkpoint = loop.fit(tokenized, base, config, compute, tmp_path / "checkpoint")
    scores = stage.score(checkpoint, tokenized, compute, tmp_path / "scores")
    reload.check_reload(checkpoint, tokenized, scores, num_compared=20, tolerance=1e-5)
    swapped = copied(checkpoint, tmp_path / "swapped", lambda tensors: tensors["score.weight"].mul_(-1))
    with pytest.raises(RegistrationError, match="reloaded rewards differ"):
        reload.check_reload(swapped, tokenized, scores, num_compared=20, tolerance=1e-5)


def test_a_checkpoint_without_a_chat_template_is_refused(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint.path, tmp_path / "bare")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match=rf"{folder}: the tokenizer has no chat template"):
        Scorer(folder)


def test_flawed_pairs_are_many_distinct_and_not_told_apart_by_length():
    pairs = flawed_pairs.flawed_pairs()
    assert len(pairs) >= 40
    assert len({pair["id"] for pair in pairs}) == len({pair["prompt"] for pair in pairs}) == len(pairs)
    kinds = Counter(pair["flaw"] for pair in pairs)
    assert len(kinds) == 8
    assert min(kinds.values()) >= 5
    for pair in pairs:
        assert set(pair) == {"id", "flaw", "prompt", "chosen", "rejected"}
        assert all(text.strip() == text != "" for text in pair.values())
        assert pair["chosen"] != pair["rejected"]
    longer = sum(len(pair["chosen"]) > len(pair["rejected"]) for pair in pairs)
    assert 0.4 <= longer / len(pairs) <= 0.6


def test_a_text_is_cut_as_in_training_and_a_response_without_room_is_refused(checkpoint):
    scorer = Scorer(checkpoint.path)
    limit = scorer.tokenizer.model_max_length
    (ids,) = scorer.encode([([Message("user", "tell me " * 600)], "an answer")])
    assert ids.num_tokens == limit
    assert ids.prompt_ids[0] == scorer.tokenizer.convert_tokens_to_ids("<|user|>")
    assert np.isfinite(scorer.score_groups(singles([ids])).rewards).all()
    with pytest.raises(DataError, match=f"row 2: the response leaves no room for a prompt; the model reads {limit}"):
        scorer.score_texts([([Message("user", "hi")], "yes"), ([Message("user", "hi " * 40)], "no " * 600)])


def test_a_prompt_that_the_template_refuses_has_no_rewards_and_changes_no_others(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint.path, tmp_path / "copy")
    template = folder / "chat_template.jinja"
    refusal = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    template.write_text(refusal + template.read_text())
    scorer = Scorer(folder)
    question = [Message("user", "Why?")]
    good = (question, ["good", "bad and longer"])
    refused = ([Message("system", "Be kind."), *question], ["one", "two"])
    first, middle, last = scorer.score_items([good, refused, good])
    assert np.isnan(middle.rewards).all() and len(middle.rewards) == 2
    (alone,) = scorer.score_items([good])
    np.testing.assert_allclose([first.rewards, last.rewards], [alone.rewards] * 2, rtol=1e-6)
    with pytest.raises(DataError, match=r"^row 2: the chat template refuses a conversation: no system$"):
        scorer.score_texts([(question, "good"), (refused[0], "one")])

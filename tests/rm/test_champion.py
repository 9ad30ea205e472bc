import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from rm import champion, scoring


@pytest.fixture(scope="module")
def shuffled(checkpoint, tmp_path_factory):
    """The trained model with the weights of its head in another order."""
    folder = tmp_path_factory.mktemp("shuffled") / "checkpoint"
    shutil.copytree(checkpoint.path, folder)
    tensors = load_file(folder / "model.safetensors")
    head = tensors["score.weight"]
    order = torch.randperm(head.shape[1], generator=torch.Generator().manual_seed(0))
    tensors["score.weight"] = head[:, order].contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return checkpoint.model_copy(update={"path": folder})


def test_a_model_is_no_better_than_itself(checkpoint, dataset, scores, audit_config):
    gain = champion.accuracy_over(checkpoint.path, dataset, scores, audit_config)
    assert (gain.estimate, gain.low, gain.high) == (0, 0, 0)


def test_a_model_that_learnt_beats_one_whose_head_is_shuffled(shuffled, dataset, scores, audit_config):
    gain = champion.accuracy_over(shuffled.path, dataset, scores, audit_config)
    assert 0 < gain.low < gain.estimate < gain.high <= 1


def test_the_gain_is_the_difference_of_accuracies_and_turns_its_sign(
    checkpoint, shuffled, dataset, tokenized, scores, report, train_config, audit_config, tmp_path
):
    there = scoring.score(shuffled, tokenized, train_config, tmp_path)
    gain = champion.accuracy_over(shuffled.path, dataset, scores, audit_config)
    loss = champion.accuracy_over(checkpoint.path, dataset, there, audit_config)
    assert (loss.estimate, loss.low, loss.high) == pytest.approx((-gain.estimate, -gain.high, -gain.low))
    heldout = champion.scored.join(dataset, there)
    assert gain.estimate == pytest.approx(report.finding("accuracy").estimate - heldout.pairs.correct.mean())


def test_the_gain_does_not_depend_on_the_scale_of_rewards(shuffled, dataset, scores, edit_scores, audit_config):
    larger = edit_scores(lambda rows: [{**row, "reward": 1000 * row["reward"] + 7} for row in rows])
    gain = champion.accuracy_over(shuffled.path, dataset, scores, audit_config)
    assert champion.accuracy_over(shuffled.path, dataset, larger, audit_config) == gain

"""How fast a machine trains: which steps are taken, and which of them counts."""

from types import SimpleNamespace

import pytest

from rm.model.config import ComputeConfig
from rm.remedies.config import RemediesConfig
from rm.tokens.config import TokenizeConfig
from rm.train import rate
from rm.train.config import TrainConfig
from rm.train.step import Stepper

TRAIN = TrainConfig(num_epochs=1, pairs_per_step=8, learning_rate=1e-3)


@pytest.fixture
def measured(dataset, llama, tmp_path):
    return lambda: rate.pairs_per_s(dataset, llama, TokenizeConfig(), TRAIN, ComputeConfig(), tmp_path / "rate")


@pytest.fixture
def taken(monkeypatch):
    """Let steps be taken, and let each report another rate; collects how many pairs they had, and their losses."""
    found, take = [], Stepper.take

    def slower_and_slower(self, step, pairs):
        found.append((len(pairs), take(self, step, pairs).loss))
        return SimpleNamespace(pairs_per_s=100.0 / step)

    monkeypatch.setattr(Stepper, "take", slower_and_slower)
    return found


def test_real_steps_are_taken_and_the_fastest_with_all_pairs_counts(measured, taken):
    assert measured() == 50.0
    assert [num_pairs for num_pairs, _ in taken] == [4] + 7 * [8]
    losses = [loss for _, loss in taken]
    assert sum(losses[-2:]) < sum(losses[1:3])  # the model has learned


def test_steps_are_taken_with_remedies_that_look_at_texts(dataset, llama, tmp_path, taken):
    remedies = RemediesConfig(worsened_share=0.5, controlled=("length", "bold"))
    train = TRAIN.model_copy(update={"remedies": remedies})
    assert rate.pairs_per_s(dataset, llama, TokenizeConfig(), train, ComputeConfig(), tmp_path / "rate") == 50.0
    assert len(taken) == 8


def test_a_first_step_that_takes_long_is_the_only_one(measured, taken, monkeypatch):
    monkeypatch.setattr(rate, "_ENOUGH_S", -1.0)
    assert measured() == 100.0
    assert len(taken) == 1

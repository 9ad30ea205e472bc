"""Training that starts from a reward model begins with its rewards."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rm.data.preferences import Message
from rm.errors import ModelError, TrainingError
from rm.model import base_files
from rm.model.config import ComputeConfig, ModelConfig
from rm.remedies.config import RemediesConfig
from rm.score.scorer import Scorer
from rm.train import loop
from rm.train.config import TrainConfig

COMPUTE = ComputeConfig(tokens_per_batch=500)
STILL = TrainConfig(num_epochs=1, pairs_per_step=16, learning_rate=1e-9)
ANSWERS = ("A day's walk.", "Far.", "No")


def rewards(folder):
    prompt = [Message(role="user", content="How far is the sea?")]
    return Scorer(folder).score_texts([(prompt, answer) for answer in ANSWERS])


@pytest.fixture(scope="module")
def first(tokenized, scratch_base, tmp_path_factory):
    """A trained model, by architecture and settings of its heads."""
    made = {}

    def train(architecture="llama", **heads):
        key = (architecture, str(heads))
        if key not in made:
            base = scratch_base(architecture, **heads)
            config = TrainConfig(num_epochs=1, pairs_per_step=16, learning_rate=1e-2)
            made[key] = loop.fit(tokenized, base, config, COMPUTE, tmp_path_factory.mktemp("first") / "run").path
        return made[key]

    return train


@pytest.mark.parametrize(
    ("architecture", "heads"),
    [
        pytest.param("llama", {}, id="a class of transformers"),
        pytest.param("llama", {"num_heads": 3}, id="several heads"),
        pytest.param("bert", {}, id="an encoder of our class"),
        pytest.param("llama", {"pooling": "mean"}, id="another pooling"),
    ],
)
def test_a_reward_model_as_base_keeps_its_rewards(first, tokenized, tmp_path, architecture, heads, caplog):
    folder = first(architecture, **heads)
    kept = {name: value for name, value in heads.items() if name == "num_heads"}  # the pooling is the base's
    base = base_files.resolve(ModelConfig(path=folder, **kept))
    with caplog.at_level("INFO", "rm"):
        again = loop.fit(tokenized, base, STILL, COMPUTE, tmp_path / "run")
    assert again.keeps_head
    np.testing.assert_allclose(rewards(again.path), rewards(folder), rtol=1e-4)
    assert "training starts from its head" in caplog.text
    assert np.ptp(rewards(folder)) > 1e-3  # else they would be equal whatever was loaded


def test_a_new_head_gives_other_rewards_and_another_digest(first, tokenized, tmp_path):
    kept, new = (base_files.resolve(ModelConfig(path=first(), head=head)) for head in ("keep", "new"))
    assert kept.digest != new.digest
    again = loop.fit(tokenized, new, STILL, COMPUTE, tmp_path / "run")
    assert not again.keeps_head
    assert not np.allclose(rewards(again.path), rewards(first()), rtol=0.1)


def test_what_a_kept_head_may_pay_for_already_is_not_controlled(first, tokenized, tmp_path):
    config = STILL.model_copy(update={"remedies": RemediesConfig(controlled=("length",))})
    with pytest.raises(TrainingError, match=r"^train\.remedies\.controlled: expected model\.head: new"):
        loop.fit(tokenized, base_files.resolve(ModelConfig(path=first())), config, COMPUTE, tmp_path / "kept")
    new = base_files.resolve(ModelConfig(path=first(), head="new"))
    assert loop.fit(tokenized, new, config, COMPUTE, tmp_path / "new").step > 0


def test_the_constant_of_a_head_is_left_out(first, tokenized, tmp_path, caplog):
    folder = tmp_path / "base"
    folder.mkdir()
    for file in first().iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    weights["value_head.weight"], weights["value_head.bias"] = weights.pop("score.weight"), torch.full((1,), 4.0)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with caplog.at_level("INFO", "rm"):
        again = loop.fit(tokenized, base_files.resolve(ModelConfig(path=folder)), STILL, COMPUTE, tmp_path / "run")
    np.testing.assert_allclose(rewards(folder), rewards(first()) + 4, rtol=1e-5)
    np.testing.assert_allclose(rewards(again.path), rewards(first()), rtol=1e-4)
    assert "constant" in caplog.text


@pytest.mark.parametrize(
    ("settings", "key"), [({"num_heads": 2}, "num_heads"), ({"pooling": "mean"}, "pooling")], ids=["heads", "pooling"]
)
def test_settings_that_the_kept_head_contradicts_are_refused(first, tokenized, tmp_path, settings, key):
    base = base_files.resolve(ModelConfig(path=first(), **settings))
    with pytest.raises(ModelError, match=rf"^model.{key}: .*whose head is kept.*; or set model.head: new$"):
        loop.fit(tokenized, base, STILL, COMPUTE, tmp_path / "run")

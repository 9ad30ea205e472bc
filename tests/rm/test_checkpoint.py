import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from rm import checkpoint
from rm.errors import TrainingError


def new_run(seed):
    """A model with a layer that is never used, as BERT's pooler, and its optimizer after some steps."""
    torch.manual_seed(seed)
    model = nn.ModuleDict({"used": nn.Linear(3, 2), "unused": nn.Linear(3, 2), "dropout": nn.Dropout(0.5)})
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


def take_steps(model, optimizer, count):
    for _ in range(count):
        optimizer.zero_grad()
        model["dropout"](model["used"](torch.randn(4, 3))).square().sum().backward()
        optimizer.step()


def weights(model):
    return torch.cat([value.flatten() for value in model.state_dict().values()])


@pytest.fixture
def path(tmp_path):
    """A state after three steps."""
    model, optimizer = new_run(seed=0)
    take_steps(model, optimizer, 3)
    checkpoint.save(tmp_path / "resume.safetensors", 3, "key", model, optimizer)
    return tmp_path / "resume.safetensors"


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(path):
    model, optimizer = new_run(seed=0)
    take_steps(model, optimizer, 8)
    resumed, its_optimizer = new_run(seed=1)
    assert checkpoint.load(path, "key", resumed, its_optimizer) == 3
    take_steps(resumed, its_optimizer, 5)
    assert torch.equal(weights(resumed), weights(model))


@pytest.mark.parametrize("part", ["model.", "optimizer.", "random."])
def test_every_part_of_the_state_is_needed_to_go_on_the_same(path, part):
    model, optimizer = new_run(seed=0)
    take_steps(model, optimizer, 8)
    tensors = load_file(path)
    for name, value in tensors.items():
        if name.startswith(part):
            tensors[name] = torch.random.get_rng_state() if part == "random." else torch.zeros_like(value)
    save_file(tensors, path, metadata={"state": '{"step": 3, "key": "key"}'})
    resumed, its_optimizer = new_run(seed=1)
    checkpoint.load(path, "key", resumed, its_optimizer)
    take_steps(resumed, its_optimizer, 5)
    assert not torch.equal(weights(resumed), weights(model))


def test_without_a_file_nothing_is_done(tmp_path):
    model, optimizer = new_run(seed=0)
    before = weights(model)
    assert checkpoint.load(tmp_path / "resume.safetensors", "key", model, optimizer) == 0
    assert torch.equal(weights(model), before)


def test_a_newer_state_takes_the_place_of_the_older(path):
    model, optimizer = new_run(seed=0)
    take_steps(model, optimizer, 4)
    checkpoint.save(path, 4, "key", model, optimizer)
    assert checkpoint.load(path, "key", *new_run(seed=1)) == 4
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_state_of_another_run_is_refused(path):
    with pytest.raises(TrainingError, match=f"{re.escape(str(path))}: belongs to a run on other data or with another"):
        checkpoint.load(path, "other key", *new_run(seed=1))


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-10])


def empty(path):
    path.write_bytes(b"")


def not_safetensors(path):
    path.write_bytes(b"\x80\x04 something else entirely")


def without_metadata(path):
    save_file(load_file(path), path)


def with_other_metadata(path):
    save_file(load_file(path), path, metadata={"state": "not json"})


def without_a_step(path):
    save_file(load_file(path), path, metadata={"state": "{}"})


def without_randomness(path):
    tensors = {name: value for name, value in load_file(path).items() if not name.startswith("random.")}
    save_file(tensors, path, metadata={"state": '{"step": 3, "key": "key"}'})


DAMAGES = [
    cut_short,
    empty,
    not_safetensors,
    without_metadata,
    with_other_metadata,
    without_a_step,
    without_randomness,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_with_what_to_do(path, damage):
    damage(path)
    with pytest.raises(TrainingError, match=f"{re.escape(str(path))}: cannot be resumed from: .*; remove it to train"):
        checkpoint.load(path, "key", *new_run(seed=1))


def test_nothing_of_the_file_is_pickled(path):
    assert b"\x80\x02" not in path.read_bytes()[:8]
    assert set(load_file(path)) >= {"model.used.weight", "optimizer.0.exp_avg", "optimizer.0.step", "random.cpu"}
    assert "optimizer.2.exp_avg" not in load_file(path)  # the unused layer has none

import re
import resource
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from rm.errors import TrainingError
from rm.train.distributed import World
from rm.train.resume import Checkpoints, Progress


def new_run(seed):
    """A model with a layer that is never used, as BERT's pooler, a frozen one, and its optimizer."""
    torch.manual_seed(seed)
    model = nn.ModuleDict({"used": nn.Linear(3, 2), "unused": nn.Linear(3, 2), "frozen": nn.Linear(3, 2)})
    model["frozen"].requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return model, torch.optim.AdamW(trained, lr=0.1, weight_decay=0.1, fused=True)


def take_steps(model, optimizer, first, last):
    for step in range(first, last + 1):
        optimizer.zero_grad()
        inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        model["used"](inputs).square().sum().backward()
        optimizer.step()


def weights(model):
    return torch.cat([value.flatten() for name, value in model.state_dict().items() if "frozen" not in name])


def checkpoints(tmp_path, key="key"):
    return Checkpoints(tmp_path / "resume", key, World())


@pytest.fixture
def folder(tmp_path):
    """The state after three steps."""
    model, optimizer = new_run(seed=0)
    take_steps(model, optimizer, 1, 3)
    checkpoints(tmp_path).save(Progress(step=3), model, optimizer)
    return tmp_path / "resume" / "step-00000003"


def shard(folder):
    (path,) = folder.glob("*.safetensors")
    return path


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(folder, tmp_path):
    model, optimizer = new_run(seed=0)
    take_steps(model, optimizer, 1, 8)
    resumed, its_optimizer = new_run(seed=1)
    assert checkpoints(tmp_path).load(resumed, its_optimizer) == Progress(step=3)
    take_steps(resumed, its_optimizer, 4, 8)
    assert torch.equal(weights(resumed), weights(model))


@pytest.mark.parametrize("part", ["model.", "optimizer."])
def test_every_part_of_the_state_is_needed_to_go_on_the_same(folder, tmp_path, part):
    model, optimizer = new_run(seed=0)
    take_steps(model, optimizer, 1, 8)
    zeros = {
        name: torch.zeros_like(value) if name.startswith(part) else value
        for name, value in load_file(shard(folder)).items()
    }
    with_metadata(folder, zeros)
    resumed, its_optimizer = new_run(seed=1)
    checkpoints(tmp_path).load(resumed, its_optimizer)
    take_steps(resumed, its_optimizer, 4, 8)
    assert not torch.equal(weights(resumed), weights(model))


def with_metadata(folder, tensors):
    """Write tensors in place of the shard's, with its metadata."""
    from safetensors import safe_open

    with safe_open(shard(folder), framework="pt") as file:
        metadata = file.metadata()
    save_file(tensors, shard(folder), metadata=metadata)


def test_without_a_state_nothing_is_done(tmp_path):
    model, optimizer = new_run(seed=0)
    before = weights(model)
    assert checkpoints(tmp_path).load(model, optimizer) == Progress(step=0)
    assert torch.equal(weights(model), before)


def test_a_newer_state_takes_the_place_of_the_older(folder, tmp_path):
    model, optimizer = new_run(seed=0)
    take_steps(model, optimizer, 1, 4)
    checkpoints(tmp_path).save(Progress(step=4), model, optimizer)
    assert checkpoints(tmp_path).load(*new_run(seed=1)).step == 4
    assert [path.name for path in folder.parent.iterdir()] == ["step-00000004"]


def test_an_unfinished_state_is_passed_over(folder, tmp_path):
    newer = folder.with_name("step-00000009")
    newer.mkdir()
    (newer / shard(folder).name).write_bytes(b"half writ")
    assert checkpoints(tmp_path).load(*new_run(seed=1)).step == 3
    model, optimizer = new_run(seed=0)
    checkpoints(tmp_path).save(Progress(step=9), model, optimizer)
    assert checkpoints(tmp_path).load(*new_run(seed=1)).step == 9


@contextmanager
def files_of_at_most(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_state_that_cannot_be_written_is_told_in_one_sentence_and_the_older_stays(folder, tmp_path):
    model, optimizer = new_run(seed=0)
    take_steps(model, optimizer, 1, 4)
    where = re.escape(str(folder.with_name("step-00000004")))
    with (
        files_of_at_most(100),
        pytest.raises(TrainingError, match=rf"^{where}: the checkpoint cannot be written: .*File too large[^\n]*$"),
    ):
        checkpoints(tmp_path).save(Progress(step=4), model, optimizer)
    assert checkpoints(tmp_path).load(model, optimizer).step == 3


def test_the_best_weights_outlive_later_states(tmp_path):
    model, optimizer = new_run(seed=0)
    progress = Progress(step=2).measured(0.5)
    checkpoints(tmp_path).save_best(progress, model)
    best = weights(model)
    take_steps(model, optimizer, 1, 3)
    progress = progress.model_copy(update={"step": 4}).measured(0.6)
    checkpoints(tmp_path).save(progress, model, optimizer)
    resumed, its_optimizer = new_run(seed=1)
    found = checkpoints(tmp_path).load(resumed, its_optimizer)
    assert (found.step, found.best_step, found.best_loss, found.num_worse) == (4, 2, 0.5, 1)
    checkpoints(tmp_path).load_best(found, resumed)
    assert torch.equal(weights(resumed), best)
    better = found.model_copy(update={"step": 5}).measured(0.4)
    checkpoints(tmp_path).save_best(better, model)
    checkpoints(tmp_path).save(better, model, optimizer)
    assert sorted(path.name for path in (tmp_path / "resume").iterdir()) == ["best-00000005", "step-00000005"]


def test_only_a_lower_loss_is_better():
    progress = Progress(step=1).measured(0.5)
    same = progress.model_copy(update={"step": 2}).measured(0.5)
    assert (same.best_step, same.num_worse) == (1, 1)
    better = same.model_copy(update={"step": 3}).measured(0.4)
    assert (better.best_step, better.num_worse) == (3, 0)


def test_the_state_of_another_run_is_refused(folder, tmp_path):
    with pytest.raises(
        TrainingError, match=f"{re.escape(str(folder))}: belongs to a run on other data or with another"
    ):
        checkpoints(tmp_path, "other key").load(*new_run(seed=1))


def cut_short(folder):
    shard(folder).write_bytes(shard(folder).read_bytes()[:-10])


def empty(folder):
    shard(folder).write_bytes(b"")


def not_safetensors(folder):
    shard(folder).write_bytes(b"\x80\x04 something else entirely")


def without_tensors(folder):
    shard(folder).unlink()


def without_a_moment(folder):
    tensors = load_file(shard(folder))
    del tensors["optimizer.used.weight.exp_avg"]
    with_metadata(folder, tensors)


def state_is_not_json(folder):
    (folder / "state.json").write_text("{not json")


def state_without_a_step(folder):
    (folder / "state.json").write_text('{"key": "key"}')


DAMAGES = [
    cut_short,
    empty,
    not_safetensors,
    without_tensors,
    without_a_moment,
    state_is_not_json,
    state_without_a_step,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_named_with_what_to_do(folder, tmp_path, damage):
    damage(folder)
    with pytest.raises(
        TrainingError,
        match=f"(?s){re.escape(str(folder))}: the checkpoint cannot be read: .*; remove it to start again",
    ):
        checkpoints(tmp_path).load(*new_run(seed=1))


def test_nothing_is_pickled_and_nothing_frozen_is_kept(folder):
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    names = set(load_file(shard(folder)))
    assert names >= {"model.used.weight", "optimizer.used.weight.exp_avg", "optimizer.unused.bias.exp_avg_sq"}
    assert not any("frozen" in name for name in names)

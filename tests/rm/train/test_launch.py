"""Training in several processes. Each launch takes seconds to start, so a few of them show much."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from rm.errors import TrainingError
from rm.model.config import ComputeConfig
from rm.remedies.config import RemediesConfig
from rm.tokens.tokenization import read_tokens
from rm.train import launch, loop, resume, torchrun
from rm.train.config import TrainConfig, ValidationConfig
from rm.train.worker import Job, WholeErrorFile
from tests.processes import still_running, training_processes

CONFIG = TrainConfig(max_pairs=48, pairs_per_step=12, num_epochs=3, learning_rate=1e-3, checkpoint_every=2)
ONE = ComputeConfig(tokens_per_batch=400, num_processes=1)
TWO = ONE.model_copy(update={"num_processes": 2})
SHARDED = TWO.model_copy(update={"sharded": True})
each_way = pytest.mark.parametrize("compute", [TWO, SHARDED], ids=["replicas", "sharded"])


def weights(folder):
    return load_file(folder / "model.safetensors")


def assert_same_weights(one, other):
    expected = weights(other)
    for name, value in weights(one).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


def assert_same_steps(one, other):
    for here, there in zip(one, other, strict=True):
        assert here.loss == pytest.approx(there.loss, rel=1e-5)
        assert here.grad_norm == pytest.approx(there.grad_norm, rel=1e-4)
        assert here.accuracy == there.accuracy


@pytest.fixture(scope="module")
def alone(tokenized, llama, tmp_path_factory):
    """The same run in one process."""
    steps = []
    manifest = loop.fit(tokenized, llama, CONFIG, ONE, tmp_path_factory.mktemp("alone") / "run", steps.append)
    return manifest, steps


@pytest.mark.slow
@each_way
def test_two_processes_train_what_one_does(tokenized, llama, alone, tmp_path, compute):
    steps = []
    manifest = launch.fit(tokenized, llama, CONFIG, compute, tmp_path / "run", steps.append)
    whole, expected = alone
    assert manifest.step == whole.step == len(steps)
    assert_same_steps(steps, expected)
    assert_same_weights(manifest.path, whole.path)
    manifest.check()


@pytest.mark.slow
def test_two_processes_make_the_same_stock_responses(tokenized, llama, tmp_path):
    """Each process draws them for itself."""
    config = CONFIG.model_copy(update={"remedies": RemediesConfig(stock_share=1.0), "num_epochs": 1})
    whole, expected = [], []
    alone = loop.fit(tokenized, llama, config, ONE, tmp_path / "alone", expected.append)
    together = launch.fit(tokenized, llama, config, TWO, tmp_path / "together", whole.append)
    assert together.step == alone.step > 48 / 12  # the annotators' pairs alone are four steps
    assert_same_steps(whole, expected)
    assert_same_weights(together.path, alone.path)


@pytest.mark.slow
@each_way
def test_two_processes_control_as_one_does(tokenized, llama, tmp_path, compute):
    """What is learnt beside the model rests on the pairs of both."""
    remedies = RemediesConfig(controlled=("length", "question marks"))
    config = CONFIG.model_copy(update={"remedies": remedies, "num_epochs": 2})
    steps, expected = [], []
    alone = loop.fit(tokenized, llama, config, ONE, tmp_path / "alone", expected.append)
    together = launch.fit(tokenized, llama, config, compute, tmp_path / "together", steps.append)
    without = loop.fit(tokenized, llama, config.model_copy(update={"remedies": RemediesConfig()}), ONE, tmp_path / "no")
    assert_same_steps(steps, expected)
    assert_same_weights(together.path, alone.path)
    assert not torch.allclose(weights(without.path)["score.weight"], weights(alone.path)["score.weight"], atol=1e-4)


@pytest.mark.slow
@each_way
def test_pairs_too_large_for_a_pass_are_read_in_both_processes(tokenized, llama, alone, tmp_path, compute):
    """The prompts with one response each fit; the seed's prompts, with two, do not."""
    longest = int(read_tokens(tokenized, "train").longest().max())
    steps = []
    small = compute.model_copy(update={"tokens_per_batch": longest})
    manifest = launch.fit(tokenized, llama, CONFIG, small, tmp_path / "run", steps.append)
    whole, expected = alone
    assert_same_steps(steps, expected)
    assert_same_weights(manifest.path, whole.path)


@pytest.mark.slow
@each_way
def test_validation_in_two_processes_keeps_the_best_of_one_process(with_validation, llama, tmp_path, compute):
    """The rate is so high that the best step is not the last; measurements and checkpoints fall on the same steps."""
    validation = ValidationConfig(every=2)
    other = {"validation": validation, "learning_rate": 0.03, "max_pairs": 100, "pairs_per_step": 24, "num_epochs": 3}
    config = CONFIG.model_copy(update=other)
    steps, expected = [], []
    one = loop.fit(with_validation, llama, config, ONE, tmp_path / "one", expected.append)

    def stop_at_five(metrics):
        if metrics.step == 5:
            raise Interrupted

    with pytest.raises(Interrupted):
        launch.fit(with_validation, llama, config, compute, tmp_path / "two", stop_at_five)
    two = launch.fit(with_validation, llama, config, compute, tmp_path / "two", steps.append)
    assert steps[0].step == 5
    assert one.step == two.step < len(expected)
    measured = [[step.validation_loss for step in some if step.step % 2 == 0] for some in (steps, expected[4:])]
    assert measured[0] == pytest.approx(measured[1], rel=1e-2)
    expected_weights = weights(one.path)
    for name, value in weights(two.path).items():
        torch.testing.assert_close(value, expected_weights[name], rtol=1e-2, atol=1e-3)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize(
    "compute", [pytest.param(TWO, marks=pytest.mark.slow, id="replicas"), pytest.param(SHARDED, id="sharded")]
)
def test_a_process_that_dies_ends_all_with_a_reason_and_one_process_may_go_on(
    tokenized, llama, alone, tmp_path, compute
):
    """Both train what one does, up to there."""
    folder, started, together, steps = tmp_path / "run", [], [], []
    whole, expected = alone

    def kill_one(metrics):
        together.append(metrics)
        if metrics.step == 3:
            started.extend(training_processes(folder))
            os.kill(started[0], signal.SIGKILL)

    with pytest.raises(TrainingError, match=r"a training process died:\nprocess \d ended with code -9"):
        launch.fit(tokenized, llama, CONFIG, compute, folder, kill_one)
    assert len(started) == 2
    assert not still_running(started)
    assert_same_steps(together[:3], expected[:3])
    manifest = loop.fit(tokenized, llama, CONFIG, ONE, folder, steps.append)
    assert steps[0].step >= 3  # they may take another step before they hear of it
    assert_same_steps(steps, expected[steps[0].step - 1 :])
    assert_same_weights(manifest.path, whole.path)
    assert not resume.beside(folder).exists()


def test_an_interrupt_ends_what_was_started():
    with pytest.raises(Interrupted), launch._started(["sleep", "1000"]) as (process, _):
        raise Interrupted
    assert process.returncode == -signal.SIGTERM


@pytest.mark.slow
def test_an_interrupt_ends_every_training_process(tokenized, llama, tmp_path):
    folder, started = tmp_path / "run", []

    def stop_at_two(metrics):
        if metrics.step == 2:
            started.extend(training_processes(folder))
            raise Interrupted

    with pytest.raises(Interrupted):
        launch.fit(tokenized, llama, CONFIG, TWO, folder, stop_at_two)
    assert len(started) == 2
    assert not still_running(started)


@pytest.mark.slow
def test_two_processes_go_on_where_one_stopped_even_with_less_prompts_than_processes(tokenized, llama, alone, tmp_path):
    def stop_at_three(metrics):
        if metrics.step == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        loop.fit(tokenized, llama, CONFIG, ONE, tmp_path / "run", stop_at_three)
    steps = []
    manifest = launch.fit(tokenized, llama, CONFIG, TWO, tmp_path / "run", steps.append)
    assert steps[0].step == 3
    assert_same_weights(manifest.path, alone[0].path)

    one_pair = CONFIG.model_copy(update={"pairs_per_step": 1, "max_pairs": 6})
    one = loop.fit(tokenized, llama, one_pair, ONE, tmp_path / "one")
    for name, compute in {"two": TWO, "sharded": SHARDED}.items():
        assert_same_weights(launch.fit(tokenized, llama, one_pair, compute, tmp_path / name).path, one.path)


@pytest.mark.slow
def test_an_error_of_ours_keeps_its_words(tokenized, llama, tmp_path):
    broken = CONFIG.model_copy(update={"learning_rate": 1e30, "warmup_share": 0.0})
    with pytest.raises(TrainingError, match=r"^loss (nan|inf) at step 2; first prompts of the batch: "):
        launch.fit(tokenized, llama, broken, TWO, tmp_path / "run")


@pytest.mark.slow
def test_an_error_of_a_library_keeps_its_last_lines(tokenized, llama, tmp_path):
    copy = tokenized.model_copy(update={"path": shutil.copytree(tokenized.path, tmp_path / "tokenized")})
    (copy.path / "train.arrow").write_bytes(b"no Arrow file")
    with pytest.raises(TrainingError, match=r"process \d ended with code 1; its last lines:\n(.*\n)*.*ArrowInvalid: "):
        launch.fit(copy, llama, CONFIG, TWO, tmp_path / "run")


LAUNCH = """
import sys
from pathlib import Path
from rm.train import launch
from rm.train.worker import Job
job = Job.model_validate_json(Path(sys.argv[1]).read_text())
launch.fit(job.tokenized, job.base, job.config, job.compute, job.folder, lambda _: print("step"))
"""


@pytest.mark.slow
def test_the_processes_end_with_the_one_that_started_them(tokenized, llama, tmp_path):
    long = CONFIG.model_copy(update={"num_epochs": 1000})
    job = Job(tokenized=tokenized, base=llama, config=long, compute=TWO, folder=tmp_path / "run", parent=1)
    (tmp_path / "job.json").write_text(job.model_dump_json())
    command = [sys.executable, "-u", "-c", LAUNCH, str(tmp_path / "job.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout.readline() == "step\n"
        training_ids = training_processes(job.folder)
        assert len(training_ids) == 2
        starter.kill()
    deadline = time.monotonic() + 30
    while still_running(training_ids):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_torchrun_never_sees_half_an_error_file(tmp_path, monkeypatch):
    file, seen = tmp_path / "0" / "error.json", []
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(file))

    class Unprintable(Exception):
        def __str__(self):  # while the file is being written
            seen.append(file.exists())
            return "lost its peer"

    WholeErrorFile().record_exception(Unprintable())
    assert json.loads(file.read_text())["message"]["message"] == "Unprintable: lost its peer"
    assert seen == [False]
    assert list(file.parent.iterdir()) == [file]


def test_the_failure_is_not_that_of_a_process_which_torchrun_ended_for_it():
    assert torchrun.first_failure({1: -15, 0: -9}) == (0, -9)
    assert torchrun.first_failure({0: -15, 1: 1}) == (1, 1)
    assert torchrun.first_failure({0: -15, 1: -15}) == (0, -15)

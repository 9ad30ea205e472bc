import subprocess
from datetime import date
from pathlib import Path
from types import SimpleNamespace

from mlflow.utils.validation import validate_param_and_metric_name

from rm.gate.policy import Waiver
from tasks import tracking
from tasks.tracking import Noted


def test_nested_sections_become_dotted_parameters_and_unset_ones_are_left_out():
    values = {"train": {"seed": 0, "max_pairs": None}, "sample": None, "gate": {"checks": [{"name": "accuracy"}]}}
    assert tracking.flatten(values) == {"train.seed": "0", "gate.checks": "[{'name': 'accuracy'}]"}


def test_the_code_revision_is_this_repositorys_commit():
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    assert tracking.code_revision() in {commit, f"{commit}+"}


def test_waived_checks_are_a_tag_and_no_waiver_is_none():
    one = Waiver(name="one", reason="a", by="b", granted=date(2026, 1, 1), expires=date(2026, 1, 2))
    tag = tracking.waiver_tag([one, one.model_copy(update={"name": "two"})])
    assert tag == {"rmflow.waivers": "one until 2026-01-02; two until 2026-01-02"}
    assert tracking.waiver_tag([]) == {}


def test_mlflow_accepts_each_metric_name_and_no_two_become_one():
    names = [tracking._metric_name(f"audit/probe_keywords_{word}") for word in ("C++", "C##", "C__")]
    assert len(set(names)) == 3
    for name in names:
        assert validate_param_and_metric_name(name)
    assert tracking._metric_name("audit/llmbar/natural set-1.0") == "audit/llmbar/natural set-1.0"


def judged_run(experiment, digest, verdict):
    """A run in which a checkpoint was judged."""
    client = tracking.client()
    tags = {tracking.CHECKPOINT_TAG: digest, tracking.VERDICT_TAG: verdict}
    return client.create_run(tracking.experiment_id(client, experiment), tags=tags).info.run_id


def test_a_challenger_that_was_judged_is_known_by_the_first_models_weights_in_every_experiment():
    """Another name of the experiment is another key of the same training, and so another run."""
    one, other = (judged_run(name, "first weights", "failed") for name in ("search", "search, renamed"))
    judged_run("search", "other weights", "failed")
    assert tracking.noted_challengers("first weights") == Noted(frozenset(), 0)
    tracking.note_challenger(one, "challenger", 3)
    tracking.note_challenger(one, "challenger", 3)
    for run in (one, other):
        assert tracking.noted_challengers("first weights") == Noted(frozenset({"challenger"}), 3)
        tracking.note_challenger(run, "challenger", 3)
    assert tracking.noted_challengers("other weights") == Noted(frozenset(), 0)
    tracking.note_challenger(other, "another", 4)
    assert tracking.noted_challengers("first weights") == Noted(frozenset({"challenger", "another"}), 4)


def test_weights_that_the_gate_failed_are_known_whatever_training_gave_them():
    judged_run("some", "weights twice", "passed")
    assert not tracking.has_failed("weights twice")
    judged_run("some", "weights undecided", "inconclusive")
    assert not tracking.has_failed("weights undecided")
    judged_run("others", "weights twice", "failed")
    assert tracking.has_failed("weights twice")
    assert not tracking.has_failed("weights of nobody")


def test_a_challenger_that_is_trained_once_costs_what_it_cost_then():
    checkpoint = SimpleNamespace(path=Path("stages/train/0123abcd"))
    config = SimpleNamespace(registry=SimpleNamespace(experiment="minutes"))
    assert [tracking.most_minutes(checkpoint, minutes, config) for minutes in (90.5, 0.1, 120.25, 0.2)] == [
        90.5,
        90.5,
        120.25,
        120.25,
    ]

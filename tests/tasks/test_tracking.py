import subprocess
from datetime import date
from pathlib import Path

from mlflow.utils.validation import validate_param_and_metric_name

from rm.gate.policy import Waiver
from tasks import tracking


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

import subprocess
from pathlib import Path

from tasks import tracking


def test_nested_sections_become_dotted_parameters_and_unset_ones_are_left_out():
    values = {"train": {"seed": 0, "max_pairs": None}, "sample": None, "gate": {"checks": [{"name": "accuracy"}]}}
    assert tracking.flatten(values) == {"train.seed": "0", "gate.checks": "[{'name': 'accuracy'}]"}


def test_the_code_revision_is_this_repositorys_commit():
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    assert tracking.code_revision() in {commit, f"{commit}+"}

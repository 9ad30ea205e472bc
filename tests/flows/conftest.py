"""A tiny pipeline run through Prefect and MLflow for real, on a server of its own."""

import shutil
import sys
from collections.abc import Callable

import pytest

from flows.cli import app as cli
from flows.cli import screen
from rm.pipeline.config import PipelineConfig

# A policy that any working pipeline satisfies, and one that no model can: the flow is under test here, not the limits.
LENIENT = {
    "checks": [{"name": "accuracy", "min_value": 0.0, "decides": "estimate", "min_pairs": 1}],
    "probe_checks": [],
    "champion_checks": [{"name": "over_champion_accuracy", "min_value": -1.0, "min_pairs": 1}],
}
STRICT = {"checks": [{"name": "accuracy", "min_value": 1.1, "min_pairs": 1, "why": "no model is this good"}]}


@pytest.fixture
def rmflow(monkeypatch, capsys):
    """Run a command line; returns exit code, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rmflow", *arguments])
        console = screen.Screen(width=200)
        monkeypatch.setattr(cli, "console", console)
        monkeypatch.setattr(screen, "console", console)
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        out, err = capsys.readouterr()
        return exit_info.value.code or 0, out, err

    return run


@pytest.fixture(scope="session")
def prefect_server(prefect_database, tmp_path_factory):
    """With a database of its own."""
    from prefect.testing import utilities  # slow to import: only where a server is needed

    database = tmp_path_factory.mktemp("prefect") / "prefect-test.db"
    shutil.copyfile(prefect_database, database)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utilities, "mkdtemp", lambda: str(database.parent))
        with utilities.prefect_test_harness(server_startup_timeout=180):
            yield


@pytest.fixture(scope="session")
def tiny() -> Callable[..., PipelineConfig]:
    """A recipe that runs in seconds; sections given as keywords replace its own."""

    def build(**sections) -> PipelineConfig:
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        recipe = {
            "sample": {"num_prompts": 60},
            "model": {"scratch": {"architecture": "llama", "vocab_size": 400, "sizes": sizes}},
            "snapshot": {"heldout_share": 0.3},
            "train": {"pairs_per_step": 8, "checkpoint_every": 2},
            "audit": {"num_resamples": 100},
            "gate": LENIENT,
        }
        return PipelineConfig.model_validate(recipe | sections)

    return build

"""The page about own data: what it says is printed is printed, of the file that it makes."""

import re
import shlex
from pathlib import Path

import pytest

from rm.pipeline.load import load

TEXT = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
MAKE_VOTES, RECIPE = (next(text for name, text in BLOCKS if name == language) for language in ("python", "yaml"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """With what a reader has by then."""
    monkeypatch.setenv("RMFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    exec(compile(MAKE_VOTES, "own-data.md", "exec"), {})
    (tmp_path / "own.yaml").write_text(RECIPE, encoding="utf-8")
    return tmp_path


def printed_by(command):
    """The lines that stand below a command; those of only dots stand for others."""
    after = TEXT.split(f"```sh\n{command}\n```", maxsplit=1)[1]
    return [line for line in after.split("```\n", maxsplit=2)[1].splitlines() if line != "..."]


@pytest.mark.parametrize(
    "start", ["rmflow ingest --explain votes.csv\n", "rmflow ingest --explain votes.csv --set", "rmflow check"]
)
def test_a_command_prints_what_stands_below_it(rmflow, folder, start):
    command = next(text.strip() for name, text in BLOCKS if name == "sh" and text.startswith(start))
    _, out, _ = rmflow(*shlex.split(command)[1:])
    lines = printed_by(command)
    assert len(lines) > 1 and [line for line in lines if line not in out.splitlines()] == []


def test_the_recipe_is_read_and_holds_nothing_that_is_so_by_default(folder):
    assert load(folder / "own.yaml").registry.name == "own"

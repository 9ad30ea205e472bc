"""Each architecture of docs/architectures.md is read, saved and loaded again; its row is as it stands there."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("architectures", ROOT / "bench" / "architectures.py")
bench = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(bench)


@pytest.mark.parametrize("name", bench.VARIANTS)
def test_an_architecture_gives_the_rewards_of_its_texts_one_by_one(name):
    found = bench.row(name)
    assert found.is_right
    written = (ROOT / "docs" / "architectures.md").read_text(encoding="utf-8").splitlines()
    assert bench.line(found).rstrip() in [line.rstrip() for line in written]


def test_a_wrong_reading_is_seen(monkeypatch):
    def shifted(model, ids):
        return alone(model, ids[:-1])

    alone = bench._alone
    monkeypatch.setattr(bench, "_alone", shifted)
    assert not bench.row("Llama").is_right


def test_the_document_has_all_of_them_and_no_other():
    written = (ROOT / "docs" / "architectures.md").read_text(encoding="utf-8")
    assert written.startswith(bench.TITLE)
    rows = written.removeprefix(bench.TITLE).strip().splitlines()
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == list(bench.VARIANTS)

"""What a retraining depends on, and a note of it that cannot be read."""

from datetime import date
from pathlib import Path

import pytest

from rm.data.annotation_table import TableVersion
from rm.model.base_files import BaseModelRef
from rm.pipeline.config import PipelineConfig
from tasks import stages, verdicts

TODAY = date(2026, 3, 1)
WAIVER = {
    "name": "overpaid_length",
    "reason": "a first model",
    "by": "alice",
    "granted": "2026-02-01",
    "expires": "2026-03-01",
}
RECIPE = {"model": {"path": "/model"}, "gate": {"waivers": [WAIVER]}}


def key(today: date = TODAY, table: str = "t", base: str = "w", remedy: bool = False, **sections) -> str:
    config = PipelineConfig.model_validate(RECIPE | sections)
    return verdicts.key(
        TableVersion(path=Path("/table"), version=1, digest=table, num_judgements=1),
        BaseModelRef(config=config.model, folder=Path("/model"), digest=base),
        config,
        remedy,
        today,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"table": "u"},
        {"base": "x"},
        {"train": {"seed": 1}},
        {"gate": {}},
        {"registry": {"name": "other"}},
        {"remedy": True},
        {"model": {"path": "/model", "pooling": "mean"}},
        {"today": date(2026, 3, 2)},  # on which the waiver holds no longer
    ],
)
def test_the_key_changes_with_what_the_verdict_depends_on(change):
    assert key(**change) != key()


@pytest.mark.parametrize(
    "change",
    [
        {"schedule": {"cron": "0 4 * * *"}},
        {"compute": {"tokens_per_batch": 64}},
        {"ingest": {"sources": ["new.jsonl"]}},  # of which the table says what was in it
        {"model": {"path": "/moved"}},
        {"today": date(2026, 2, 28)},
    ],
)
def test_the_key_stays_with_what_no_verdict_depends_on(change):
    assert key(**change) == key()


def test_a_new_champion_as_the_base_is_nothing_new_but_another_setting_of_the_base_is():
    registered = {"path": "models:/line@champion"}
    assert key(model=registered, base="x") == key(model=registered, base="w")
    for other in ({"head": "new"}, {"num_heads": 2}, {"path": "models:/line/1"}):
        assert key(model=registered | other) != key(model=registered)


def test_the_key_changes_with_code_of_the_registration_too(monkeypatch):
    before = key()
    asked = []
    monkeypatch.setattr(stages, "code_digest", lambda module, root: asked.append(module) or "changed")
    assert key() != before
    assert asked == ["flows.retrain"]


def test_a_note_of_another_version_is_no_verdict(tmp_path):
    assert verdicts.read(tmp_path, "retrain/team") is None
    (tmp_path / "verdicts").mkdir()
    (tmp_path / "verdicts" / "retrain-team.json").write_text('{"key": 1')
    assert verdicts.read(tmp_path, "retrain/team") is None

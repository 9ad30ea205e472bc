from pathlib import Path

import pytest

from rm.base_models import BaseModelRef
from rm.config import ModelConfig, SampleConfig, SnapshotConfig
from rm.store import TableVersion
from tasks import stages


def table(path: str, digest: str = "d") -> TableVersion:
    return TableVersion(path=Path(path), version=1, digest=digest, num_judgements=1)


def base(path: str, digest: str = "w", **config) -> BaseModelRef:
    return BaseModelRef(config=ModelConfig(path=Path(path), **config), folder=Path(path), digest=digest)


def key(**inputs) -> str:
    return stages.content_key("some_stage", inputs)


def test_the_key_does_not_depend_on_where_the_inputs_lie():
    assert key(table=table("/a")) == key(table=table("/b"))
    assert key(base=base("/a")) == key(base=base("/b"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"table": table("/a", "d")}, {"table": table("/a", "e")}),
        ({"base": base("/a", "w")}, {"base": base("/a", "x")}),
        ({"base": base("/a")}, {"base": base("/a", pooling="mean")}),
        ({"config": SnapshotConfig()}, {"config": SnapshotConfig(heldout_share=0.2)}),
        ({"config": SampleConfig()}, {"config": SampleConfig(length_bias=3)}),
    ],
)
def test_the_key_changes_with_content_and_configuration(one, other):
    assert key(**one) != key(**other)


def test_the_key_changes_with_the_stage_and_with_the_librarys_code(monkeypatch):
    before = key(config=SnapshotConfig())
    assert stages.content_key("other_stage", {"config": SnapshotConfig()}) != before
    monkeypatch.setattr(stages, "code_digest", lambda: "changed")
    assert key(config=SnapshotConfig()) != before

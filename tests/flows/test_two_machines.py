"""Stages that one machine has finished and another takes: two homes that share the URL of the copies."""

from flows.records import Trained
from flows.train import train
from rm.train import loop


def test_a_second_machine_takes_what_the_first_has_finished(prefect_server, tiny, bucket, monkeypatch, tmp_path):
    recipe = tiny(train={"pairs_per_step": 8, "seed": 23})
    monkeypatch.setenv("RMFLOW_HOME", str(tmp_path / "first"))
    before = train(recipe)  # nothing is copied yet
    monkeypatch.setenv("RMFLOW_STAGES", f"{bucket}/stages")
    monkeypatch.setenv("RMFLOW_ANNOTATIONS", f"{bucket}/annotations")
    first = train(recipe)
    assert first == before
    monkeypatch.setenv("RMFLOW_HOME", str(tmp_path / "second"))
    monkeypatch.setattr(loop, "fit", None)
    second = train(recipe)
    for mine, theirs in zip(dict(second).values(), dict(first).values(), strict=True):
        assert mine.path == tmp_path / "second" / theirs.path.relative_to(tmp_path / "first")
        assert mine.digest == theirs.digest
        mine.check()
    assert Trained.read(second.checkpoint.path).tokenized.path == second.tokenized.path
    assert not list((tmp_path / "second").rglob("_delta_log"))

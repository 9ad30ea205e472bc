"""Stages that one machine has finished and another takes: two homes that share the URL of the copies."""

import shutil

from safetensors.torch import load_file, save_file

from flows.records import Trained
from flows.train import train
from rm import copies
from rm.files import sha256_json
from rm.manifests import MANIFEST_NAME, digests
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


def test_a_copy_that_is_not_the_result_which_prefect_stored_is_not_taken(
    prefect_server, tiny, bucket, monkeypatch, tmp_path
):
    recipe = tiny(train={"pairs_per_step": 8, "seed": 24})
    monkeypatch.setenv("RMFLOW_HOME", str(tmp_path / "home"))
    trained = train(recipe).checkpoint
    shutil.copytree(trained.path, tmp_path / "other" / trained.path.name)
    negated = tmp_path / "other" / trained.path.name
    tensors = load_file(negated / "model.safetensors")
    save_file(tensors | {"score.weight": -tensors["score.weight"]}, negated / "model.safetensors", {"format": "pt"})
    files = digests(negated, beside={MANIFEST_NAME})
    other = trained.model_copy(update={"path": negated, "files": files, "digest": sha256_json(files)})
    (negated / MANIFEST_NAME).write_text(other.model_dump_json())
    copies.upload(other, bucket / "stages" / "train" / trained.path.name)
    shutil.rmtree(trained.path)
    monkeypatch.setenv("RMFLOW_STAGES", f"{bucket}/stages")
    assert train(recipe).checkpoint.digest == trained.digest

import shutil
from pathlib import Path

import pytest

import rm
from rm import imports
from rm.audit.config import AuditConfig
from rm.data import id_lists
from rm.data.annotation_table import TableVersion
from rm.data.config import SampleConfig, SnapshotConfig
from rm.errors import ConfigError
from rm.labels.config import LabelsConfig
from rm.model.base_files import BaseModelRef
from rm.model.config import ComputeConfig, ModelConfig
from rm.model.manifests import CheckpointManifest
from rm.score.manifests import ChampionRef
from tasks import audits, data, models, preflight, remedies, stages  # noqa: F401 - which name their stages


def table(path: str, digest: str = "d") -> TableVersion:
    return TableVersion(path=Path(path), version=1, digest=digest, num_judgements=1)


def base(path: str, digest: str = "w", **config) -> BaseModelRef:
    return BaseModelRef(config=ModelConfig(path=Path(path), **config), folder=Path(path), digest=digest)


def champion(name: str, path: str = "/a", digest: str = "d") -> ChampionRef:
    return ChampionRef(name=name, path=Path(path), digest=digest)


def checkpoint(path: str = "/a", **facts) -> CheckpointManifest:
    """Of the same weights, whatever training claims them."""
    made = {"kind": "checkpoint", "digest": "w", "files": {}, "num_rows": 1, "config_digest": "c", "step": 1}
    return CheckpointManifest(path=Path(path), num_train_pairs=1, base="b", base_digest="b", **made, **facts)


def key(**inputs) -> str:
    return stages.content_key("some_stage", "rm.data.snapshots", inputs)


def test_the_key_does_not_depend_on_where_the_inputs_lie():
    assert key(table=table("/a")) == key(table=table("/b"))
    assert key(base=base("/a")) == key(base=base("/b"))
    assert key(champion=champion("one")) == key(champion=champion("one", "/b"))
    assert key(checkpoint=checkpoint("/a")) == key(checkpoint=checkpoint("/b"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"table": table("/a", "d")}, {"table": table("/a", "e")}),
        ({"base": base("/a", "w")}, {"base": base("/a", "x")}),
        ({"base": base("/a")}, {"base": base("/a", pooling="mean")}),
        ({"champion": champion("one version 1")}, {"champion": champion("one version 2")}),
        ({"champion": champion("one version 1")}, {"champion": champion("one version 1", digest="e")}),
        ({"checkpoint": checkpoint()}, {"checkpoint": checkpoint(trained_on=("foreign",))}),
        ({"checkpoint": checkpoint()}, {"checkpoint": checkpoint(controlled=("length",))}),
        ({"checkpoint": checkpoint()}, {"checkpoint": checkpoint(remedy_shares={"stock_share": 0.5})}),
        ({"checkpoint": checkpoint()}, {"checkpoint": checkpoint(keeps_head=True)}),
        ({"config": SnapshotConfig()}, {"config": SnapshotConfig(heldout_share=0.2)}),
        ({"config": SampleConfig()}, {"config": SampleConfig(biases={"length": 3})}),
    ],
)
def test_the_key_changes_with_content_and_configuration(one, other):
    assert key(**one) != key(**other)


def test_the_key_changes_with_the_stage_and_with_the_code_that_it_reaches(monkeypatch):
    before = key(config=SnapshotConfig())
    assert stages.content_key("other_stage", "rm.data.snapshots", {"config": SnapshotConfig()}) != before
    assert stages.content_key("some_stage", "rm.data.sample", {"config": SnapshotConfig()}) != before
    monkeypatch.setattr(stages, "code_digest", lambda module, root: "changed")
    assert key(config=SnapshotConfig()) != before


def test_what_a_run_is_computed_on_is_no_part_of_the_key():
    assert key(compute=ComputeConfig()) == key(
        compute=ComputeConfig(tokens_per_batch=64, compile=True, num_processes=2)
    )


def test_the_key_changes_with_the_file_of_a_feature_of_ones_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def size(prompts, responses): return [len(one) for one in responses]\n")
    config = AuditConfig(features=(f"{path}:size",))
    before = key(config=config)
    assert key(config=config) == before != key(config=AuditConfig())
    path.write_text("def size(prompts, responses): return [len(one) for one in prompts]\n")
    assert key(config=config) != before
    path.unlink()
    with pytest.raises(ConfigError, match="no such file"):
        key(config=config)


def test_the_key_changes_with_the_file_that_leaves_judgements_out(tmp_path):
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    id_lists.write(one, ["a" * 64, "b" * 64])
    id_lists.write(other, ["b" * 64, "a" * 64], ["in another order"])
    before = key(config=SnapshotConfig(exclude=one))
    assert before == key(config=SnapshotConfig(exclude=other)) != key(config=SnapshotConfig())
    id_lists.write(one, ["a" * 64])
    assert key(config=SnapshotConfig(exclude=one)) != before


def test_the_key_changes_with_the_file_of_a_benchmark_and_not_with_where_it_lies(tmp_path):
    one, other = (tmp_path / name for name in ("one.jsonl", "other.jsonl"))
    for path in (one, other):
        path.write_text('{"prompt": "What is this?"}\n', encoding="utf-8")
    configs = [LabelsConfig(benchmarks={"riddles": str(path)}) for path in (one, other)]
    assert key(config=configs[0]) == key(config=configs[1]) != key(config=LabelsConfig())
    other.write_text('{"prompt": "What is that?"}\n', encoding="utf-8")
    assert key(config=configs[0]) != key(config=configs[1])
    other.unlink()
    with pytest.raises(ConfigError, match=r"labels\.benchmarks\.riddles: expected a file"):
        key(config=configs[1])


WRITING = {"write_report", "write_trail"}
AUDITS = {"audit", *WRITING}
SCORING = {"score", "score_champion", "probe"}
READING = {"snapshot", "survey", "labels", "tokenize", "train", *SCORING, *AUDITS, "variants"}
CHANGES = {
    "rm/errors.py": set(stages.ENTRIES),
    "rm/storage.py": {"snapshot", "labels"},
    "rm/copies.py": set(),
    "rm/engine/engines.py": {"survey", "tokenize", "train", *SCORING},
    "rm/stats/logistic.py": {"labels", "audit", "variants"},
    "rm/model/packing.py": {"survey", "tokenize", "train", *SCORING, "audit"},
    "rm/data/store.py": set(),
    "rm/data/annotation_table.py": {"snapshot", "labels"},
    "rm/data/retractions.py": {"snapshot", "labels"},
    "rm/data/retracting.py": set(),
    "rm/data/prompt_groups.py": READING,
    "rm/data/sample.py": {"write_sample"},
    "rm/data/formats/dialogue.py": {"snapshot", "labels", "write_sample"},
    "rm/features/words.py": {"labels", "train", *AUDITS},
    "rm/tokens/encoder.py": {"survey", "tokenize", "train", *SCORING},
    "rm/tokens/survey.py": {"survey"},
    "rm/tokens/token_files.py": {"survey", "tokenize", "train", "score", "score_champion"},
    "rm/remedies/controlled.py": {"train"},
    "rm/train/step.py": {"train"},
    "rm/score/scorer.py": SCORING,
    "rm/edits/rewrites.py": {"probe", *AUDITS},
    "rm/probes/flawed_pairs.jsonl": {"probe", *AUDITS, "variants"},
    "rm/audit/length.py": {"audit", "variants"},
    "rm/gate/decision.py": WRITING,
    "rm/benchmarks/rm_bench.py": {"labels"},
    "rm/variants/fitting.py": {"variants"},
    "rm/origins/head.py": set(),
    "rm/labels/drift.py": {"labels"},
    "rm/labels/records.py": {"labels", *WRITING},
    "rm/pipeline/load.py": set(),
    "rm/pipeline/preflight.py": set(),
    "rm/selftest/run.py": set(),
    "rm/report/junit.py": {"write_report"},
    "rm/report/templates/page.css": WRITING,
    "rm/challengers/page.py": {"write_trail"},
    "rm/report/html.py": WRITING,
    "rm/standalone/audits.py": set(),
    "rm/ledger/page.py": set(),
}
"""A file of each package, and the stages that run again when it changes."""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    root = tmp_path_factory.mktemp("library")
    shutil.copytree(Path(rm.__file__).parent, root / "rm", ignore=shutil.ignore_patterns("__pycache__"))
    return root


def digests(root):
    imports.code_digest.cache_clear()  # not what files import: no change here is of an import
    return {name: imports.code_digest(module, root) for name, module in stages.ENTRIES.items()}


@pytest.fixture(scope="module")
def before(library):
    return digests(library)


@pytest.mark.parametrize("changed", CHANGES)
def test_a_change_runs_those_stages_again_that_reach_it_and_no_other(library, before, changed):
    path = library / changed
    content = path.read_bytes()
    path.write_bytes(content + b"\n")
    after = digests(library)
    path.write_bytes(content)
    assert {name for name in before if before[name] != after[name]} == CHANGES[changed]


def test_every_package_is_among_the_changes():
    packages = {path.parent.name for path in Path(rm.__file__).parent.glob("*/__init__.py")}
    assert {Path(path).parts[1] for path in CHANGES} - {"errors.py", "storage.py", "copies.py"} == packages


def test_every_stage_names_the_module_that_does_its_work():
    assert set(stages.ENTRIES) == {"write_sample", *READING}
    root = Path(rm.__file__).parents[1]
    for name, module in stages.ENTRIES.items():
        assert imports.source(module, root) is not None, name

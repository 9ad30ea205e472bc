"""`rmflow clean` after real runs: what nothing needs goes, and what a registered version needs still works."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings

from flows.retrain import retrain
from flows.train import train
from rm import storage
from rm.audit.records import read_report
from rm.errors import GateRejected
from rm.train import loop
from tasks import leftovers, old_copies, preflight, versions
from tests.flows.conftest import LENIENT, STRICT
from tests.rm.test_copies import objects

pytestmark = pytest.mark.usefixtures("without_figures", "few_trees")
HOLD = """
import sys
from pathlib import Path
from tasks.locks import lock_of, using
with using(lock_of(Path(sys.argv[1]))):
    print(flush=True)
    sys.stdin.read()
"""


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def seeded(seed: int) -> dict[str, int]:
    return {"pairs_per_step": 8, "seed": seed}


def rejected(config) -> str:
    """The id of the MLflow run of a rejected model."""
    with pytest.raises(GateRejected):
        retrain(config)
    (experiment,) = MlflowClient().search_experiments(filter_string="name = 'rmflow'")
    runs = MlflowClient().search_runs([experiment.experiment_id], "tags.`rmflow.verdict` = 'failed'")
    return runs[0].info.run_id


@pytest.fixture
def home(prefect_server, tmp_path, monkeypatch):
    monkeypatch.setenv("RMFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}")
    # Results that Prefect stores name this home: later tests must not find them.
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path / "results"}):
        yield tmp_path / "home"


@pytest.mark.slow
def test_versions_and_what_runs_keep_all_they_need_and_the_rest_goes(home, tiny, rmflow, bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("RMFLOW_STAGES", f"{bucket}/stages")
    monkeypatch.setattr(old_copies, "_LEAST_DAYS", 0)
    client = MlflowClient()
    champion, challenger = retrain(tiny()), retrain(tiny(train=seeded(1)))
    audited = read_report(challenger.judged.audited).model_dump_json()
    client.delete_run(challenger.judged.run_id)  # its report is the version's
    kept_run = rejected(tiny(gate=STRICT, train=seeded(2)))
    client.delete_run(lost_run := rejected(tiny(gate=STRICT, train=seeded(3))))
    withdrawn = retrain(tiny(train=seeded(4), registry={"name": "withdrawn"}))
    client.delete_model_version("withdrawn", "1")
    used = train(tiny(train=seeded(5))).checkpoint.path
    trainings = set((home / "stages" / "train").glob("[!.]*"))
    assert len(trainings) == 6
    assert len(list(home.glob("mlartifacts/rmflow/models/m-*"))) == 3

    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(tiny(retention={"days": 0}).model_dump_json(exclude_unset=True))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(used)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as run:
        run.stdout.readline()
        before = tree(home), objects(bucket)
        code, planned, _ = rmflow("clean", "--config", str(recipe), "--dry-run")
        assert code == 0 and (tree(home), objects(bucket)) == before
        assert rmflow("clean", "--config", str(recipe), "--keep-days", "1")[1] == "0 B were freed\n"
        code, done, _ = rmflow("clean", "--config", str(recipe))
        assert code == 0 and done == planned.replace("would be freed", "were freed")
        run.stdin.close()
    assert re.search(r"stages/audit/\w+: [\d.]+ KiB\n", done)

    registered = {champion.trained.checkpoint.path, challenger.trained.checkpoint.path}
    assert set((home / "stages" / "train").glob("[!.]*")) == {*registered, used}
    for kind, number in {"snapshot": 1, "tokenize": 1, "score": 0, "probe": 0, "audit": 0, "write_report": 0}.items():
        assert len(list((home / "stages" / kind).glob("[!.]*"))) == number, kind
    here = {path.relative_to(home / "stages").as_posix() for path in home.glob("stages/*/[!.]*")}
    assert {"/".join(name.split("/")[:2]) for name in objects(bucket / "stages")} == here
    assert not withdrawn.trained.checkpoint.path.exists()
    assert len(list(home.glob("mlartifacts/rmflow/models/m-*/artifacts"))) == 2
    assert list(home.glob(f"mlartifacts/rmflow/{kept_run}/artifacts/audit/audit.html"))
    assert not list(home.glob(f"mlartifacts/rmflow/{lost_run}/artifacts"))

    for command in (
        ("verify", "models:/reward-model/1"),
        ("verify", "models:/reward-model/2"),
        ("models", "show", "reward-model/2"),
        ("models", "compare", "reward-model/1", "reward-model/2"),
        ("models", "promote", "reward-model", "2", "--why", "a test"),
        ("models", "rollback", "reward-model", "--why", "a test"),
    ):
        code, _, err = rmflow(*command)
        assert code == 0, (command, err)
    record = versions.read_record(client.get_model_version("reward-model", "2")).record
    assert versions.read_report(record).model_dump_json() == audited

    with monkeypatch.context() as patch:
        patch.setattr(loop, "fit", None)
        assert retrain(tiny()).registered == champion.registered
    candidate = retrain(tiny(train=seeded(6)))
    assert read_report(candidate.judged.audited).provenance.champion_digest == champion.trained.checkpoint.digest
    assert candidate.registered.version == "3"


def test_what_a_run_has_done_so_far_stays_while_it_goes_on(home, tiny, monkeypatch):
    train(tiny(train=seeded(7)))
    found, check = [], preflight.check

    def cleaned(*arguments):
        found.extend(leftovers.remove(0, frozenset(), dry_run=False))
        return check(*arguments)

    monkeypatch.setattr(preflight, "check", cleaned)
    train(tiny(train=seeded(8), gate=LENIENT))
    kinds = [Path(each.what).parent.name for each in found if "stages" in each.what]
    # Of the first run; both share the sample, the snapshot and its survey.
    assert sorted(kinds) == ["labels", "tokenize", "train"]


def test_without_an_answer_from_the_copies_nothing_is_removed(home, rmflow, bucket, monkeypatch):
    left = home / "stages" / "train" / "a"
    left.mkdir(parents=True)
    monkeypatch.setenv("RMFLOW_STAGES", "s3://no-such/stages")
    monkeypatch.setattr("tasks.tracking.has_store", lambda: True)
    monkeypatch.setattr("tasks.versions.all_versions", lambda client: [])
    code, _, err = rmflow("clean", "--keep-days", "0")
    assert (code, err) == (1, "error: s3://no-such/stages: there is no bucket 'no-such'\n")
    assert left.is_dir()


def test_where_no_version_is_known_copies_stay(home, rmflow, bucket, monkeypatch):
    name = f"train/{'a' * 24}/{'b' * 64}/manifest.json"
    storage.write_text(bucket / name, "{}")
    monkeypatch.setenv("RMFLOW_STAGES", str(bucket))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setattr(old_copies, "_LEAST_DAYS", 0)
    assert rmflow("clean", "--keep-days", "0")[0] == 0
    assert objects(bucket) == {name}


def test_without_an_answer_from_mlflow_nothing_is_removed(home, rmflow, monkeypatch):
    left = home / "stages" / "train" / "a"
    left.mkdir(parents=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    code, _, err = rmflow("clean", "--keep-days", "0")
    assert code == 1 and err.startswith("error: MLflow at http://127.0.0.1:9 does not answer")
    assert left.is_dir()

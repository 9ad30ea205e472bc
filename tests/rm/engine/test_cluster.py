"""A cluster of two machines, each of which is a group of processes of this one."""

import functools
import gzip
import json
import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rm.data import json_rows, quarantine, reading, sources, store
from rm.data.config import IngestConfig
from rm.engine import choice, engines
from rm.errors import ClusterError, DataError, ModelError
from rm.model.config import ComputeConfig
from rm.score import stage
from rm.tokens import tokenization
from rm.tokens.config import TokenizeConfig

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")

OURS = uuid4().hex
"""Tells the workers of this cluster from those of another one on the machine."""
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module", autouse=True)
def two_machines():
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "OF_THIS_TEST": OURS}  # the workers inherit it
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    machine = {"num_cpus": 1, "object_store_memory": 2**27}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=machine | {"include_dashboard": False})
    cluster.add_node(**machine)
    os.environ["RAY_ADDRESS"] = cluster.address
    yield cluster
    del os.environ["RAY_ADDRESS"], os.environ["OF_THIS_TEST"]
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def cluster():
    return choice.chosen("ray", None)


def times(factor):
    return functools.partial(multiplied, factor)


def multiplied(factor, shard):
    if isinstance(shard, Exception):
        raise shard
    return factor * shard, ray.get_runtime_context().get_node_id()


def numbered(values):
    return ((f"shard {place}", value) for place, value in enumerate(values))


def test_results_come_in_order_from_both_machines(cluster):
    found = list(cluster.map(functools.partial(times, 10), numbered(range(40))))
    assert [value for value, _ in found] == list(range(0, 400, 10))
    assert len({machine for _, machine in found}) == 2


def test_few_shards_are_read_ahead(cluster):
    taken = []

    def shards():
        for number in range(100):
            taken.append(number)
            yield str(number), number

    results = cluster.map(functools.partial(times, 1), shards())
    next(results)
    assert len(taken) <= 8
    results.close()
    assert len(taken) <= 8


def test_an_error_of_ours_is_raised_as_it_is(cluster):
    with pytest.raises(ModelError, match=r"^too long$"):
        list(cluster.map(functools.partial(times, 10), numbered([1, ModelError("too long")])))


def test_any_other_error_names_the_shard(cluster):
    with pytest.raises(ClusterError, match=r"^shard 2: a worker failed: OSError: a full disk$"):
        list(cluster.map(functools.partial(times, 10), numbered([1, 2, OSError("a full disk"), 3])))


def dying(folder, every_time):
    return functools.partial(dies, folder, every_time)


def dies(folder, every_time, shard):
    attempts = folder / str(shard)
    attempts.write_text((attempts.read_text() if attempts.exists() else "") + "x")
    if shard == 3 and (every_time or attempts.read_text() == "x"):
        os.kill(os.getpid(), signal.SIGKILL)
    return shard


def test_a_shard_whose_worker_is_killed_is_done_again(cluster, tmp_path):
    make = functools.partial(dying, tmp_path, False)
    assert list(cluster.map(make, numbered(range(8)))) == list(range(8))
    assert (tmp_path / "3").read_text() == "xx"


def test_a_shard_that_kills_every_worker_names_itself(cluster, tmp_path):
    make = functools.partial(dying, tmp_path, True)
    with pytest.raises(ClusterError, match=r"^shard 3: its worker died"):
        list(cluster.map(make, numbered(range(8))))
    assert (tmp_path / "3").read_text() == "xxxx"


def read(find):
    return functools.partial(reads, find)


def reads(find, name):
    with find() as folder:
        return str(folder), (folder / name).read_text()


def test_files_of_a_folder_reach_machines_that_do_not_have_it(cluster, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.txt").write_text("one")
    find = cluster.folder(tmp_path)
    (tmp_path / "deep" / "a.txt").unlink()
    found = list(cluster.map(functools.partial(read, find), numbered(["deep/a.txt"] * 4)))
    assert [text for _, text in found] == ["one"] * 4
    assert not any(Path(folder).exists() for folder, _ in found)


def test_other_code_on_a_worker_is_refused(cluster, monkeypatch):
    from rm.engine import cluster as module

    monkeypatch.setattr(module, "_code", lambda make: ("rm.files", "0" * 64))
    with pytest.raises(ClusterError, match=r"expected the same code of rm\.files"):
        list(cluster.map(functools.partial(times, 1), numbered([1])))


def rows(start, number):
    return [
        {"prompt": f"prompt {i}", "chosen": f"good {i} ü", "rejected": f"bad {i}", "annotator": f"a{i % 3}"}
        for i in range(start, start + number)
    ]


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{place}.jsonl.gz" for place in range(5)]
    for place, path in enumerate(paths):
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows(place * 150, 200))
    (tmp_path / "wrong.jsonl").write_text('{"nothing": "known"}\n' * 3)
    (tmp_path / "broken.json").write_text('[{"prompt": "a"')
    return [*map(str, paths), str(tmp_path / "wrong.jsonl"), str(tmp_path / "broken.json"), str(tmp_path / "no.csv")]


def outcome(report):
    return report.sources, report.refused, report.table.digest, report.table.num_judgements


def test_annotations_are_read_as_in_one_process(cluster, files, tmp_path):
    here = store.append(files, tmp_path / "here", IngestConfig())
    there = store.append(files, tmp_path / "there", IngestConfig(), engine=cluster)
    assert [reason.replace("/there/", "/here/") for reason in there.refused] == list(here.refused)
    assert outcome(there)[0] == outcome(here)[0]
    assert outcome(there)[2:] == outcome(here)[2:]
    assert len(here.refused) == 3
    kept = [
        [{**row, "source": Path(row["source"]).name} for row in quarantine.rows(tmp_path / side)]
        for side in ("here", "there")
    ]
    assert kept[0] == kept[1] != []
    again = store.append(files[:5], tmp_path / "there", IngestConfig(), engine=cluster)
    assert [each.formats for each in again.sources] == [{}] * 5  # known, so not read a second time
    assert again.num_stored == 0


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_large_file_is_read_in_parts_by_several_workers(cluster, tmp_path, monkeypatch, ending):
    def opener(divided):
        sources.PART_SIZE, json_rows._LINES_AT_ONCE = 4000, 1000  # in the worker, which ends with this map
        return functools.partial(reading._opened, divided)

    monkeypatch.setattr(reading, "_opener", opener)
    carried = []
    shards = reading._shards

    def counted(*args):
        for name, source in shards(*args):
            carried.append(name)
            yield name, source

    monkeypatch.setattr(reading, "_shards", counted)
    path = tmp_path / f"large.{ending}"
    if ending == "jsonl":
        lines = [json.dumps(row) + "\n" for row in rows(0, 600)]
        path.write_text("".join([*lines[:500], '{"nothing": "known"}\n', *lines[500:]]), encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(rows(0, 600)), path, row_group_size=50)
    here = store.append([str(path)], tmp_path / "here", IngestConfig())
    there = store.append([str(path)], tmp_path / "there", IngestConfig(), engine=cluster)
    assert len(carried) > 5
    assert outcome(there) == outcome(here)
    sides = [[row["line"] for row in quarantine.rows(tmp_path / side)] for side in ("here", "there")]
    assert sides[0] == sides[1] == ([501] if ending == "jsonl" else [])


def test_a_source_that_cannot_be_read_by_any_worker_is_an_error_of_data(cluster, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        store.append([str(tmp_path / "none.csv")], tmp_path / "table", IngestConfig(), engine=cluster)


def test_token_ids_have_the_same_digest_as_in_one_process(cluster, dataset, llama, tokenized, tmp_path, monkeypatch):
    monkeypatch.setattr(tokenization, "_SHARD", 40)  # so that there are several
    seen = []
    for name, engine in (("here", engines.LOCAL), ("there", cluster)):
        made = tokenization.tokenize(
            dataset,
            llama,
            TokenizeConfig(max_tokens=512),
            tmp_path / name,
            lambda done, total: seen.append((done, total)),
            engine,
        )
        seen.append(made.digest)
    half = len(seen) // 2
    assert seen[:half] == seen[half:]
    assert len(seen) > 4


def test_rewards_are_those_of_one_process(cluster, checkpoint, tokenized, tmp_path):
    before = set(Path(tempfile.gettempdir()).glob("rmflow-*"))
    seen = {"local": [], "ray": []}
    scored = [
        stage.score(
            checkpoint,
            tokenized,
            ComputeConfig(engine=name, tokens_per_batch=64),
            tmp_path / name,
            lambda done, _, calls=calls: calls.append(done),
        )
        for name, calls in seen.items()
    ]
    assert scored[0].files == scored[1].files
    assert set(Path(tempfile.gettempdir()).glob("rmflow-*")) <= before  # no copy of the checkpoint is left
    assert seen["local"] == seen["ray"]
    assert len(seen["ray"]) > 2


def one_worker():
    """The process of a worker of this cluster."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended, or is another user's
            if b"ray::_Worker" in path.read_bytes() and OURS.encode() in path.with_name("environ").read_bytes():
                return int(path.parent.name)
    raise AssertionError("no worker runs")


def test_a_worker_that_is_killed_while_it_scores_changes_nothing(cluster, checkpoint, tokenized, tmp_path):
    before = stage.score(checkpoint, tokenized, ComputeConfig(tokens_per_batch=64), tmp_path / "before")
    killed = []

    def kill_one(done, total):
        if not killed:
            killed.append(one_worker())
            os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.1)

    compute = ComputeConfig(engine="ray", tokens_per_batch=64)
    after = stage.score(checkpoint, tokenized, compute, tmp_path / "after", kill_one)
    assert killed
    assert after.files == before.files

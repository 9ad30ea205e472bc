import os

import pytest

from tasks import processors, trial


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Control groups as the kernel shows them, on a machine of 64 processors; returns what may be used of it."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))

    def allowed(own, **files):
        for name, text in files.items():
            path = tmp_path / "mount" / name.replace("__", "/").replace("_max", ".max").replace("_cfs", ".cfs")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "own").write_text(own)
        return processors.allowed(tmp_path / "mount", tmp_path / "own")

    return allowed


def test_without_a_limit_there_is_none(groups):
    assert groups("0::/user/job\n", cpu_max="max 100000\n", user__job__cpu_max="max 100000\n") is None
    assert groups("", user__cpu_max="100000 100000\n") is None


def test_the_smallest_limit_on_the_way_up_counts(groups):
    assert groups("0::/user/job\n", user__cpu_max="150000 100000\n", user__job__cpu_max="400000 100000\n") == 1.5


def test_a_container_sees_its_group_as_the_root(groups):
    assert groups("0::/\n", cpu_max="200000 100000\n") == 2


def test_version_1_of_control_groups(groups):
    files = {"cpu__job__cpu_cfs_quota_us": "50000\n", "cpu__job__cpu_cfs_period_us": "100000\n"}
    assert groups("9:memory:/\n1:cpu:/job\n", **files) == 0.5
    assert groups("1:cpu:/job\n", cpu__job__cpu_cfs_quota_us="-1\n") is None


def test_an_affinity_is_a_limit(groups, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 4})
    assert groups("0::/\n", cpu_max="max 100000\n") == 2


@pytest.mark.parametrize(
    ("num_threads", "allowed", "hint"), [(4, 1.5, "OMP_NUM_THREADS=1"), (4, 0.5, "OMP_NUM_THREADS=1"), (4, 2, "=2")]
)
def test_more_threads_than_processors_are_a_remark(num_threads, allowed, hint):
    (remark,) = trial.thread_remarks(num_threads, allowed)
    assert remark.level == "warning" and hint in remark.text and f"{allowed:g}" in remark.text


@pytest.mark.parametrize(("num_threads", "allowed"), [(1, 0.5), (2, 2), (64, None)])
def test_no_more_threads_than_processors_are_none(num_threads, allowed):
    assert trial.thread_remarks(num_threads, allowed) == ()

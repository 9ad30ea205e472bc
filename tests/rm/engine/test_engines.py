import sys

import pytest

from rm.engine import choice, engines
from rm.errors import ConfigError


def test_work_in_this_process_is_done_one_shard_after_another():
    taken = []

    def shards():
        for number in range(3):
            taken.append(number)
            yield f"shard {number}", number

    results = engines.LOCAL.map(lambda: lambda shard: shard * 10, shards())
    assert next(results) == 0
    assert taken == [0]
    assert list(results) == [10, 20]


def test_a_folder_is_found_where_it_lies(tmp_path):
    with engines.LOCAL.folder(tmp_path)() as folder:
        assert folder == tmp_path


def test_work_is_done_in_this_process_unless_the_recipe_says_otherwise():
    assert choice.chosen("local", None) is engines.LOCAL


def test_without_ray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "rm.engine.cluster", raising=False)
    with pytest.raises(ConfigError, match=r"compute\.engine is ray.*rmflow\[ray\]"):
        choice.chosen("ray", None)

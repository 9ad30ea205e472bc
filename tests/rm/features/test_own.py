import re

import numpy as np
import pytest

from rm.errors import AuditError, ConfigError
from rm.features import battery, own
from rm.features.responses import Responses

PROMPTS = ["Why?", "Why?", "How?"]
RESPONSES = ["Because.", "So, please.", ""]


@pytest.fixture
def file(tmp_path):
    """Write a file of Python: ``file(text)`` gives its path."""

    def write(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_function_of_prompts_and_responses_is_a_feature(file):
    path = file(
        "def pleading(prompts, responses):\n"
        "    assert type(prompts) is type(responses) is list\n"
        "    return [len(p) * 100 + r.count('please') for p, r in zip(prompts, responses)]\n"
        "def empty(prompts, responses):\n"
        "    return [not one for one in responses]\n"
    )
    features, values = own.read([f"{path}:pleading", f"{path}:empty"], PROMPTS, RESPONSES)
    assert [(one.name, one.family) for one in features] == [("pleading", "own"), ("empty", "own")]
    np.testing.assert_array_equal(values, [[400, 0], [401, 0], [400, 1]])
    np.testing.assert_array_equal(battery.read(features, Responses(RESPONSES, PROMPTS)), values)


def test_no_function_gives_no_column():
    features, values = own.read([], PROMPTS, RESPONSES)
    assert features == ()
    assert values.shape == (3, 0)


def test_differences_of_functions_stand_before_those_that_came_with_the_rewards(file):
    path = file("def size(prompts, responses): return [len(one) for one in responses]\n")
    given = {"judge": np.array([0.5, -1.0])}
    features, values = own.differences([f"{path}:size"], ["a", "b"], ["xxx", "x"], ["x", "xx"], given)
    assert [one.name for one in features] == ["size", "judge"]
    assert {one.family for one in features} == {"own"}
    np.testing.assert_array_equal(values, [[2, 0.5], [-1, -1.0]])
    with pytest.raises(TypeError, match="has no function"):
        features[1].read(Responses(["a"], ["b"]))
    features, values = own.differences([], ["a", "b"], ["xxx", "x"], ["x", "xx"], {})
    assert (features, values.shape) == ((), (2, 0))


def test_a_file_may_use_what_needs_its_module(file):
    path = file(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Weight:\n"
        "    of: float = 2.0\n"
        "def weighed(prompts, responses): return [Weight().of] * len(responses)\n"
    )
    assert own.read([f"{path}:weighed"], PROMPTS, RESPONSES)[1].tolist() == [[2.0]] * 3


def test_a_changed_file_is_read_again_and_has_another_digest(file):
    path = file("def level(prompts, responses): return [1] * len(responses)\n")
    name = f"{path}:level"
    before = own.digests([name])
    assert own.read([name], PROMPTS, RESPONSES)[1].sum() == 3
    file("def level(prompts, responses): return [2] * len(responses)\n")
    assert own.digests([name]) != before
    assert own.read([name], PROMPTS, RESPONSES)[1].sum() == 6


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["mine.txt:size"], "audit.features: expected FILE:FUNCTION with a file of Python, got 'mine.txt:size'"),
        (["mine.py"], "audit.features: expected FILE:FUNCTION with a file of Python, got 'mine.py'"),
        (["mine.py:two words"], "audit.features: expected FILE:FUNCTION with a file of Python, got"),
        (["absent.py:size"], "audit.features: absent.py: no such file; expected FILE:FUNCTION"),
        (["mine.py:absent"], "audit.features: mine.py: expected a function absent, got None"),
        (["mine.py:LIMIT"], "audit.features: mine.py: expected a function LIMIT, got 3"),
        (["broken.py:size"], "audit.features: broken.py: cannot be run: SyntaxError: "),
        (["raising.py:size"], "audit.features: raising.py: cannot be run: ModuleNotFoundError: No module named"),
        (["mine.py:size", "other.py:size"], "expected another name for other.py:size: mine.py:size has a feature size"),
        (["mine.py:emoji"], "expected another name for mine.py:emoji: the battery has a feature emoji"),
        (["mine.py:log_words"], "expected another name for mine.py:log_words: the battery has a feature log_words"),
    ],
)
def test_a_name_that_gives_no_feature_is_an_error_that_says_why(file, monkeypatch, tmp_path, names, message):
    monkeypatch.chdir(tmp_path)
    body = "def {}(prompts, responses): return [1] * len(responses)\n"
    file("LIMIT = 3\n" + "".join(body.format(name) for name in ("size", "emoji", "log_words")))
    file(body.format("size"), "other.py")
    file("def size(:\n", "broken.py")
    file("import no_such_module_of_mine\n", "raising.py")
    with pytest.raises(ConfigError, match=re.escape(message)):
        own.load(names)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("[1, 2]", "expected 3 numbers, one per response, got 2 numbers"),
        ("None", "expected 3 numbers, one per response, got None"),
        ("[[1], [2], [3]]", "expected 3 numbers, one per response, got [[1], [2], [3]]"),
        ("['a', 'b', 'c']", "expected 3 numbers, got ['a', 'b', 'c']"),
        ("[1, float('nan'), 2]", "expected finite numbers, got nan for response 2"),
        ("[1, 2, float('inf')]", "expected finite numbers, got inf for response 3"),
        ("1 / 0", "raised ZeroDivisionError: division by zero"),
    ],
)
def test_a_function_that_gives_anything_but_a_number_per_response_is_named(file, result, message):
    path = file(f"def size(prompts, responses): return {result}\n")
    with pytest.raises(AuditError, match=re.escape(f"audit.features: {path}:size: {message}")):
        own.read([f"{path}:size"], PROMPTS, RESPONSES)


def test_a_column_of_the_scores_may_not_have_the_name_of_a_function_or_of_the_battery(file):
    path = file("def size(prompts, responses): return [1] * len(responses)\n")
    for names, column in (([f"{path}:size"], "size"), ([], "bold")):
        with pytest.raises(ConfigError, match=f"expected another name for {column} in the file of scores: "):
            own.differences(names, ["a"], ["b"], ["c"], {column: np.array([1.0])})

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rm.errors import ConfigError
from rm.pipeline import load
from rm.pipeline.yaml_text import values_of

LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 12)
)
FAULTS = {
    "gate: {checks: []}\nseed: 1\ngate: {}\n": "line 3: the key 'gate' stands twice; first in line 1",
    "train:\n  seed: 1\n  seed: 1\n": "line 3: the key 'seed' stands twice; first in line 2",
    "a: [{b: 1, b: 2}]": "line 1: the key 'b' stands twice",
    LAUGHS: "more than 10,000 values",
    "a: &a [*a]": "line 1: refers to itself",
    "[" * 60 + "]" * 60: "nested more than 50 deep",
    "[" * 5000 + "]" * 5000: "nested more than 50 deep",
    "day: 2026-02-30": "day",
    "a: [1": "line 1",
    "--- 1\n--- 2": "single document",
}


@pytest.mark.parametrize("text", FAULTS, ids=[f"fault {number}" for number in range(len(FAULTS))])
def test_a_fault_is_told_with_its_line(text, tmp_path):
    with pytest.raises(ValueError, match=FAULTS[text]):
        values_of(text)
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"recipe\.yaml: cannot be read as YAML"):
        load.load(path)
    with pytest.raises(ConfigError, match=r"(?s)--set gate=.*the value is not YAML"):
        load._apply({}, f"gate={text}")


def test_an_alias_stands_for_its_value_and_a_merged_key_may_be_set_again():
    text = "base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}\nsame: *base\n"
    assert values_of(text) == {"base": {"a": 1, "b": 2}, "other": {"a": 1, "b": 3}, "same": {"a": 1, "b": 2}}
    assert values_of("") is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_what_yaml_writes_is_read_as_by_yaml(values):
    text = yaml.safe_dump(values)
    assert values_of(text) == yaml.safe_load(text) == values

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rm.audit.config import AuditConfig
from rm.data.config import IngestConfig
from rm.errors import ConfigError
from rm.gate.checks import DEFAULT_CHECKS, Check
from rm.gate.policy import GatePolicy
from rm.model.config import ComputeConfig, ModelConfig, ScratchConfig
from rm.pipeline import load
from rm.pipeline.config import PipelineConfig, RegistryConfig
from rm.probes.config import ProbeConfig
from rm.train.config import TrainConfig

RECIPES = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))
MINIMAL = {"model": {"path": "weights"}}


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("model:\n  path: weights\n")
    return path


def write(path, values):
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return path


def refusal(path, *overrides):
    with pytest.raises(ConfigError) as caught:
        load.load(path, overrides)
    return str(caught.value)


def leaves(section, prefix=()):
    """Every (dotted key, value) of a nested mapping."""
    for key, value in section.items():
        if isinstance(value, dict):
            yield from leaves(value, (*prefix, key))
        else:
            yield ".".join((*prefix, key)), value


@pytest.mark.parametrize("name", ["..", "../../..", "a/../b", "a//b", "/", "a\x1b[2J", "a" * 201, " "])
def test_an_experiment_that_is_no_place_is_refused(name):
    with pytest.raises(ValidationError, match="experiment"):
        RegistryConfig(experiment=name)


@pytest.mark.parametrize("name", ["a/b", "it's", 'a"b', "a:b", "..", "a ", "", "a\n", "a\x00", "\u200b", "a" * 201])
def test_a_model_name_that_mlflow_would_refuse_after_the_training_is_refused(name):
    with pytest.raises(ValidationError, match="name"):
        RegistryConfig(name=name)


def test_names_as_people_give_them_are_taken():
    for name in ("reward-model", "Reward model 2.1", "belöhnung_7"):
        assert RegistryConfig(name=name, experiment=f"/Users/a@b.c/{name}").name == name


def test_there_are_recipes():
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_loads_and_says_what_it_holds(path):
    loaded = load.load(path).model_dump(mode="json")
    for key, value in leaves(yaml.safe_load(path.read_text())):
        found = loaded
        for part in key.split("."):
            found = found[part]
        assert found in (value, [value]), key


def test_a_dumped_config_loads_to_the_same_config(recipe, tmp_path):
    first = load.load(recipe, ["train.learning_rate=3e-4", "ingest.sources=[a.jsonl, b.jsonl]"])
    again = load.load(write(tmp_path / "again.yaml", first.model_dump(mode="json")))
    assert again == first


def test_left_out_sections_are_the_defaults(recipe):
    loaded = load.load(recipe)
    assert loaded.train == TrainConfig()
    assert loaded.gate.checks == DEFAULT_CHECKS
    assert loaded.sample is None


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-5", 1e-5), ("1.0e-5", 1e-5), ("1E-5", 1e-5), ("0.00001", 1e-5), ("5e-1", 0.5), ("1", 1.0), ("1e+1", 10.0)],
)
def test_an_override_takes_a_learning_rate_as_people_write_it(recipe, text, number):
    learning_rate = load.load(recipe, [f"train.learning_rate={text}"]).train.learning_rate
    assert isinstance(learning_rate, float)
    assert learning_rate == number


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_an_override_takes_any_number_as_python_prints_it(tmp_path_factory, number):
    path = tmp_path_factory.getbasetemp() / "any_number.yaml"
    path.write_text("model: {path: weights}\n")
    assert load.load(path, [f"train.learning_rate={number!r}"]).train.learning_rate == number


def test_a_recipe_takes_a_number_in_either_spelling(tmp_path):
    text = "model: {path: w}\ntrain: {learning_rate: 1e-5}\n"
    assert load.load(write(tmp_path / "a.yaml", text)).train.learning_rate == 1e-5


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("train.num_epochs=3", "train", "num_epochs", 3),
        ("train.max_pairs=null", "train", "max_pairs", None),
        ("train.precision=bfloat16", "train", "precision", "bfloat16"),
        ("ingest.sources=a.jsonl", "ingest", "sources", ("a.jsonl",)),
        ("ingest.sources=[a.jsonl, 'b=c.json']", "ingest", "sources", ("a.jsonl", "b=c.json")),
        ("ingest.sources=data/x=1/*.jsonl", "ingest", "sources", ("data/x=1/*.jsonl",)),
        ("ingest.sources=[]", "ingest", "sources", ()),
        ("snapshot.salt='2024'", "snapshot", "salt", "2024"),
    ],
)
def test_an_override_sets_one_key_and_leaves_the_rest(recipe, override, section, key, value):
    loaded, plain = load.load(recipe, [override]), load.load(recipe)
    assert getattr(getattr(loaded, section), key) == value
    changed = {section: getattr(plain, section).model_copy(update={key: value})}
    assert loaded == plain.model_copy(update=changed)


def test_overrides_reach_any_depth_and_make_sections_that_the_recipe_left_out(tmp_path):
    path = write(tmp_path / "a.yaml", "model:\n  scratch: {architecture: llama, sizes: {hidden_size: 8}}\nsample:\n")
    loaded = load.load(path, ["model.scratch.sizes.num_hidden_layers=2", "sample.num_prompts=50"])
    assert loaded.model.scratch.sizes == {"hidden_size": 8, "num_hidden_layers": 2}
    assert loaded.sample.num_prompts == 50


def test_an_audit_without_a_recipe_has_the_defaults_but_for_what_is_set():
    assert load.audit_settings([]) == AuditConfig()
    found = load.audit_settings(["audit.probes.keywords=[delve]", "audit.probes.budget=9", "audit.seed=4"])
    assert found == AuditConfig(seed=4, probes=ProbeConfig(keywords=("delve",), budget=9))
    with pytest.raises(ConfigError, match=r"--set: audit.probes.budge: unknown key, did you mean budget"):
        load.audit_settings(["audit.probes.budge=9"])


def test_a_key_that_would_have_no_effect_is_refused_without_a_recipe():
    with pytest.raises(ConfigError, match=r"--set: ingest: unknown key"):
        load.audit_settings(["ingest.ignore=[notes]"])
    with pytest.raises(ConfigError, match=r"--set: audit: unknown key"):
        load.ingest_settings(["audit.seed=4"])
    both = load.labelled_settings(["audit.seed=4", "ingest.ignore=[notes]"])
    assert (both.audit, both.ingest) == (AuditConfig(seed=4), IngestConfig(ignore=("notes",)))
    assert load.reading_settings(["ingest.format=trl"]) == IngestConfig(format="trl")
    for settings in (load.labelled_settings, load.reading_settings):
        with pytest.raises(ConfigError, match=r"--set ingest\.table: it has no effect here; of ingest only fields, "):
            settings(["ingest.table=mine"])


def test_a_whole_list_of_checks_can_be_given_in_one_override(recipe):
    loaded = load.load(recipe, ["gate.checks=[{name: accuracy, min_value: 0.6}, {name: other, max_value: 1e-2}]"])
    assert loaded.gate.checks == (Check(name="accuracy", min_value=0.6), Check(name="other", max_value=0.01))


def test_the_last_of_two_overrides_counts(recipe):
    assert load.load(recipe, ["train.seed=1", "train.seed=2"]).train.seed == 2


@pytest.mark.parametrize(
    "had", [{"scratch": {"architecture": "llama", "seed": 3}}, {"path": "weights"}, {"hub": "a/b"}]
)
@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("model.path=mine", "path", Path("mine")),
        ("model={path: mine}", "path", Path("mine")),
        ("model.hub=c/d", "hub", "c/d"),
        ("model.scratch.architecture=bert", "scratch", ScratchConfig(architecture="bert")),
        ("model.scratch={architecture: bert}", "scratch", ScratchConfig(architecture="bert")),
    ],
)
def test_a_base_model_that_is_set_takes_the_place_of_the_recipes(tmp_path, had, override, key, value):
    loaded = load.load(write(tmp_path / "a.yaml", {"model": had}), [override]).model
    if override == "model.scratch.architecture=bert" and "scratch" in had:
        value = ScratchConfig(architecture="bert", seed=3)
    assert loaded == ModelConfig(**{key: value})


def test_of_two_base_models_that_are_set_the_last_one_counts_and_the_rest_of_the_section_stays(tmp_path):
    path = write(tmp_path / "a.yaml", {"model": {"path": "weights", "num_heads": 3}})
    assert load.load(path, ["model.path=x", "model.hub=c/d"]).model == ModelConfig(hub="c/d", num_heads=3)
    assert load.load(path, ["model.hub=null"]).model == ModelConfig(path=Path("weights"), num_heads=3)


def test_a_recipe_that_names_two_base_models_is_refused(tmp_path):
    path = write(tmp_path / "a.yaml", {"model": {"path": "weights", "hub": "a/b"}})
    assert "exactly one of scratch, path and hub must be set, got ['path', 'hub']" in refusal(path)


@pytest.mark.parametrize("override", ["train.seed", "=3", ""])
def test_an_override_without_key_or_value_shows_how_it_is_written(recipe, override):
    message = refusal(recipe, override)
    assert f"--set {override}:" in message
    assert "expected key=value" in message


def test_an_override_below_a_value_says_that_it_is_no_section(recipe):
    assert "path is a value, not a section" in refusal(recipe, "model.path.name=x")
    assert "checks is a value, not a section" in refusal(recipe, "gate.checks=[]", "gate.checks.0.min_value=1")


def test_an_override_that_is_not_yaml_is_named(recipe):
    assert "--set ingest.sources=[a: the value is not YAML" in refusal(recipe, "ingest.sources=[a")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.learningrate=1", "train.learningrate: unknown key, did you mean learning_rate?"),
        ("trian.seed=1", "trian: unknown key, did you mean train?"),
        ("model.scratch={architecture: a, vocabsize: 300}", "model.scratch.vocabsize: unknown key, did you mean vocab"),
        ("gate.checks=[{name: a, max_val: 1}]", "gate.checks.0.max_val: unknown key, did you mean max_value?"),
        ("snapshot.zzz=1", "snapshot.zzz: unknown key; known keys: heldout_share, validation_share, exclude, salt"),
    ],
)
def test_a_misspelt_key_is_named_by_its_path_and_the_near_one_suggested(recipe, override, expected):
    message = refusal(recipe, override)
    assert expected in message
    assert str(recipe) in message


@pytest.mark.parametrize("key", ["tokens_per_batch", "gradient_checkpointing", "compile"])
def test_a_key_that_has_moved_is_refused_with_its_name_of_today(recipe, tmp_path, key):
    value = getattr(ComputeConfig(), key)
    path = write(tmp_path / "old.yaml", {**MINIMAL, "train": {key: value}})
    assert refusal(path) == f"{path}: train.{key}: unknown key; its name is compute.{key} now"
    assert f"train.{key}: unknown key; its name is compute.{key} now" in refusal(recipe, f"train.{key}={value}")
    assert load.load(write(path, {**MINIMAL, "compute": {key: value}})) == load.load(recipe)


def test_the_planted_length_bias_has_a_new_name(recipe):
    assert "sample.length_bias: unknown key; its name is sample.biases.length now" in refusal(
        recipe, "sample.length_bias=3"
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.num_epochs=two", r"train.num_epochs: Input should be a valid integer.*, got 'two'"),
        ("train.num_epochs=1.5", r"train.num_epochs: .*integer.*, got 1.5"),
        ("train.num_epochs=[1]", r"train.num_epochs: .*integer.*, got \[1\]"),
        ("train.learning_rate=fast", r"train.learning_rate: .*number.*, got 'fast'"),
        ("train.learning_rate=0", r"train.learning_rate: .*greater than 0.*, got 0"),
        ("train.precision=float16", r"train.precision: .*'float32', 'bfloat16' or 'auto', got 'float16'"),
        ("train=3", r"train: .*, got 3"),
        ("snapshot.heldout_share=1", r"snapshot.heldout_share: .*less than 1.*, got 1"),
        ("snapshot.validation_share=-0.1", r"snapshot.validation_share: .*greater than or equal to 0.*, got -0.1"),
        (
            "snapshot={heldout_share: 0.75, validation_share: 0.25}",
            r"snapshot: .*0.75 and .*0.25 leave nothing to train",
        ),
        ("ingest.table=../elsewhere", r"ingest.table: .*, got '../elsewhere'"),
        ("ingest.sources=7", r"ingest.sources: .*, got 7"),
        ("gate.checks=[]", r"gate.checks: .*at least 1"),
    ],
)
def test_a_wrong_value_says_where_what_was_expected_and_what_came(recipe, override, expected):
    with pytest.raises(ConfigError, match=expected):
        load.load(recipe, [override])


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
@pytest.mark.parametrize("key", ["train.learning_rate", "train.weight_decay", "sample.biases.length"])
def test_a_number_that_is_not_finite_is_refused(recipe, key, value):
    assert f"{key}: Input should be" in refusal(recipe, f"{key}={value}")


def test_a_check_cannot_be_disarmed_by_a_limit_that_nothing_exceeds():
    for limit in (math.inf, math.nan):
        with pytest.raises(ValidationError, match="finite"):
            Check(name="accuracy", max_value=limit)


def test_every_mistake_is_listed_on_a_line_of_its_own(recipe):
    message = refusal(recipe, "train.num_epochs=0", "train.sed=1", "snapshot.heldout_share=2")
    assert [line.split(":")[0].strip() for line in message.splitlines()[1:]] == ["train.num_epochs", "train.sed"]
    assert "snapshot.heldout_share" in message.splitlines()[0]


def test_a_missing_file_is_named(tmp_path):
    assert refusal(tmp_path / "gone.yaml").startswith(f"{tmp_path / 'gone.yaml'}: no such file")


def test_a_folder_is_named(tmp_path):
    assert refusal(tmp_path).startswith(f"{tmp_path}: cannot be read as YAML")


@pytest.mark.parametrize(
    ("text", "kind"), [("", "NoneType"), ("# only a comment\n", "NoneType"), ("- a\n- b\n", "list"), ("abc", "str")]
)
def test_yaml_that_is_no_mapping_says_what_it_is(tmp_path, text, kind):
    assert f"expected a mapping of sections at the top, got {kind}" in refusal(write(tmp_path / "a.yaml", text))


@pytest.mark.parametrize("content", [b"model: [", b"model: \xff\n", b"a: b: c\n", b"!!python/object:os.system {}\n"])
def test_what_is_not_safe_yaml_is_an_error_that_names_the_file(tmp_path, content):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path}: cannot be read as YAML")


def test_a_recipe_without_a_model_says_so(tmp_path):
    assert "model: missing; it has no default" in refusal(write(tmp_path / "a.yaml", "train: {seed: 1}\n"))


def test_made_up_and_real_annotations_do_not_mix(recipe):
    message = refusal(recipe, "sample.seed=0", "ingest.sources=a.jsonl")
    assert "sample and ingest.sources are both set" in message
    assert load.load(recipe, ["sample.seed=0"]).sample.seed == 0


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model={}", "exactly one of scratch, path and hub must be set, got none"),
        ("model={path: a, hub: b}", r"exactly one of scratch, path and hub must be set, got ['path', 'hub']"),
        ("model={path: a, pooling: token}", "pooling_token must be set if pooling is token, and only then"),
        ("model={path: a, pooling_token: '[CLS]'}", "pooling_token must be set if pooling is token, and only then"),
    ],
)
def test_a_base_model_is_given_in_one_way(recipe, override, expected):
    assert f"model: {expected}" in refusal(recipe, override)


def test_a_check_that_could_not_fail_is_refused(recipe):
    assert "check 'a' has neither min_value nor max_value" in refusal(recipe, "gate.checks=[{name: a}]")


def test_two_checks_of_one_name_are_refused(recipe):
    checks = "gate.checks=[{name: a, min_value: 0}, {name: a, max_value: 1}]"
    assert "two checks share a name" in refusal(recipe, checks)


def test_the_default_checks_can_fail_and_say_why():
    for check in GatePolicy().checks:
        assert check.why
        assert check.min_value is None or check.max_value is None or check.min_value < check.max_value


@pytest.mark.parametrize("section", sorted(set(PipelineConfig.model_fields) - {"sample", "model"}))
def test_no_section_can_be_changed_once_made(section):
    loaded = PipelineConfig.model_validate(MINIMAL)
    key = next(iter(type(getattr(loaded, section)).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(getattr(loaded, section), key, None)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(loaded, section, None)


def test_a_single_source_is_a_list_of_one():
    assert IngestConfig(sources="a.jsonl").sources == ("a.jsonl",)


def test_an_override_of_any_length_is_told_in_a_line(recipe):
    told = refusal(recipe, f"train.seed={'[' * 10_000}")
    assert "the value is not YAML" in told and len(told) < 400

"""Files of twins: what is read, what is refused, and what six published models do on a dialect."""

import csv
import gzip
import json

import numpy as np
import pytest

from rm.audit.twins import Twins, measure
from rm.errors import AuditError, DataError
from rm.standalone import twins as twin_files
from rm.stats.config import BootstrapConfig

CONFIG = BootstrapConfig(num_resamples=100)
RESPONSE = {"prompt_id": "a", "kind": "name", "reward": 1.0, "reward_twin": 0.5}
PAIR = {
    "prompt_id": 7,
    "kind": "dialect",
    "reward_chosen": 1.5,
    "reward_rejected": -0.5,
    "twin_reward_chosen": 0.25,
    "twin_reward_rejected": 1.0,
}
MEASURED = {  # accuracy on the originals and on the twins, change of the reward in standard deviations
    "NCSOFT_Llama-3-OffsetBias-RM-8B": (0.8850, 0.8361, -0.3689),
    "Ray2333_Gemma-2B-rewardmodel-baseline": (0.7059, 0.6842, -0.4225),
    "allenai_llama-3-tulu-2-8b-uf-mean-rm": (0.7179, 0.6606, -0.7436),
    "internlm_internlm2-1_8b-reward": (0.8253, 0.7889, -0.3547),
    "openbmb_Eurus-RM-7b": (0.8036, 0.7680, -0.6187),
    "sfairXC_FsfairX-LLaMA3-RM-v0.1": (0.8253, 0.8058, -0.4168),
}


@pytest.fixture
def write(tmp_path):
    """Write rows as lines of JSON, or as CSV: ``write(rows, name)``."""

    def make(rows, name="twins.jsonl"):
        path = tmp_path / name
        if name.endswith(".csv"):
            with path.open("w", newline="", encoding="utf-8") as handle:
                writer = csv.DictWriter(handle, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        else:
            lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
            path.write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)
        return path

    return make


@pytest.mark.parametrize("name", ["twins.jsonl", "twins.jsonl.gz", "twins.csv"])
def test_responses_are_read_by_kind(write, name):
    rows = [RESPONSE, {**RESPONSE, "kind": "claim"}, {**RESPONSE, "prompt_id": "b", "reward": -2}, RESPONSE]
    found = twin_files.read(write(rows, name))
    assert [(each.kind, each.num_clusters, each.has_pairs) for each in found.kinds] == [
        ("name", 2, False),
        ("claim", 1, False),
    ]
    assert found.kinds[0].reward.tolist() == [[1.0], [-2.0], [1.0]]
    assert found.kinds[0].reward_twin.tolist() == [[0.5]] * 3
    assert found.kinds[0].cluster.tolist() == [0, 1, 0]
    assert found.num_rows == 4


@pytest.mark.parametrize("name", ["twins.jsonl", "twins.csv"])
def test_pairs_are_read(write, name):
    (found,) = twin_files.read(write([PAIR, {**PAIR, "prompt_id": 8}], name)).kinds
    assert found.reward.tolist() == [[1.5, -0.5]] * 2
    assert found.reward_twin.tolist() == [[0.25, 1.0]] * 2
    assert (found.kind, found.has_pairs, found.num_clusters) == ("dialect", True, 2)


PLAIN = {"reward": 1.0, "reward_twin": 0.5}


def test_a_prompt_is_known_by_its_id_or_its_text_and_the_two_are_never_taken_for_each_other(write):
    prompts = [
        {"prompt": "Why?"},
        {"prompt": [{"role": "user", "content": "Why? "}]},
        {"prompt_id": "Why?"},
        {"prompt": "How?"},
        {"prompt_id": 3},
        {"prompt_id": "3"},
    ]
    (found,) = twin_files.read(write([{**PLAIN, **prompt} for prompt in prompts])).kinds
    assert found.cluster.tolist() == [0, 0, 1, 2, 3, 3]
    assert found.kind is None


@pytest.mark.parametrize("more", [{"input": "Because of the rain?"}, {"history": [["Hi.", "Hello."]]}])
def test_prompts_that_differ_in_what_stands_beside_them_are_two(write, more):
    rows = [{**PLAIN, "prompt": "Why?"}, {**PLAIN, "prompt": "Why?", **more}, {**PLAIN, "prompt": "Why?"}]
    (found,) = twin_files.read(write(rows)).kinds
    assert found.cluster.tolist() == [0, 1, 0]


def test_an_empty_id_is_none_and_a_whole_number_is_its_text(write):
    prompts = [{"prompt_id": "", "prompt": "Why?"}, {"prompt_id": None, "prompt": "How?"}, {"prompt_id": 3.0}]
    rows = [{**PLAIN, **prompt} for prompt in (*prompts, {"prompt_id": "3"}, {"prompt_id": 3})]
    (found,) = twin_files.read(write(rows)).kinds
    assert found.cluster.tolist() == [0, 1, 2, 2, 2]
    with pytest.raises(DataError, match="row 1: expected prompt_id or prompt, got neither"):
        twin_files.read(write([{**PLAIN, "prompt_id": "", "prompt": ""}]))


@pytest.mark.parametrize("key", ["prompt", "prompt_id", "text"])
def test_half_a_surrogate_pair_is_refused(write, key):
    row = {**PLAIN, "prompt": "Why?", "text": "a", "twin": "b", key: "a\ud800"}
    with pytest.raises(DataError, match=rf"row 1: the {key} holds half a surrogate pair"):
        twin_files.read(write([row]))


def test_near_duplicate_prompts_are_one_and_so_is_what_an_id_links_with_them(write):
    long = "Please tell me why the sky over the sea is so blue in the morning"
    prompts = [
        {"prompt": long},
        {"prompt_id": 1, "prompt": f"{long}!"},
        {"prompt_id": 1, "prompt": "How?"},
        {"prompt_id": 1},
        {"prompt": "How?"},
        {"prompt_id": 2, "prompt": "Where?"},
    ]
    (found,) = twin_files.read(write([{**PLAIN, **prompt} for prompt in prompts])).kinds
    assert found.cluster.tolist() == [0, 0, 0, 0, 0, 1]


def test_the_numbers_of_a_kind_do_not_depend_on_the_other_kinds(write):
    generator = np.random.default_rng(0)
    rows = [
        {"prompt_id": str(number), "kind": kind, "reward": reward, "reward_twin": reward + generator.normal()}
        for kind in ("name", "claim")
        for number, reward in enumerate(generator.normal(size=30).tolist())
    ]
    both = twin_files.read(write(rows)).measure(CONFIG)
    (alone,) = twin_files.read(write(rows[:30])).measure(CONFIG)
    assert both[0] == alone
    assert both[1].kind == "claim"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "expected rows with rewards of twins, got none"),
        ([RESPONSE, {**RESPONSE, "reward_twin": None}], "row 2: reward_twin: expected a finite number, got NoneType"),
        ([{**RESPONSE, "reward": "high"}], "row 1: reward: expected a finite number, got str 'high'"),
        ([{**RESPONSE, "reward": "inf"}], "row 1: reward: expected a finite number, got str 'inf'"),
        ([{**RESPONSE, "reward": "1_000"}], "row 1: reward: expected a finite number, got str '1_000'"),
        ([{**RESPONSE, "reward": "\uff11"}], "row 1: reward: expected a finite number, got str '\uff11'"),
        ([{**RESPONSE, "reward": True}], "row 1: reward: expected a finite number, got bool"),
        ([{**PAIR, "twin_reward_rejected": None}], "row 1: twin_reward_rejected: expected a finite number"),
        ([{"prompt_id": 1, "score": 2}], r"reward and reward_twin, or .*, got the fields \['prompt_id', 'score'\]"),
        ([{"reward": 1.0, "reward_twin": 0.5}], "expected prompt_id or prompt, got neither"),
        ([{**RESPONSE, "prompt_id": [1]}], r"prompt_id: expected a name, got list \[1\]"),
        ([{**RESPONSE, "prompt_id": None, "prompt": 4}], "prompt: expected text or a list of messages, got int 4"),
        ([{**RESPONSE, "kind": "source style"}], "kind: expected letters, digits, .* got 'source style'"),
        ([{**RESPONSE, "kind": "a/b"}], "kind: expected letters"),
        ([{**RESPONSE, "kind": 3}], "kind: expected letters, digits, .* got 3"),
        ([RESPONSE, {**RESPONSE, "kind": None}], "row 2: kind: expected one, as in earlier rows, got None"),
        ([{**RESPONSE, "kind": None}, RESPONSE], "row 2: kind: expected none, as in earlier rows, got name"),
        ([RESPONSE, PAIR], "row 2: expected one response, as in earlier rows, got a pair"),
        ([{**RESPONSE, "text": "Yes"}], "row 1: twin: expected text, got NoneType"),
        (["no"], "row 1: expected an object with named fields, got str"),
    ],
)
def test_a_bad_row_is_told_in_one_sentence_with_the_file(write, rows, message):
    path = write(rows)
    with pytest.raises(DataError, match=message) as raised:
        twin_files.read(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_a_reward_that_is_too_large_is_told_with_the_file_and_row(write):
    path = write([{**RESPONSE, "reward": 1e200}])
    with pytest.raises(DataError, match=r"twins.jsonl: row 1: reward: expected a number of size 1e\+12 at most"):
        twin_files.read(path)


def test_a_file_in_place_of_the_folder_is_not_overwritten(write, tmp_path):
    found = twin_files.read(write([RESPONSE]))
    (tmp_path / "report").write_text("mine")
    with pytest.raises(AuditError, match="expected a folder for the report, got a file"):
        twin_files.write_files(found.measure(CONFIG), found, tmp_path / "report")
    assert (tmp_path / "report").read_text() == "mine"


@pytest.fixture(scope="module")
def published(shared_data):
    """Rewards that each of six published models gave to RewardBench pairs and to their dialect twins."""
    folder = shared_data / "reward_models"

    def rows(name):
        with gzip.open(folder / f"{name}.jsonl.gz", "rt") as lines:
            return [json.loads(line) for line in lines]

    def rewards(name):
        return [tuple(float(np.ravel(row[side])[0]) for side in ("chosen", "rejected")) for row in rows(name)]

    ids = [str(row["prompt"]) for row in rows("pairs_original")]
    both = {model: [rewards(f"{model}.{name}") for name in ("original", "dialect_twin")] for model in MEASURED}
    return {model: measure(Twins.of(ids, *sides, "dialect"), CONFIG) for model, sides in both.items()}


@pytest.mark.parametrize("model", MEASURED)
def test_six_published_models_are_less_accurate_on_a_dialect_and_give_it_lower_rewards(published, model):
    result = published[model]
    findings = {finding.name: finding for finding in result.findings}
    change = findings["twin_change_dialect"]
    assert (result.accuracy, result.accuracy_twin, change.estimate) == pytest.approx(MEASURED[model], abs=5e-5)
    assert (result.num_prompts, result.num_pairs) == (1612, 1843)
    assert change.ci_high < 0
    assert result.p_value == 1 / 10_001
    for name in ("accuracy", "confidence"):
        assert findings[f"twin_{name}_change_dialect"].ci_high < 0
    assert findings["twin_lower_share_dialect"].ci_low > 0.7


def test_the_accuracy_of_the_published_models_falls_by_about_four_points_on_average(published):
    """Mire et al. (2025) report 4 points over 17 models."""
    changes = [result.accuracy_twin - result.accuracy for result in published.values()]
    assert np.mean(changes) == pytest.approx(-0.0365, abs=5e-5)

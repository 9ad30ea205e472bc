import gzip
import json

import numpy as np
import pytest

from rm.audit import best_of_n_labels
from rm.errors import DataError
from rm.standalone import candidates
from rm.stats.config import BootstrapConfig
from rm.stats.measurements import Measurements

ROW = {"instruction": "Why?", "candidates": ["No.", "Because."], "rewards": [0.5, -1], "preference": [0.25, None]}
PICKED = {"prompt": "Why?", "candidates": ["No.", "Because."], "picked_by": {"one": 1, "other": 0}}


def written(tmp_path, *rows):
    path = tmp_path / "candidates.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_rewards_and_labels_are_read(tmp_path):
    chat = [{"role": "user", "content": "Who?"}]
    more = {"prompt": chat, "candidates": ["I", "You", "We"], "rewards": [1, 2, 3], "preference": [0.5], "reference": 3}
    found = candidates.read(written(tmp_path, ROW, more, {**ROW, "preference": None}))
    (picker,) = found.pickers
    assert (picker.name, picker.scored) == ("candidates", True)
    np.testing.assert_array_equal(picker.reward, [0.5, -1, 1, 2, 3, 0.5, -1])
    np.testing.assert_array_equal(found.sets.label, [0.25, np.nan, 0.5, *[np.nan] * 4])
    np.testing.assert_array_equal(found.sets.set_of, [0, 0, 1, 1, 1, 2, 2])
    np.testing.assert_array_equal(found.sets.cluster, [0, 1, 0])  # the third row has the prompt of the first
    assert found.sets.prompts == ("Why?", "Who?", "Why?")
    assert found.sets.texts == ("No.", "Because.", "I", "You", "We", "No.", "Because.")
    assert len(found.digest) == 64


@pytest.mark.parametrize("more", [{"input": "Because of the rain?"}, {"history": [["Hi.", "Hello."]]}])
def test_prompts_that_differ_in_what_stands_beside_them_are_two(tmp_path, more):
    found = candidates.read(written(tmp_path, ROW, {**ROW, **more}, ROW)).sets
    assert found.cluster.tolist() == [0, 1, 0]


def test_near_duplicate_prompts_are_one_as_in_an_audit_of_scores(tmp_path):
    question = "Why is the sky so blue in the morning"
    rows = [{**ROW, "instruction": f"{question}{'!' * number}"} for number in range(120)]
    assert candidates.read(written(tmp_path, *rows)).sets.num_prompts == 1
    with_tools = [{**ROW, "tools": [{"name": name}]} for name in "aba"]
    np.testing.assert_array_equal(candidates.read(written(tmp_path, *with_tools)).sets.cluster, [0, 0, 0])


def test_picks_of_several_models_are_read_also_from_a_compressed_file(tmp_path):
    path = tmp_path / "picks.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(PICKED).encode()))
    found = candidates.read(path)
    assert [(picker.name, picker.scored, picker.reward.tolist()) for picker in found.pickers] == [
        ("one", False, [0, 1]),
        ("other", False, [1, 0]),
    ]
    assert not found.sets.labelled.any()


def test_a_policy_may_say_nothing(tmp_path):
    path = tmp_path / "model.jsonl"
    path.write_text(json.dumps({"prompt": "Why?", "candidates": ["No.", ""], "rewards": [0, 1]}))
    found = candidates.read(path)
    assert found.sets.texts == ("No.", "")
    assert np.isfinite(found.sets.features).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidates": "No."}, "candidates: expected a list of texts, got str"),
        ({"candidates": ["No."]}, "candidates: expected at least two texts, got one"),
        ({"candidates": ["No.", None]}, r"candidates: expected a list of texts, got list"),
        ({"candidates": ["No.", "\ud800"]}, r"the candidates\[1\] holds half a surrogate pair"),
        ({"instruction": None}, "expected either instruction or prompt, got neither"),
        ({"prompt": "Why?"}, "expected either instruction or prompt, got both"),
        ({"instruction": 3}, "instruction: expected text or a list of messages, got int 3"),
        ({"instruction": [{"role": "assistant", "content": "a"}]}, "the prompt must end with a user message"),
        ({"rewards": None}, "expected either rewards or picked_by, got neither"),
        ({"picked_by": {"one": 0}}, "expected either rewards or picked_by, got both"),
        ({"rewards": [1]}, "rewards: expected a list of 2 numbers, one per candidate, got a list of 1"),
        ({"rewards": 1}, "rewards: expected a list of 2 numbers, one per candidate, got int 1"),
        ({"rewards": [1, "two"]}, r"rewards\[1\]: expected a finite number, got str 'two'"),
        ({"rewards": [1, float("nan")]}, r"rewards\[1\]: expected a finite number, got float nan"),
        ({"preference": [0.1, 0.2, 0.3]}, "preference: expected a list of at most 2 numbers .* got a list of 3"),
        ({"preference": 0.5}, "preference: expected a list of at most 2 numbers .* got float 0.5"),
        ({"preference": [0.1, 1.5]}, r"preference\[1\]: expected a probability, 0 to 1, got 1.5"),
        ({"preference": [True]}, r"preference\[0\]: expected a finite number, got bool"),
        ({"rewards": None, "picked_by": []}, "picked_by: expected an object of models with their picks, got a list"),
        ({"rewards": None, "picked_by": {"one": 2}}, "picked_by.one: expected the index of a candidate, 0 to 1, got 2"),
        ({"rewards": None, "picked_by": {"one": True}}, "picked_by.one: expected the index of a candidate"),
        ({"rewards": None, "picked_by": {"one": 1}}, "expected rewards as in the first row, got picked_by"),
    ],
)
def test_a_bad_row_is_named_with_its_key(tmp_path, changes, message):
    with pytest.raises(DataError, match=rf"candidates\.jsonl: row 2: .*{message}"):
        candidates.read(written(tmp_path, ROW, {**ROW, **changes}))


def test_a_file_that_cannot_be_counted_as_a_whole_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"row 2: picked_by: expected the models of the first row, \['one', 'other'\]"):
        candidates.read(written(tmp_path, PICKED, {**PICKED, "picked_by": {"one": 1}}))
    for content, message in (("", "expected rows with candidates, got none"), ("3\n", "row 1: expected an object")):
        (tmp_path / "empty.jsonl").write_text(content)
        with pytest.raises(DataError, match=message):
            candidates.read(tmp_path / "empty.jsonl")


def test_what_published_models_pick_of_sixteen_is_as_measured(shared_data):
    """Of 805 prompts; pairs count those that are no near-duplicates. Labels are on the first 11, which are shorter."""
    found = candidates.read(shared_data / "best_of_n" / "alpaca_eval_16.jsonl.gz")
    assert (len(found.sets.cluster), len(found.sets.texts), found.sets.labelled.sum()) == (805, 12_880, 8_855)
    assert found.sets.length[found.sets.labelled].mean() == pytest.approx(1308, abs=1)
    assert found.sets.length[~found.sets.labelled].mean() == pytest.approx(1745, abs=1)
    shares = {}
    for picker in found.pickers:
        collected = Measurements(found.sets.num_prompts, BootstrapConfig(num_resamples=100))
        best_of_n_labels.add_lengths(collected, found.sets, picker)
        best_of_n_labels.add_win_rates(collected, found.sets, picker)
        numbers = {one.name: one for one in collected.findings().values()}
        over = numbers["picks_over_random"]
        share = numbers["longest_pick_share"].estimate
        shares[picker.name.rpartition("/")[2]] = (round(share, 3), round(over.estimate, 3), over.num_pairs)
    assert numbers["longest_pick_chance"].estimate == pytest.approx(0.071, abs=5e-4)  # some are of equal length
    assert shares == {
        "hh_rlhf_rm_open_llama_3b": (0.388, -0.001, 333),
        "beaver-7b-v1.0-reward": (0.383, 0.007, 283),
        "UltraRM-13b": (0.222, 0.107, 314),
        "beaver-7b-v1.0-cost": (0.166, -0.010, 418),
        "oasst-rm-2.1-pythia-1.4b-epoch-2.5": (0.117, 0.024, 469),
        "reward-model-deberta-v3-large-v2": (0.099, -0.029, 489),
    }


def test_what_random_longest_and_best_picks_of_eleven_are_worth_is_as_measured(shared_data):
    found = candidates.read(shared_data / "best_of_n" / "alpaca_eval_16.jsonl.gz")
    picker = best_of_n_labels.Picker(name="shortest", reward=-found.sets.length, scored=True)
    collected = Measurements(found.sets.num_prompts, BootstrapConfig(num_resamples=100))
    best_of_n_labels.add_win_rates(collected, found.sets, picker)
    numbers = {one.labels["of"]: one.estimate for one in collected.findings().values() if set(one.labels) == {"of"}}
    expected = {"model": 0.264, "random": 0.320, "longest": 0.369, "oracle": 0.592}
    assert numbers == pytest.approx(expected, abs=5e-4)

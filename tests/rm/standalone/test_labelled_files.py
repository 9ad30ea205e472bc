import json

import numpy as np
import pytest

from rm.audit.config import AuditConfig
from rm.data.config import IngestConfig
from rm.data.preferences import Message
from rm.errors import AuditError, DataError
from rm.score.stage import Scorer
from rm.standalone import labelled_files

OURS = {"prompt": "Why?", "first": "So.", "second": "Because.", "preference": 0.0}
ALPACA = {"instruction": "Why?", "output_1": "So.", "output_2": "Because.", "preference": 2.0}
TRL = {"prompt": "Why?", "chosen": "Because.", "rejected": "So.", "subset": "mine"}
HH = {side: f"\n\nHuman: Why?\n\nAssistant: {text}" for side, text in (("chosen", "Because."), ("rejected", "So."))}


@pytest.fixture
def read(tmp_path):
    def make(rows, **settings):
        path = tmp_path / "data.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return labelled_files.read(path, IngestConfig(**settings))

    return make


def by_length(data):
    return [np.array([float(len(text)) for text in responses]) for _, responses in data.items]


@pytest.mark.parametrize("row", [OURS, ALPACA, TRL, HH], ids=["ours", "alpaca", "trl", "hh"])
def test_every_format_of_annotations_becomes_pairs(read, row):
    data = read([row])
    assert data.benchmark is None
    ((prompt, responses),) = data.items
    assert prompt == (Message("user", "Why?"),)
    assert set(responses) == {"Because.", "So."}
    heldout = data.heldout(by_length(data), [np.array([len(text) * 10 for text in responses])])
    assert (heldout.pairs.chosen, heldout.pairs.rejected) == (("Because.",), ("So.",))
    assert heldout.pairs.margin.tolist() == [5.0]
    assert heldout.pairs.length_difference.tolist() == [50.0]
    assert data.formulas(by_length(data), AuditConfig()) == ()


@pytest.mark.parametrize("row", [OURS, ALPACA, TRL, HH], ids=["ours", "alpaca", "trl", "hh"])
def test_every_format_of_annotations_may_have_a_sampling_probability(read, row):
    data = read([{**row, "sampling_probability": 0.25}])
    assert data.heldout(by_length(data), None).pairs.sampling_probability.tolist() == [0.25]
    some = read([{**row, "sampling_probability": 0.25}, {**TRL, "prompt": "How?"}])
    with pytest.raises(AuditError, match=r"data\.jsonl: sampling_probability: expected it of every pair or of none"):
        some.heldout(by_length(some), None)


def test_columns_of_your_own_are_read_as_in_ingestion(read):
    row = {"asked": "Why?", "good": "Because.", "bad": "So.", "notes": "They did not agree at all.", "domain": "x"}
    fields = {"prompt": "asked", "chosen": "good", "rejected": "bad"}
    (group,) = read([row], fields=fields, ignore=("notes",)).groups
    assert (set(group.responses), group.domain) == ({"Because.", "So."}, "x")
    for settings in ({}, {"fields": fields}, {"ignore": ("notes",)}):
        with pytest.raises(DataError, match="1 of 1 rows are unusable"):
            read([row], **settings)


def test_the_format_and_the_share_of_unusable_rows_can_be_set(read):
    rows = [{**OURS, "prompt": f"{place}?"} for place in range(8)]
    assert len(read([*rows, {}], max_quarantined_share=0.2).problems) == 1
    with pytest.raises(DataError, match=r"1 of 9 rows are unusable, expected at most a share of 0\.1;"):
        read([*rows, {}], max_quarantined_share=0.1)
    with pytest.raises(DataError, match=r"chosen: ingest\.format is trl, but the row has no such column"):
        read(rows, format="trl")
    benchmark = {**TRL, "subset": "alpacaeval-easy"}
    assert read([benchmark]).benchmark is not None
    assert read([benchmark], format="trl").benchmark is None


@pytest.mark.parametrize("key", ["subset", "domain", "id", "num_correct", "label"])
@pytest.mark.parametrize("value", [["a"], {"a": 1}, None, 3, 2.5, True])
def test_whatever_a_column_holds_the_file_is_read_or_refused(read, key, value):
    benchmarks = [
        {**TRL, "subset": "alpacaeval-easy"},
        {**TRL, "chosen": ["a"], "rejected": ["b"], "num_correct": 1, "id": "1"},
        {**TRL, "chosen": ["a"] * 3, "rejected": ["b"] * 3, "domain": "chat"},
        {"input": "Why?", "output_1": "a", "output_2": "b", "label": 1},
        {"question": "Why?", "response_A": "a", "response_B": "b", "label": "A>B"},
    ]
    for row in benchmarks:
        try:
            assert read([{**row, key: value}]).num_rows == 1
        except DataError as error:
            assert "row 1" in str(error)


def test_votes_are_merged_and_rows_that_repeat_are_counted(read):
    votes = [{**OURS, "preference": share, "annotator": name} for share, name in [(0, "a"), (0, "b"), (1, "c")]]
    data = read([*votes, votes[0], {**OURS, "prompt": "How?", "preference": 0.5}])
    assert (data.num_rows, data.num_duplicates, data.problems) == (5, 1, ())
    heldout = data.heldout(by_length(data), None)
    assert heldout.pairs.preference.tolist() == pytest.approx([2 / 3])
    assert heldout.table["num_judgements"].to_pylist() == [3]
    assert heldout.num_label_ties == 1


def test_a_response_without_a_reward_is_left_out_with_its_pairs(read):
    data = read([OURS, {**OURS, "prompt": "How?"}])
    rewards = by_length(data)
    rewards[0][1] = np.nan
    heldout = data.heldout(rewards, None)
    assert (heldout.num_unscored, len(heldout.pairs.margin), len(heldout.responses.reward)) == (1, 1, 3)


def test_what_a_model_says_of_the_items_can_be_audited(read, checkpoint):
    data = read([OURS, {**OURS, "prompt": "How?", "first": "Thus."}])
    scored = Scorer(checkpoint.path).score_items(data.items)
    heldout = data.heldout([one.rewards for one in scored], [one.num_tokens for one in scored])
    assert heldout.length_unit == "tokens"
    assert heldout.responses.reward.tolist() == [reward for one in scored for reward in one.rewards]
    assert heldout.responses.length.tolist() == [count for one in scored for count in one.num_tokens]
    assert heldout.responses.texts == tuple(text for _, responses in data.items for text in responses)


def test_a_domain_is_a_name_or_missing(read):
    rows = [{**TRL, "prompt": f"{place}?"} for place in range(39)]
    (group,) = read([{**TRL, "domain": float("nan"), "source": float("nan")}]).groups
    assert (group.domain, group.source) == ("mine", None)
    for key in ("subset", "source"):
        data = read([*rows, {**TRL, key: ["maths"]}])
        assert data.problems == (f"row 40: {key}: expected a name, got list ['maths']",)
        assert len(data.groups) == 39


@pytest.mark.parametrize(("one", "other"), [("mine", "yours"), ("alpacaeval-easy", "alpacaeval-hard")])
def test_prompts_of_several_domains_are_told(read, one, other):
    row = {**TRL, "subset": one}
    data = read([row, {**row, "rejected": "No.", "subset": other}, {**row, "prompt": "How?"}])
    assert data.mixed == ("Why?",)
    assert (data.benchmark is None) == (one == "mine")
    assert read([row, {**row, "rejected": "No."}, {**row, "prompt": "How?", "subset": other}]).mixed == ()


def test_a_few_unusable_rows_are_told_and_many_are_refused(read):
    rows = [{**OURS, "prompt": f"{place}?"} for place in range(39)]
    data = read([*rows, {**OURS, "second": "So. "}])
    assert data.problems == ("row 40: both responses are the same text",)
    assert len(data.groups) == 39
    with pytest.raises(DataError, match=r"3 of 40 rows are unusable, .*; the first, row 38: no known format"):
        read([*rows[:37], {}, {}, {}])
    with pytest.raises(DataError, match="expected rows with labelled responses, got none"):
        read([])


@pytest.mark.parametrize(
    ("name", "num_rows", "num_unusable"),
    [("hh_rlhf/harmless_base_test.jsonl.gz", 2312, 9), ("alpaca_eval/gemma-7b-it.json.gz", 805, 0)],
)
def test_real_annotations_are_read(shared_data, name, num_rows, num_unusable):
    data = labelled_files.read(shared_data / name)
    assert (data.num_rows, len(data.problems)) == (num_rows, num_unusable)
    heldout = data.heldout(by_length(data), None)
    num_pairs = len(heldout.pairs.margin) + heldout.num_label_ties
    assert num_pairs == num_rows - num_unusable - data.num_duplicates
    if name.startswith("hh"):
        differs = heldout.pairs.length_difference != 0
        assert heldout.pairs.correct[differs].mean() == pytest.approx(0.445, abs=1e-3)

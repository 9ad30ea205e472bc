import csv
import gzip
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.audit.heldout import PAIRS_SCHEMA
from rm.errors import AuditError, DataError
from rm.standalone import score_files

PAIRS = [
    {"prompt": "Why?", "chosen": "So it is.", "rejected": "No", "reward_chosen": 1.5, "reward_rejected": -0.5},
    {"prompt": "Why?", "chosen": "So it is.", "rejected": "Ünd", "reward_chosen": 1.5, "reward_rejected": 2.0},
    {"prompt": "How?", "chosen": "Thus", "rejected": "Never, ever", "reward_chosen": 0.25, "reward_rejected": 0.25},
]
RESPONSES = [
    {"prompt": "2 + 2?", "response": "4", "reward": 3.0, "label": 1, "prompt_id": "a", "num_tokens": 2},
    {"prompt": "2 + 2?", "response": "four", "reward": 1.0, "label": 1, "prompt_id": "a", "num_tokens": 3},
    {"prompt": "2 + 2?", "response": "five", "reward": 2.0, "label": 0, "prompt_id": "a", "num_tokens": 4},
    {"prompt": "1 + 1?", "response": "2", "reward": 0.0, "label": 2, "prompt_id": "b", "num_tokens": 5},
    {"prompt": "1 + 1?", "response": "3", "reward": 0.5, "label": -1, "prompt_id": "b", "num_tokens": 6},
    {"prompt": "0 + 1?", "response": "1", "reward": 0.75, "label": 1, "prompt_id": "c", "num_tokens": 7},
]


def sampled(*probabilities):
    return [{**row, "sampling_probability": each} for row, each in zip(PAIRS, probabilities, strict=False)]


@pytest.mark.parametrize("name", ["scores.jsonl", "scores.csv", "scores.parquet"])
def test_sampling_probabilities_become_weights(write, name):
    pairs = score_files.read(write(sampled(0.5, 1.0, 0.25), name)).heldout.pairs
    assert pairs.sampling_probability.tolist() == [0.5, 1.0, 0.25]
    assert pairs.weight == pytest.approx(np.array([2, 1, 4]) * 3 / 7)
    assert score_files.read(write(sampled(None, None, None))).heldout.pairs.sampling_probability is None


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (sampled(0.5, 0, 0.5), "row 2: sampling_probability: expected a number from 1e-09 to 1, got 0"),
        (sampled(0.5, 1.5, 0.5), "row 2: sampling_probability: expected a number from 1e-09 to 1, got 1.5"),
        (sampled(0.5, "often"), "row 2: sampling_probability: expected a finite number, got str 'often'"),
        (sampled(0.5, float("nan")), "row 2: sampling_probability: expected a finite number, got float nan"),
        (
            [*sampled(0.5), {**PAIRS[0], "sampling_probability": 0.25}],
            "row 2: sampling_probability: expected 0.5 as in an earlier row with the same pair, got 0.25",
        ),
        (
            [{**RESPONSES[0], "sampling_probability": 0.5}],
            "row 1: sampling_probability: expected rows of pairs, since a pair has it; got a row of one response",
        ),
    ],
)
def test_a_probability_that_is_none_names_its_row(write, rows, sentence):
    with pytest.raises(DataError, match=re.escape(sentence)):
        score_files.read(write(rows))


def test_probabilities_of_only_some_pairs_are_refused(write):
    with pytest.raises(
        AuditError, match=r"scores\.jsonl: sampling_probability: expected it of every pair or of none, got it of 2 of 3"
    ):
        score_files.read(write(sampled(0.5, None, 0.5)))


def judged(label="A>B", scores=((2.0, 1.0), (1.0, 2.0)), **change):
    return {
        "pair_id": "1",
        "source": "mmlu-pro-law",
        "question": "Is it?",
        "response_A": "It is.",
        "response_B": "It is not.",
        "label": label,
        "judgments": [{"judgment": {"scores": list(one)}, "decision": "A>B"} for one in scores],
        **change,
    }


@pytest.fixture
def write(tmp_path):
    """Write rows as lines of JSON, or in the format that the name's ending says: ``write(rows, name)``."""

    def make(rows, name="scores.jsonl"):
        path = tmp_path / name
        if name.endswith(".csv"):
            with path.open("w", newline="", encoding="utf-8") as handle:
                writer = csv.DictWriter(handle, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        elif name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
            content = json.dumps(rows).encode() if ".json" in path.suffixes else lines
            path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return make


def changed(rows, at, **change):
    return [{**row, **change} if place == at else row for place, row in enumerate(rows)]


def pair_list(heldout):
    columns = ["prompt", "chosen", "rejected", "reward_chosen", "reward_rejected"]
    return [tuple(row.values()) for row in heldout.table.select(columns).to_pylist()]


def test_pairs_whose_prompt_has_another_name_have_that_prompt(write):
    rows = [
        {
            "instruction": f"Question {number}?",
            "chosen": f"A good answer {number}.",
            "rejected": f"A bad answer, number {number}.",
            "reward_chosen": 1.0,
            "reward_rejected": 0.5,
        }
        for number in range(40)
    ]
    assert len(score_files.read(write(rows)).heldout.prompt_ids) == 40
    for row in rows:
        row["persona"] = row.pop("instruction")
    with pytest.raises(DataError, match=r"row 1: there is no prompt"):
        score_files.read(write(rows))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz", "a.csv", "a.parquet"])
def test_pairs_are_the_same_from_every_kind_of_file(write, name):
    found = score_files.read(write(PAIRS, name))
    assert (found.format, found.num_rows, found.num_duplicates, found.num_rescored) == ("pairs", 3, 0, 0)
    heldout = found.heldout
    assert pair_list(heldout) == [tuple(row.values()) for row in PAIRS]
    assert heldout.pairs.correct.tolist() == [1, 0, 0.5]
    assert heldout.pairs.cluster.tolist() == [0, 0, 1]
    assert heldout.num_clusters == 2
    assert heldout.responses.texts == ("So it is.", "No", "Ünd", "Thus", "Never, ever")
    assert heldout.responses.reward.tolist() == [1.5, -0.5, 2.0, 0.25, 0.25]
    assert heldout.responses.cluster.tolist() == [0, 0, 0, 1, 1]
    assert heldout.table.schema == PAIRS_SCHEMA


def test_lengths_are_code_points_unless_every_row_has_tokens(write):
    texts = changed(PAIRS, 1, rejected="👍🏽e\u0301")
    found = score_files.read(write(texts)).heldout
    assert found.length_unit == "characters"
    assert found.pairs.length_rejected.tolist() == [2, 4, 11]
    assert found.responses.length.tolist() == [9, 2, 4, 4, 11]
    counted = [{**row, "num_tokens_chosen": 7, "num_tokens_rejected": 3} for row in PAIRS]
    found = score_files.read(write(counted)).heldout
    assert found.length_unit == "tokens"
    assert found.pairs.length_chosen.tolist() == [7, 7, 7]
    assert set(found.table["length_unit"].to_pylist()) == {"tokens"}
    assert score_files.read(write(changed(counted, 2, num_tokens_rejected=None))).heldout.length_unit == "characters"


def test_messages_are_read_as_a_conversation(write):
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    talk += [{"role": "user", "content": "Why?"}]
    sides = {side: [*talk, {"role": "assistant", "content": side}] for side in ("chosen", "rejected")}
    rows = [{"prompt": talk, **sides, "reward_chosen": 1, "reward_rejected": 0}]
    for row in (rows, [{**rows[0], "chosen": "chosen", "rejected": "rejected"}]):
        (found,) = score_files.read(write(row)).heldout.table.to_pylist()
        assert (found["chosen"], found["rejected"]) == ("chosen", "rejected")
        assert found["prompt"] == "user: Hi\n\nassistant: Yes?\n\nuser: Why?"
        assert (found["num_turns"], found["prompt_characters"]) == (3, 10)


def test_rows_that_differ_in_their_tools_alone_have_different_prompts(write):
    def tools(name):
        return json.dumps([{"name": name}])

    read = [
        score_files.read(write(rows)).heldout
        for rows in (
            [{**PAIRS[0], "tools": tools("a")}, {**PAIRS[1], "tools": tools("b")}],
            [{**row, "prompt_id": None, "tools": tools(name)} for row, name in zip(RESPONSES[1:3], "aa", strict=True)],
        )
    ]
    assert [prompt[0].content for heldout in read for prompt in heldout.prompts] == [*map(tools, "ab"), tools("a")]
    assert read[0].table["num_turns"].to_pylist() == [1, 1]


def test_the_reasoning_of_a_side_is_a_part_of_it(write):
    row = {**PAIRS[0], "reasoning_chosen": "It must be."}
    (found,) = score_files.read(write([row])).heldout.table.to_pylist()
    assert (found["chosen"], found["rejected"]) == ("<think>\nIt must be.\n</think>\n\nSo it is.", "No")


def test_domain_and_source_are_kept(write):
    rows = [{**PAIRS[0], "subset": "math", "source": "web"}, {**PAIRS[2], "domain": "code", "subset": "x"}]
    table = score_files.read(write(rows)).heldout.table
    assert table["domain"].to_pylist() == ["math", "code"]
    assert table["source"].to_pylist() == ["web", None]
    assert table["num_judgements"].to_pylist() == [1, 1]


def test_prompts_of_several_domains_are_told(write):
    domains = [{**PAIRS[0], "subset": "hard"}, {**PAIRS[1], "domain": "easy"}, {**PAIRS[2], "domain": "easy"}]
    assert score_files.read(write(domains)).mixed == ("Why?",)
    apart = [{**row, "prompt_id": name} for row, name in zip(domains, "xyz", strict=True)]
    for rows in (apart, changed(domains, 0, subset=None), PAIRS):
        assert score_files.read(write(rows)).mixed == ()


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_columns_named_feature_are_features_of_the_pairs(write, name):
    columns = ("feature_judge_chosen", "feature_judge_rejected", "feature_is_odd_chosen", "feature_is_odd_rejected")
    values = [(0.5, -1.0, 1, 0), (0.5, 2.5, 1, 1), (4.0, 4.0, 0, 1)]
    rows = [{**row, **dict(zip(columns, each, strict=True))} for row, each in zip(PAIRS, values, strict=True)]
    pairs = score_files.read(write(rows, name)).heldout.pairs
    assert {name: values.tolist() for name, values in pairs.own.items()} == {
        "judge": [1.5, -2.0, 0.0],
        "is_odd": [1.0, 0.0, -1.0],
    }
    taken = pairs.take(np.array([2, 0]))
    assert taken.own["judge"].tolist() == [0.0, 1.5]
    assert taken.chosen == ("Thus", "So it is.")
    assert score_files.read(write(PAIRS, name)).heldout.pairs.own == {}


def test_a_margin_column_of_the_scorer_is_not_taken_for_a_label(write):
    rows = [{**row, "margin": -2.0, "score_chosen": 0, "score_rejected": 1} for row in PAIRS]
    assert pair_list(score_files.read(write(rows)).heldout) == pair_list(score_files.read(write(PAIRS)).heldout)


def test_prompts_are_the_prompt_ids_or_else_the_texts_and_one_text_is_one_cluster(write):
    other = [{**row, "prompt_id": name} for row, name in zip(PAIRS, ["x", "y", "z"], strict=True)]
    found = score_files.read(write(other)).heldout
    assert (found.num_clusters, found.prompt_ids) == (2, ("x", "y", "z"))
    assert (found.pairs.prompt.tolist(), found.pairs.cluster.tolist()) == ([0, 1, 2], [0, 0, 1])
    rows = [{**row, "id": place} for place, row in enumerate(PAIRS)]
    assert score_files.read(write(rows)).heldout.num_clusters == 2


def test_responses_of_different_label_are_pairs_and_all_of_them_count(write):
    found = score_files.read(write(RESPONSES))
    assert found.format == "responses"
    heldout = found.heldout
    assert {row[1:3] for row in pair_list(heldout)} == {("4", "five"), ("four", "five"), ("2", "3")}
    assert sorted(heldout.pairs.margin.tolist()) == [-1.0, -0.5, 1.0]
    assert len(heldout.responses.reward) == 6
    assert heldout.responses.length.tolist() == [2, 3, 4, 5, 6, 7]
    assert heldout.length_unit == "tokens"
    assert heldout.num_label_ties == 0
    assert heldout.num_clusters == 3


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=2, max_size=12))
def test_pairs_of_responses_match_a_slow_loop(tmp_path_factory, drawn):
    rows = [
        {"prompt": f"prompt {group}", "response": f"text {place}", "reward": place, "label": label}
        for place, (group, label) in enumerate(drawn)
    ]
    expected = {
        (one["prompt"], one["response"], other["response"], float(one["reward"]), float(other["reward"]))
        for one in rows
        for other in rows
        if one["prompt"] == other["prompt"] and one["label"] > other["label"]
    }
    path = tmp_path_factory.mktemp("drawn") / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if not expected:
        with pytest.raises(AuditError, match="has a majority and two rewards"):
            score_files.read(path)
        return
    found = pair_list(score_files.read(path).heldout)
    assert len(found) == len(expected)
    assert set(found) == expected


def test_judgebench_rewards_stand_with_their_responses(write):
    found = score_files.read(write([judged(), judged("B>A", question="Was it?")]))
    assert found.format == "judgebench"
    assert pair_list(found.heldout) == [
        ("Is it?", "It is.", "It is not.", 2.0, 1.0),
        ("Was it?", "It is not.", "It is.", 1.0, 2.0),
    ]
    assert found.heldout.table["source"].to_pylist() == ["mmlu-pro-law"] * 2
    assert found.num_rescored == 0
    single = score_files.read(write([judged(scores=[(2.0, 1.0)])]))
    assert single.heldout.pairs.margin.tolist() == [1.0]


def test_rows_that_repeat_are_counted_and_count_once(write):
    found = score_files.read(write([*PAIRS, PAIRS[0], PAIRS[0]]))
    assert (found.num_rows, found.num_duplicates) == (5, 2)
    assert pair_list(found.heldout) == pair_list(score_files.read(write(PAIRS)).heldout)
    found = score_files.read(write([*RESPONSES, RESPONSES[1]]))
    assert found.num_duplicates == 1
    assert len(found.heldout.responses.reward) == 6


def test_a_pair_that_was_decided_both_ways_is_a_tie(write):
    swap = {"chosen": "No", "rejected": "So it is.", "reward_chosen": -0.5, "reward_rejected": 1.5}
    found = score_files.read(write([*PAIRS, {**PAIRS[0], **swap}])).heldout
    assert found.num_label_ties == 1
    assert pair_list(found) == [tuple(row.values()) for row in PAIRS[1:]]


def test_rewards_of_one_response_may_differ_by_noise_only(write):
    spread = np.std([1.5, -0.5, 2.0, 0.25, 0.25])
    found = score_files.read(write(changed(PAIRS, 1, reward_chosen=1.5 + 0.04 * spread)))
    assert found.num_rescored == 1
    np.testing.assert_allclose(found.heldout.pairs.reward_chosen, [1.5 + 0.02 * spread] * 2 + [0.25], rtol=1e-12)
    with pytest.raises(DataError, match=r"row 2: reward: expected 1\.5 as in row 1 for the same response"):
        score_files.read(write(changed(PAIRS, 1, reward_chosen=1.5 - 0.11 * spread)))


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (1, 2, 0), (2, 1, 0)])
def test_how_far_rewards_of_one_response_may_differ_does_not_depend_on_the_order(write, order):
    # Whatever comes first: the outer two of three are too far apart, though each is near enough to the one between.
    noise = [RESPONSES[0] | {"reward": 3.0 + 0.08 * place} for place in range(3)]
    with pytest.raises(DataError, match=r"reward: expected .* for the same response to the same prompt"):
        score_files.read(write([*RESPONSES[1:], *(noise[place] for place in order)]))
    assert score_files.read(write([*RESPONSES[1:], *(noise[place] for place in order if place < 2)])).num_rescored == 1


def test_a_response_that_differs_in_white_space_alone_is_the_first_one(write):
    again = {**RESPONSES[0], "response": "4\n", "reward": -9.0, "num_tokens": 3}
    for place in (1, len(RESPONSES)):
        found = score_files.read(write([*RESPONSES[:place], again, *RESPONSES[place:]]))
        assert (found.num_duplicates, found.num_rescored, found.num_respelled) == (1, 0, 1)
        assert found.heldout.table.equals(score_files.read(write(RESPONSES)).heldout.table)
    with pytest.raises(
        DataError, match=r"row 7: label: expected 1\.0 as in row 1 for a response that is equal but for"
    ):
        score_files.read(write([*RESPONSES, {**again, "label": 0}]))


def test_labels_that_differ_by_rounding_are_equal(write):
    rows = [{**RESPONSES[0], "label": 0.1 + 0.2}, {**RESPONSES[1], "label": 0.3}, {**RESPONSES[2], "label": 0.2}]
    found = score_files.read(write(rows)).heldout
    assert {row[1:3] for row in pair_list(found)} == {("4", "five"), ("four", "five")}


def test_a_pair_of_one_text_in_judgebench_is_no_pair(write):
    same = judged(question="Was it?", response_B="It is. ", scores=[(1.0, 1.0)])
    found = score_files.read(write([judged(), same]))
    assert (found.num_duplicates, len(found.heldout.pairs.margin)) == (1, 1)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_other_numbers_beside_a_pair_without_a_prompt_are_ignored(write, name):
    sides = {side: f"\n\nHuman: Why?\n\nAssistant: {side}" for side in ("chosen", "rejected")}
    row = {**sides, "reward_chosen": 1.0, "reward_rejected": 0.5, "score_chosen": 0.5, "score_rejected": 2.5}
    assert pair_list(score_files.read(write([row], name)).heldout) == [("Why?", "chosen", "rejected", 1.0, 0.5)]


@pytest.mark.parametrize("key", ["prompt", "chosen", "rejected", "domain", "source", "prompt_id"])
def test_half_a_surrogate_pair_is_refused(write, key):
    with pytest.raises(DataError, match=r"row 1: .*holds half a surrogate pair"):
        score_files.read(write([{**PAIRS[0], key: "a\ud800"}]))
    with pytest.raises(DataError, match=r"row 1: the feature holds half a surrogate pair"):
        score_files.read(write([{**PAIRS[0], "feature_\ud800_chosen": 1, "feature_\ud800_rejected": 1}]))


@pytest.mark.parametrize("scores", [[(2.0, 1.0), (2.0, 1.0)], [(2.0, 1.0), (1.0, 3.0)]])
def test_judgebench_scores_that_change_with_the_order_are_refused(write, scores):
    path = write([judged(question="Was it?"), judged(scores=scores)])
    with pytest.raises(DataError, match=f"{path}: row 2: reward: expected .* same response to the same prompt"):
        score_files.read(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            changed(PAIRS, 1, reward_chosen=float("nan")),
            "row 2: reward_chosen: expected a finite number, got float",
        ),
        (
            changed(PAIRS, 1, reward_rejected=float("inf")),
            "row 2: reward_rejected: expected a finite number",
        ),
        (changed(PAIRS, 1, reward_chosen=None), "row 2: reward_chosen: expected a finite number, got NoneType None"),
        (changed(PAIRS, 1, reward_chosen="high"), "row 2: reward_chosen: expected a finite number, got str 'high'"),
        (changed(PAIRS, 1, reward_chosen=True), "row 2: reward_chosen: expected a finite number, got bool True"),
        (changed(PAIRS, 2, chosen=["Thus"]), r"row 3: chosen\[0\]: expected {role, content}"),
        (changed(PAIRS, 2, chosen="  "), "row 3: the first response is empty"),
        (changed(PAIRS, 2, chosen="Never, ever "), "row 3: both responses are the same text"),
        (changed(PAIRS, 2, prompt=[]), "row 3: there is no prompt"),
        (changed(PAIRS, 0, num_tokens_chosen=1.5), "row 1: num_tokens_chosen: expected a number of tokens, got 1.5"),
        (changed(PAIRS, 0, num_tokens_chosen=4), "row 2: num_tokens: expected 4 as in row 1 for the same response"),
        (changed(PAIRS, 1, prompt_id="x"), "row 2: prompt_id: expected none, as in earlier rows"),
        (changed(RESPONSES, 3, prompt_id="a"), "row 4: prompt_id: an earlier row has 'a' with another prompt"),
        (changed(RESPONSES, 3, prompt_id=None), "row 4: prompt_id: expected one, as in earlier rows"),
        (changed(RESPONSES, 1, label=None), "row 2: label: expected a finite number"),
        (changed(RESPONSES, 1, response=""), "row 2: the response is empty"),
        (changed(RESPONSES, 1, response=4), "row 2: response: expected text, got int 4"),
        (
            changed(RESPONSES, 1, response="4", label=0),
            r"row 2: label: expected 1\.0 as in row 1",
        ),
        (changed(RESPONSES, 1, response="\ud800"), "row 2: the response holds half a surrogate pair"),
        (changed(PAIRS, 0, feature_x_chosen=1), "row 1: feature_x_rejected: expected a finite number, got NoneType"),
        (
            changed(PAIRS, 0, feature_x_chosen="odd", feature_x_rejected=1),
            "row 1: feature_x_chosen: expected a finite number, got str 'odd'",
        ),
        (
            changed(PAIRS, 2, feature_x_chosen=1, feature_x_rejected=2),
            "row 3: expected no features as in row 1, got the features x",
        ),
        (
            [{**row, "feature_x_chosen": at, "feature_x_rejected": 0} for at, row in enumerate(PAIRS)],
            r"row 2: features: expected {'x': 0\.0} as in row 1 for the same response, got {'x': 1\.0}",
        ),
        ([*PAIRS, RESPONSES[0]], "row 4: expected the format of the earlier rows, pairs, got responses"),
        ([{"prompt": "Why?", "chosen": "a", "rejected": "b"}], "row 1: no known format has the fields"),
        ([*PAIRS, ["a"]], "row 4: expected an object with named fields, got list"),
        ([judged("A=B")], "row 1: label: expected A>B or B>A, got str 'A=B'"),
        ([judged(judgments=[])], "row 1: judgments: expected a list of one judgement"),
        ([judged(judgments=[None, None])], r"row 1: judgments\[0\].judgment.scores: expected the two rewards"),
        ([judged(scores=[(1.0, None)])], r"row 1: judgments\[0\].judgment.scores\[1\]: expected a finite number"),
        ([judged(scores=[(1.0, 2.0), (1.0,)])], r"row 1: judgments\[1\].judgment.scores: expected the two rewards"),
    ],
)
def test_a_bad_row_is_an_error_that_names_file_row_and_key(write, rows, message):
    path = write(rows)
    with pytest.raises(DataError, match=f"^{path}: {message}"):
        score_files.read(path)


@pytest.mark.parametrize("text", ["1_000", "\uff11", "0x1", "nan", "inf"])
def test_a_text_is_a_number_only_if_it_can_be_nothing_else(write, text):
    for key in ("reward_chosen", "num_tokens_chosen", "feature_x_chosen"):
        row = {**PAIRS[0], "num_tokens_chosen": 1, "feature_x_chosen": 1, "feature_x_rejected": 1, key: text}
        with pytest.raises(DataError, match=f"row 1: {key}: expected a finite number, got str '{text}'"):
            score_files.read(write([row]))


def test_what_is_missing_in_a_column_of_numbers_is_no_name(write):
    names = {"domain": float("nan"), "subset": 3.0, "source": float("nan"), "prompt_id": float("nan")}
    found = score_files.read(write([{**row, **names} for row in PAIRS])).heldout
    assert set(found.table["domain"].to_pylist()) == {"3"}
    assert set(found.table["source"].to_pylist()) == {None}
    assert (len(found.prompt_ids), found.num_clusters) == (2, 2)


@pytest.mark.parametrize("key", ["prompt_id", "domain", "subset", "source"])
@pytest.mark.parametrize("value", [[], {}, ["maths"]])
def test_a_list_is_no_name(write, key, value):
    kind = type(value).__name__
    for rows in (changed(PAIRS, 0, **{key: value}), changed(RESPONSES, 0, **{key: value})):
        with pytest.raises(DataError, match=f"row 1: {key}: expected a name, got {kind} {re.escape(str(value))}"):
            score_files.read(write(rows))


def test_a_file_without_rows_or_decided_pairs_is_refused(write, tmp_path):
    with pytest.raises(DataError, match="expected rows with scores, got none"):
        score_files.read(write([]))
    with pytest.raises(AuditError, match=r"scores\.jsonl: none of the held-out pairs has a majority and two rewards"):
        score_files.read(write(RESPONSES[:2]))
    with pytest.raises(DataError, match="no such file"):
        score_files.read(tmp_path / "absent.jsonl")
    broken = tmp_path / "broken.jsonl"
    broken.write_text(json.dumps(PAIRS[0]) + "\n{")
    with pytest.raises(DataError, match="row 2: not JSON at column 2"):
        score_files.read(broken)


def test_the_published_judgebench_scores_are_read(shared_data):
    (path,) = (shared_data / "judgebench").glob("*.jsonl.gz")
    found = score_files.read(path)
    heldout = found.heldout
    assert (found.format, found.num_rows, found.num_duplicates, found.num_rescored) == ("judgebench", 350, 0, 0)
    assert (len(heldout.prompt_ids), len(heldout.pairs.margin), heldout.length_unit) == (350, 350, "characters")
    assert int((heldout.pairs.margin > 0).sum()) == 218
    assert int((heldout.pairs.margin == 0).sum()) == 1
    assert heldout.pairs.correct.mean() == 218.5 / 350
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        rows = [json.loads(line) for line in handle]
    expected = [row["response_A" if row["label"] == "A>B" else "response_B"] for row in rows]
    assert sum(row["label"] == "A>B" for row in rows) == 193
    assert list(heldout.pairs.chosen) == expected

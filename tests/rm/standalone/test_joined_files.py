import gzip
import json
import random

import numpy as np
import pytest

from rm.audit.config import AuditConfig
from rm.data.config import IngestConfig
from rm.errors import AuditError, DataError
from rm.standalone import joined_files, score_files

PAIRS = [
    {"idx": 0, "prompt": "Why?", "chosen": "So it is.", "rejected": "No"},
    {"idx": 1, "prompt": "Why?", "chosen": "So it is.", "rejected": "Und"},
    {"idx": 2, "prompt": "How?", "chosen": "Thus", "rejected": "Never, ever"},
]
REWARDS = [
    {"chosen": [1.5], "rejected": [-0.5]},
    {"chosen": [1.5], "rejected": [2]},
    {"chosen": 0.25, "rejected": 0.25},
]
EXPECTED = [("Why?", "So it is.", "No", 1.5, -0.5), ("Why?", "So it is.", "Und", 1.5, 2.0)]
EXPECTED += [("How?", "Thus", "Never, ever", 0.25, 0.25)]


@pytest.fixture
def read(tmp_path):
    """Write rewards and pairs as lines of JSON, and read them together."""

    def make(rewards, pairs=PAIRS):
        return joined_files.read(written(tmp_path / "scores.jsonl", rewards), written(tmp_path / "pairs.jsonl", pairs))

    return make


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def with_ids(rows, key="idx", ids=(0, 1, 2)):
    return [{**row, key: name} for row, name in zip(rows, ids, strict=True)]


def pair_set(found):
    columns = ["prompt", "chosen", "rejected", "reward_chosen", "reward_rejected"]
    return {tuple(row.values()) for row in found.heldout.table.select(columns).to_pylist()}


def test_the_pairs_have_the_sampling_probabilities_and_the_rewards_alone_may_not(read):
    known = (0.5, 0.25, 1.0)
    pairs, rewards = (with_ids(rows, "sampling_probability", known) for rows in (PAIRS, REWARDS))
    for given in (REWARDS, rewards):
        found = read(given, pairs).heldout.table.select(["rejected", "sampling_probability"]).to_pylist()
        assert {row["rejected"]: row["sampling_probability"] for row in found} == dict(
            zip(("No", "Und", "Never, ever"), known, strict=True)
        )
    with pytest.raises(DataError, match=r"row 1: sampling_probability: expected it in the file of pairs, got it with"):
        read(rewards)


def test_rows_without_ids_are_joined_line_by_line(read):
    found = read(REWARDS)
    assert pair_set(found) == set(EXPECTED)
    assert found.format == "rewards, joined with pairs.jsonl line by line"
    assert (found.num_rows, found.num_duplicates, found.num_rescored) == (3, 0, 0)
    assert (found.heldout.num_clusters, found.heldout.length_unit) == (2, "characters")
    assert len(found.heldout.responses.reward) == 5


@pytest.mark.parametrize("key", joined_files.ID_KEYS)
def test_rows_with_ids_are_joined_by_them_in_any_order(read, key):
    pairs = [{name: value for name, value in row.items() if name != "idx"} for row in PAIRS]
    scored = with_ids(REWARDS, key, ["a", "b", "c"])
    random.Random(0).shuffle(scored)
    found = read(scored, with_ids(pairs, key, ["a", "b", "c"]))
    assert pair_set(found) == set(EXPECTED)
    assert found.format == f"rewards, joined with pairs.jsonl by {key}"


@pytest.mark.parametrize("where", ["pairs", "scores"])
def test_rows_with_ids_are_not_joined_line_by_line_if_the_first_row_has_none(read, where):
    rows = {
        "pairs": [{"id": place, "prompt": f"{place}?", "chosen": "A", "rejected": "B"} for place in range(40)],
        "scores": [{"id": place, "chosen": place, "rejected": 0} for place in reversed(range(40))],
    }
    del rows[where][0]["id"]
    with pytest.raises(DataError, match=rf"{where}\.jsonl: row 1: id: expected an id as in other rows, got None"):
        read(rows["scores"], rows["pairs"])


def test_a_broken_row_has_no_id(tmp_path):
    lines = [json.dumps({"id": place, "prompt": f"{place}?", "chosen": "A", "rejected": "B"}) for place in range(40)]
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("\n".join([lines[0][:-1], *lines[1:]]))
    scores = [{"id": place, "chosen": place, "rejected": 0} for place in reversed(range(40))]
    with pytest.raises(DataError, match=r"pairs\.jsonl: row 1: id: expected an id as in other rows, got None"):
        joined_files.read(written(tmp_path / "scores.jsonl", scores), pairs)


@pytest.mark.parametrize("some", [slice(0, 1), slice(1, 3), slice(0, 3)])
def test_a_key_that_one_file_alone_has_joins_nothing(read, some):
    scored = [{**row, "id": "x"} if row in REWARDS[some] else row for row in REWARDS]
    assert read(scored).format == "rewards, joined with pairs.jsonl line by line"


def test_an_id_of_csv_is_that_of_json(tmp_path):
    scores = tmp_path / "scores.csv"
    scores.write_text("idx,reward_chosen,reward_rejected\n2,0.25,0.25\n0,1.5,-0.5\n1,1.5,2\n")
    found = joined_files.read(scores, written(tmp_path / "pairs.jsonl", PAIRS))
    assert pair_set(found) == set(EXPECTED)


@pytest.mark.parametrize(
    "name",
    [("reward_chosen", "reward_rejected"), ("score_chosen", "score_rejected"), ("scores",), ("chosen", "rejected")],
)
def test_rewards_have_one_of_several_names(read, name):
    values = [(1.5, -0.5), (1.5, 2.0), (0.25, 0.25)]
    rows = [{"scores": list(each)} if name == ("scores",) else dict(zip(name, each, strict=True)) for each in values]
    assert pair_set(read(rows)) == set(EXPECTED)


def test_texts_beside_rewards_are_not_taken_for_rewards(read):
    rows = [
        {**pair, "reward_chosen": row["chosen"], "reward_rejected": row["rejected"]}
        for pair, row in zip(PAIRS, REWARDS, strict=True)
    ]
    assert pair_set(read(rows)) == set(EXPECTED)


def test_the_same_file_of_pairs_and_rewards_is_read_as_with_both_in_one_file(tmp_path, read):
    rows = [
        {
            **pair,
            "reward_chosen": 1.5 * place,
            "reward_rejected": -place,
            "num_tokens_chosen": 7,
            "num_tokens_rejected": 3,
        }
        for place, pair in enumerate([PAIRS[0], PAIRS[2]])
    ]
    one = score_files.read(written(tmp_path / "one.jsonl", rows)).heldout
    names = ("reward_chosen", "reward_rejected", "num_tokens_chosen", "num_tokens_rejected")
    two = read([{name: row[name] for name in names} for row in rows], [PAIRS[0], PAIRS[2]]).heldout
    assert one.table.sort_by("prompt_id").equals(two.table.sort_by("prompt_id"))
    assert two.length_unit == "tokens"


@pytest.mark.parametrize("names", [("reward_chosen", "reward_rejected"), ("chosen_reward", "rejected_reward")])
def test_a_models_own_rewards_among_the_pairs_do_not_judge_their_labels(tmp_path, names):
    rows = [
        {
            "prompt": f"{place}?",
            "chosen": "A",
            "rejected": "B",
            **{f"reward_{side}": reward for side, reward in zip(("chosen", "rejected"), rewards, strict=True)},
            **dict(zip(names, rewards, strict=True)),
        }
        for place, rewards in enumerate([(0.0, 1.0)] * 4 + [(0.5, 0.5)] * 2 + [(1.0, 0.0)] * 94)
    ]
    path = written(tmp_path / "both.jsonl", rows)
    alone, joined = score_files.read(path).heldout, joined_files.read(path, path)
    assert joined.pairs.problems == ()
    assert len(joined.heldout.pairs.margin) == 100
    assert joined.heldout.pairs.correct.mean() == alone.pairs.correct.mean() == 0.95


def rated(wrong):
    rows = [{"prompt": f"{place}?", "chosen": "A", "rejected": "B"} for place in range(40)]
    return [
        {**row, "score_chosen": 1.0, "score_rejected": 2.0 if place == wrong else 0.0} for place, row in enumerate(rows)
    ]


def test_a_pair_whose_ratings_contradict_its_label_is_not_left_out(tmp_path):
    path = written(tmp_path / "both.jsonl", rated(wrong=7))
    with pytest.raises(
        DataError,
        match=r"row 8: score_chosen 1\.0 is below score_rejected 2\.0, .* if the ratings are a model's, leave them out "
        r"with --set 'ingest\.ignore=\[score_chosen, score_rejected\]'$",
    ):
        joined_files.read(path, path)
    found = joined_files.read(path, path, IngestConfig(ignore=("score_chosen", "score_rejected")))
    assert sorted(found.heldout.pairs.margin.tolist()) == [-1.0] + [1.0] * 39


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": "Who?"}, r"row 2: prompt: expected str 'Why\?' as in row 2 of the pairs, got str 'Who\?'"),
        ({"chosen": "Other", "reward_chosen": 1.5, "reward_rejected": 2}, r"row 2: chosen: expected str 'So it is\.'"),
        ({"rejected": "No", "scores": [1.5, 2]}, r"row 2: rejected: expected str 'Und' as in row 2"),
        ({"idx": 1, "id": "c"}, r"row 2: id: expected str 'b' as in row 2 of the pairs, got str 'c'"),
    ],
)
def test_rewards_of_another_pair_are_refused(read, change, message):
    pairs = [{**row, "id": name} for row, name in zip(PAIRS, "abc", strict=True)]
    joined_by = [{"idx": row["idx"]} if "idx" in change else {} for row in PAIRS]
    rewards = [{**row, **more} for row, more in zip(REWARDS, joined_by, strict=True)]
    with pytest.raises(DataError, match=message):
        read([rewards[0], {**rewards[1], **change}, rewards[2]], pairs)


def test_texts_and_ids_that_say_the_same_may_lie_beside_the_rewards(read):
    turns = [{"role": "user", "content": "Why?"}]
    pairs = [{"id": 7, "prompt": turns, "chosen": "So it is.", "rejected": "No", "model": "writer"}]
    scored = {"id": "7", "chosen": "So it is. ", "rejected": "No", "reward_chosen": 1, "reward_rejected": 0}
    for prompt in (turns, [{"content": "Why?", "role": "user", "name": None}], "user: Why?"):
        assert len(read([{**scored, "prompt": prompt, "model": "judge"}], pairs).heldout.pairs.margin) == 1


@pytest.mark.parametrize("right", ["right", ["right"]])
def test_listed_rewards_are_the_chosen_ones_first_in_every_row_that_names_it(read, right):
    benchmark = {"num_correct": 1, "subset": "Factuality", "id": "a"} if isinstance(right, list) else {}
    wrong = ["wrong"] if isinstance(right, list) else "wrong"
    for row in ({"chosen": right, "rejected": wrong}, {"rejected": wrong, "chosen": right}):
        found = read([{"scores": [1.0, 0.0]}], [{"prompt": "Why?", **row, **benchmark}])
        assert pair_set(found) == {("Why?", "right", "wrong", 1.0, 0.0)}


def test_domain_and_source_of_the_pairs_are_kept(read):
    pairs = [{**PAIRS[0], "subset": "math", "source": "web"}, PAIRS[1], {**PAIRS[2], "domain": "code", "subset": "x"}]
    table = read(REWARDS, pairs).heldout.table
    found = {row["prompt"]: (row["domain"], row["source"]) for row in table.to_pylist()}
    assert found == {"Why?": ("math", "web"), "How?": ("code", None)}


def test_features_come_with_the_rewards(read):
    own = [{"feature_judge_chosen": place, "feature_judge_rejected": 0.5} for place in (2, 2, 4)]
    found = read([{**row, **more} for row, more in zip(REWARDS, own, strict=True)]).heldout
    by_pair = dict(zip(found.pairs.rejected, found.pairs.own["judge"].tolist(), strict=True))
    assert by_pair == {"No": 1.5, "Und": 1.5, "Never, ever": 3.5}


ORDERED = [
    {"prompt": "Why?", "first": "Bad", "second": "Good", "preference": 0.0},
    {"instruction": "Why?", "output_1": "Bad", "output_2": "Good", "preference": 2.0},
    {"input": "Why?", "output_1": "Bad", "output_2": "Good", "label": 2},
    {"question": "Why?", "response_A": "Bad", "response_B": "Good", "label": "B>A", "source": "livebench"},
]


@pytest.mark.parametrize("pair", ORDERED, ids=["ours", "alpaca", "llmbar", "judgebench"])
def test_listed_rewards_are_in_the_order_of_the_row_and_named_ones_are_by_label(read, pair):
    for rewards in ({"scores": [-1.0, 3.0]}, {"chosen": 3.0, "rejected": -1.0}):
        assert pair_set(read([rewards], [pair])) == {("Why?", "Good", "Bad", 3.0, -1.0)}


def test_a_benchmark_keeps_its_formulas(read):
    rows = [{"input": f"{place}?", "output_1": "Bad", "output_2": "Good", "label": 2} for place in range(4)]
    found = read([{"scores": [0, 1]}] * 3 + [{"scores": [1, 0]}], rows)
    assert sorted(found.heldout.pairs.margin.tolist()) == [-1, 1, 1, 1]
    rewards = [np.array([float(text == "Good") for text in group.responses]) for group in found.pairs.groups]
    score = {one.name: one.estimate for one in found.pairs.formulas(rewards, AuditConfig())}["llmbar/score"]
    assert score == 1


def test_rewards_of_a_tie_have_no_side(read):
    tie = {"prompt": "So?", "first": "A", "second": "B", "preference": 0.5}
    found = read([{"scores": [0, 1]}, {"scores": [2, 1]}], [tie, {**tie, "first": "C", "preference": 1.0}])
    assert found.heldout.num_label_ties == 1
    assert pair_set(found) == {("So?", "C", "B", 2.0, 1.0)}
    with pytest.raises(
        DataError, match=r"row 1: chosen: the pair is a tie, so that neither is chosen; expected rewards"
    ):
        read([{"chosen": 0, "rejected": 1}], [tie])


def test_votes_for_one_pair_are_merged(read):
    pair = {"prompt": "So?", "first": "A", "second": "B"}
    votes = [{**pair, "preference": share, "annotator": name} for share, name in [(1, "a"), (1, "b"), (0, "c")]]
    found = read([{"scores": [2.0, 1.0]}] * 3, votes)
    assert found.heldout.pairs.preference.tolist() == pytest.approx([2 / 3])
    assert pair_set(found) == {("So?", "A", "B", 2.0, 1.0)}


def voted(*sides):
    """A row of Label Studio with a vote for each side."""
    results = [{"type": "pairwise", "to_name": "one,two", "value": {"selected": side}} for side in sides]
    votes = [{"completed_by": place, "result": [result]} for place, result in enumerate(results)]
    return {"data": {"prompt": "So?", "one": "A", "two": "B"}, "annotations": votes}


def test_a_row_with_several_votes_on_two_responses_is_a_pair(read):
    for rewards in ({"scores": [1.0, 2.0]}, {"chosen": 2.0, "rejected": 1.0}):
        found = read([rewards], [voted("right", "left", "right")])
        assert found.heldout.pairs.preference.tolist() == pytest.approx([2 / 3])
        assert pair_set(found) == {("So?", "B", "A", 2.0, 1.0)}
    with pytest.raises(DataError, match="row 1: chosen: the pair is a tie"):
        read([{"chosen": 2.0, "rejected": 1.0}], [voted("right", "left")])


def test_rows_that_repeat_are_joined_too(read):
    found = read([*REWARDS, REWARDS[0]], [*PAIRS, {**PAIRS[0], "idx": 3}])
    assert pair_set(found) == set(EXPECTED)
    assert found.num_duplicates == 1


def test_a_ranking_of_three_responses_is_refused(read):
    answers = [{"answer": text, "rank": rank} for rank, text in enumerate(("aa a", "bb b", "cc c"))]
    with pytest.raises(
        DataError,
        match=r"pairs\.jsonl: row 2: expected one chosen and one rejected response per row, got 3 responses$",
    ):
        read([{"id": 0, "scores": [1, 0]}] * 2, [voted("left"), {"id": 0, "prompt": "what?", "answers": answers}])


def test_pairs_that_cannot_be_used_are_left_out_with_their_rewards(read):
    pairs = [{"prompt": f"{place}?", "chosen": "A", "rejected": "B"} for place in range(40)]
    pairs[7]["rejected"] = "A "
    found = read([{"chosen": place, "rejected": 0} for place in range(40)], pairs)
    assert found.pairs.problems == ("row 8: both responses are the same text",)
    assert sorted(found.heldout.pairs.margin.tolist()) == [place for place in range(40) if place != 7]


@pytest.mark.parametrize(
    ("rewards", "pairs", "message"),
    [
        (
            REWARDS[:2],
            PAIRS,
            r"scores\.jsonl: expected 3 rows as in .*pairs\.jsonl, got 2; rows are joined line by line",
        ),
        (with_ids(REWARDS)[:2], PAIRS, r"scores\.jsonl: idx: expected a row '2' as row 3 of .*pairs\.jsonl, got none$"),
        (
            with_ids(REWARDS)[:1],
            PAIRS,
            r"scores\.jsonl: idx: expected a row '1' as row 2 of .*pairs\.jsonl, got none, and 1 more such ids$",
        ),
        (with_ids(REWARDS), PAIRS[:2], r"scores\.jsonl: row 3: idx: expected an id of .*pairs\.jsonl, got '2'$"),
        (
            with_ids(REWARDS, ids=(0, 1, 1)),
            PAIRS,
            r"scores\.jsonl: row 3: idx: expected each id once, got 1 as in row 2",
        ),
        (with_ids(REWARDS, ids=(0, 1, None)), PAIRS, r"scores\.jsonl: row 3: idx: expected an id .*, got None"),
        (with_ids(REWARDS), [*PAIRS[:2], {**PAIRS[2], "idx": 1}], r"pairs\.jsonl: row 3: idx: expected each id once"),
        (with_ids(REWARDS), [*PAIRS[:2], {**PAIRS[2], "idx": [1]}], r"pairs\.jsonl: row 3: idx: expected a name, got"),
        (with_ids(REWARDS, ids=(0, 1, float("nan"))), PAIRS, r"scores\.jsonl: row 3: idx: expected an id .*, got nan"),
        (
            [*REWARDS[:2], {**REWARDS[2], "chosen": "1_000"}],
            PAIRS,
            r"row 3: chosen: expected a finite number, got str '1_000'",
        ),
        ([], PAIRS, r"scores\.jsonl: expected rows with rewards, got none"),
        ([*REWARDS[:2], 3], PAIRS, r"scores\.jsonl: row 3: expected an object with named fields, got int"),
        ([*REWARDS[:2], {"chosen": 1}], PAIRS, r"row 3: expected two rewards under the names .*; got \['chosen'\]"),
        ([*REWARDS[:2], {**REWARDS[2], "chosen": [1, 2]}], PAIRS, r"row 3: chosen: expected a finite number, got list"),
        (
            [*REWARDS[:2], {**REWARDS[2], "chosen": []}],
            PAIRS,
            r"row 3: chosen: expected a finite number, got list \[\]",
        ),
        ([*REWARDS[:2], {**REWARDS[2], "chosen": "x"}], PAIRS, r"row 3: chosen: expected a finite number, got str 'x'"),
        ([*REWARDS[:2], {**REWARDS[2], "rejected": float("nan")}], PAIRS, r"row 3: rejected: expected a finite number"),
        ([{"scores": [1]}, *REWARDS[1:]], PAIRS, r"row 1: scores: expected a list of two rewards, got \[1\]"),
        ([{"scores": [1, None]}, *REWARDS[1:]], PAIRS, r"row 1: scores\[1\]: expected a finite number, got NoneType"),
        (
            [REWARDS[0], {"chosen": 9, "rejected": 2}, REWARDS[2]],
            PAIRS,
            r"row 2: reward: expected 1\.5 as in row 1 for",
        ),
        (
            [{**REWARDS[0], "feature_x_chosen": 1, "feature_x_rejected": 1}, *REWARDS[1:]],
            PAIRS,
            r"row 2: features: expected {'x': 1\.0} as in row 1 for the same response, got {}",
        ),
        (
            [*REWARDS[:2], {**REWARDS[2], "feature_x_chosen": 1, "feature_x_rejected": 1}],
            PAIRS,
            r"scores\.jsonl: row 3: expected no features as in row 1, got the features x",
        ),
        (
            [{**REWARDS[0], "feature_x_chosen": 1}, *REWARDS[1:]],
            PAIRS,
            r"row 1: feature_x_rejected: expected a finite number, got NoneType",
        ),
        (REWARDS, [], r"pairs\.jsonl: expected rows with labelled responses, got none"),
        (REWARDS, [*PAIRS[:2], {"idx": 2}], r"pairs\.jsonl: 1 of 3 rows are unusable"),
    ],
)
def test_what_cannot_be_joined_is_an_error_that_names_file_row_and_key(read, rewards, pairs, message):
    with pytest.raises(DataError, match=message):
        read(rewards, pairs)


def test_files_without_a_decided_pair_and_benchmarks_of_many_responses_are_refused(read):
    tie = {"prompt": "So?", "first": "A", "second": "B", "preference": 0.5}
    with pytest.raises(AuditError, match="none of the held-out pairs has a majority"):
        read([{"scores": [0, 1]}], [tie])
    row = {"prompt": "So?", "chosen": ["A", "B", "C"], "rejected": ["D", "E", "F"], "domain": "chat", "id": 1}
    with pytest.raises(
        DataError, match=r"pairs\.jsonl: expected one chosen and one rejected response per row, got more"
    ):
        read([{"scores": [0, 1]}], [row])


@pytest.mark.parametrize("kind", ["original", "dialect_twin"])
def test_published_rewards_are_read_beside_their_pairs(shared_data, kind):
    folder = shared_data / "reward_models"
    path, pairs = folder / f"internlm_internlm2-1_8b-reward.{kind}.jsonl.gz", folder / f"pairs_{kind}.jsonl.gz"
    found = joined_files.read(path, pairs)
    assert (found.num_rows, found.num_duplicates, len(found.heldout.pairs.margin)) == (1843, 0, 1843)
    assert found.num_rescored == {"original": 5, "dialect_twin": 1}[kind]
    texts, rows = (
        [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()] for file in (pairs, path)
    )
    margin = {
        (pair["chosen"], pair["rejected"]): row["chosen"][0] - row["rejected"][0]
        for pair, row in zip(texts, rows, strict=True)
    }
    judged = found.heldout.pairs
    expected = np.array([margin[each] for each in zip(judged.chosen, judged.rejected, strict=True)])
    # Rewards of one response that differ by noise are averaged.
    np.testing.assert_allclose(judged.margin, expected, atol=0.1 * np.std(found.heldout.responses.reward))
    assert (judged.margin == expected).mean() > 0.98

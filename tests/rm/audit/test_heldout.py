import numpy as np
import pyarrow.parquet as pq
import pytest

from rm.audit.heldout import PAIRS_SCHEMA, build_heldout, decided_texts, join_scores
from rm.data import preferences, prompt_groups
from rm.data.preferences import Comparison, Message, PromptGroup
from rm.errors import AuditError


@pytest.fixture(scope="module")
def heldout(dataset, scores):
    return join_scores(dataset, scores)


@pytest.fixture(scope="module")
def groups(dataset):
    return prompt_groups.read_groups(dataset, "heldout")


def scored(scores):
    rows = pq.read_table(scores.path / "scores.parquet").to_pylist()
    return {(row["prompt_id"], row["response"]): row for row in rows}


def test_pairs_match_a_slow_loop_over_the_snapshot(heldout, groups, scores):
    found, expected, cluster = scored(scores), [], []
    for place, group in enumerate(groups):
        for pair in group.comparisons:
            if pair.preference == 0.5:
                continue
            chosen, rejected = (pair.first, pair.second) if pair.preference > 0.5 else (pair.second, pair.first)
            one, other = found[group.prompt_id, chosen], found[group.prompt_id, rejected]
            expected.append(
                {
                    "prompt_id": group.prompt_id,
                    "prompt": group.prompt[0].content,
                    "chosen": group.responses[chosen],
                    "rejected": group.responses[rejected],
                    "preference": max(pair.preference, 1 - pair.preference),
                    "num_judgements": pair.num_judgements,
                    "num_undecided": 0,
                    "sampling_probability": None,
                    "reward_chosen": one["reward"],
                    "reward_rejected": other["reward"],
                    "length_chosen": one["num_tokens"],
                    "length_rejected": other["num_tokens"],
                    "length_unit": "tokens",
                    "num_turns": 1,
                    "prompt_characters": len(group.prompt[0].content),
                    "domain": None,
                    "source": None,
                }
            )
            cluster.append(place)
    assert heldout.table.to_pylist() == expected
    assert heldout.table.schema == PAIRS_SCHEMA
    columns = {
        "reward_chosen": heldout.pairs.reward_chosen,
        "reward_rejected": heldout.pairs.reward_rejected,
        "length_chosen": heldout.pairs.length_chosen,
        "length_rejected": heldout.pairs.length_rejected,
        "preference": heldout.pairs.preference,
        "prompt": heldout.pairs.prompts,
        "chosen": heldout.pairs.chosen,
        "rejected": heldout.pairs.rejected,
    }
    for name, column in columns.items():
        assert list(column) == [row[name] for row in expected]
    assert heldout.pairs.prompt.tolist() == cluster
    assert len(heldout.prompt_ids) == len(groups)


def test_the_planted_word_stands_in_the_chosen_response(heldout):
    assert all("good" in text for text in heldout.pairs.chosen)
    assert all("bad" in text for text in heldout.pairs.rejected)
    assert set(heldout.pairs.preference.round(6)) == {1.0, round(2 / 3, 6)}


def test_label_ties_are_counted_and_left_out(heldout, groups):
    ties = sum(pair.preference == 0.5 for group in groups for pair in group.comparisons)
    assert heldout.num_label_ties == ties > 0
    assert len(heldout.pairs.margin) + ties == sum(len(group.comparisons) for group in groups)


def test_every_response_stands_once_under_the_number_of_its_prompt(heldout, groups, scores):
    assert len(heldout.responses.reward) == sum(len(group.responses) for group in groups)
    number = {group.prompt_id: place for place, group in enumerate(groups)}
    rows = pq.read_table(scores.path / "scores.parquet").to_pylist()
    assert heldout.responses.prompt.tolist() == [number[row["prompt_id"]] for row in rows]
    assert heldout.responses.length.tolist() == [row["num_tokens"] for row in rows]


def test_a_pair_with_a_response_that_was_not_scored_is_left_out(dataset, scores, edit_scores, heldout, groups):
    gone = pq.read_table(scores.path / "scores.parquet").to_pylist()[0]
    fewer = join_scores(dataset, edit_scores(lambda rows: rows[1:]))
    texts = next(group.responses for group in groups if group.prompt_id == gone["prompt_id"])
    left = [
        row
        for row in heldout.table.to_pylist()
        if row["prompt_id"] != gone["prompt_id"] or texts[gone["response"]] not in (row["chosen"], row["rejected"])
    ]
    assert fewer.table.to_pylist() == left
    assert len(left) < len(heldout.table)
    assert fewer.num_clusters == heldout.num_clusters


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_rewards_that_are_no_numbers_are_refused(dataset, edit_scores, value):
    spoilt = edit_scores(
        lambda rows: [{**row, "reward": value} if place < 3 else row for place, row in enumerate(rows)]
    )
    with pytest.raises(AuditError, match=f"{spoilt.path}: 3 rewards are not finite"):
        join_scores(dataset, spoilt)


def test_scores_without_a_decided_pair_are_refused(dataset, edit_scores):
    single = edit_scores(lambda rows: list({row["prompt_id"]: row for row in rows}.values()))
    with pytest.raises(AuditError, match="none of the held-out pairs has a majority and two rewards"):
        join_scores(dataset, single)


def test_scores_of_prompts_that_are_not_held_out_are_refused(make_dataset, judgements, scores):
    other = make_dataset(judgements[::2], heldout_share=0.05)
    with pytest.raises(AuditError, match=rf"scores of \d+ prompts that {other.path} does not hold out"):
        join_scores(other, scores)


def test_a_reward_tie_is_half_right(make_heldout):
    heldout = make_heldout([0, 1, 2], [(2, 9, ""), (1, 3, ""), (1, 4, "")], [(1, 4, ""), (2, 5, ""), (1, 4, "")])
    assert heldout.pairs.correct.tolist() == [1, 0, 0.5]
    assert heldout.pairs.margin.tolist() == [1, -1, 0]
    assert heldout.pairs.length_difference.tolist() == [5, -2, 0]


def test_a_prompt_is_shown_as_its_text_or_with_its_roles():
    assert preferences.prompt_text([Message("user", "Why?")]) == "Why?"
    conversation = [Message("user", "Hi"), Message("assistant", "Yes?"), Message("user", "Why?")]
    assert preferences.prompt_text(conversation) == "user: Hi\n\nassistant: Yes?\n\nuser: Why?"


def test_decided_texts_are_the_chosen_and_rejected_ones():
    groups = [made("a", HOW, ("a", "b", "c"), (0, 1, 1.0), (0, 2, 0.5), (1, 2, 0.4))]
    assert decided_texts(groups, 2) == (["a", "c"], ["b", "b"])
    assert decided_texts(iter(groups), 1) == (["a", "c"], ["b", "b"])  # a prompt is whole
    assert decided_texts([*groups, *groups], 2) == (["a", "c"], ["b", "b"])
    assert decided_texts([*groups, *groups], 3) == (["a", "c", "a", "c"], ["b", "b", "b", "b"])
    assert decided_texts([], 2) == ([], [])


def test_rewards_do_not_change_on_their_way(heldout, scores):
    table = pq.read_table(scores.path / "scores.parquet")
    np.testing.assert_array_equal(heldout.responses.reward, table["reward"].to_numpy())


WHY, HOW = (Message("system", "Be brief."), Message("user", "Why?")), (Message("user", "How?"),)


def made(key, prompt, responses, *choices):
    comparisons = tuple(
        Comparison(first=first, second=second, preference=share, target_margin=0.0, weight=1.0, num_judgements=3)
        for first, second, share in choices
    )
    return PromptGroup(
        prompt_id=key,
        prompt=prompt,
        responses=responses,
        response_attributes=({},) * len(responses),
        comparisons=comparisons,
        domain="maths",
        source="web",
    )


def test_lengths_without_tokens_are_characters_and_what_was_not_scored_is_counted():
    groups = [
        made("a", WHY, ("x", "yy", "zzz"), (0, 1, 1 / 3), (0, 2, 1.0), (1, 2, 0.5)),
        made("b", HOW, ("👍", "no"), (0, 1, 1.0)),
    ]
    heldout = build_heldout(groups, [np.array([1.0, 2.0, np.nan]), np.array([0.5, 0.25])], None, "here")
    assert (heldout.length_unit, heldout.num_unscored, heldout.num_label_ties) == ("characters", 1, 1)
    assert heldout.prompt_ids == ("a", "b")
    assert heldout.prompts == (WHY, HOW)
    assert heldout.responses.texts == ("x", "yy", "👍", "no")
    assert heldout.responses.length.tolist() == [1, 2, 1, 2]
    assert heldout.responses.prompt.tolist() == heldout.responses.cluster.tolist() == [0, 0, 1, 1]
    assert heldout.responses.reward.tolist() == [1.0, 2.0, 0.5, 0.25]
    assert heldout.pairs.prompt.tolist() == heldout.pairs.cluster.tolist() == [0, 1]
    assert heldout.table.to_pylist()[0] == {
        "prompt_id": "a",
        "prompt": "system: Be brief.\n\nuser: Why?",
        "chosen": "yy",
        "rejected": "x",
        "preference": pytest.approx(2 / 3),
        "num_judgements": 3,
        "num_undecided": 0,
        "sampling_probability": None,
        "reward_chosen": 2.0,
        "reward_rejected": 1.0,
        "length_chosen": 2,
        "length_rejected": 1,
        "length_unit": "characters",
        "num_turns": 2,
        "prompt_characters": 13,
        "domain": "maths",
        "source": "web",
    }


def test_tokens_are_lengths_where_they_are_known():
    groups = [made("a", HOW, ("x", "yy"), (0, 1, 1.0))]
    heldout = build_heldout(groups, [np.array([1.0, 2.0])], [np.array([7, 5])], "here")
    assert heldout.length_unit == "tokens"
    assert heldout.pairs.length_difference.tolist() == [2]
    assert heldout.responses.length.tolist() == [7, 5]


def test_infinite_rewards_are_refused_wherever_they_come_from():
    groups = [made("a", HOW, ("x", "yy"), (0, 1, 1.0))]
    with pytest.raises(AuditError, match="here: 1 rewards are infinite"):
        build_heldout(groups, [np.array([1.0, np.inf])], None, "here")


def test_the_texts_of_responses_stand_with_their_rewards(heldout, groups, scores):
    found = scored(scores)
    texts = {(group.prompt_id, place): text for group in groups for place, text in enumerate(group.responses)}
    expected = [(key[0], texts[key], row["reward"]) for key, row in found.items()]
    ids = [heldout.prompt_ids[prompt] for prompt in heldout.responses.prompt]
    responses = heldout.responses
    assert list(zip(ids, responses.texts, responses.reward.tolist(), strict=True)) == expected
    assert [prompt[-1].content for prompt in heldout.prompts] == [group.prompt[-1].content for group in groups]

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from rm.data import annotation_table
from rm.labels import agreement, aliases
from rm.labels.pairs import Prompts
from rm.labels.votes import Votes, read_votes
from tests.rm.labels import world


def votes(*rows, sources=("one", "two")):
    """Votes from (pair, annotator, preference[, source])."""
    pair, voter, preference = (np.array(each) for each in list(zip(*rows, strict=False))[:3])
    source = np.array([row[3] if len(row) > 3 else 0 for row in rows])
    return Votes(
        pair=pair,
        cluster=pair,
        num_clusters=int(pair.max()) + 1,
        preference=preference.astype(np.float64),
        for_longer=preference.astype(np.float64),
        for_first=preference.astype(np.float64),
        voter=voter,
        annotators=tuple(f"annotator-{number}" for number in range(int(voter.max()) + 1)),
        source=source,
        sources=sources,
        is_new=np.full(len(pair), np.nan),
    )


def findings(given):
    return {one.name: one for one in agreement.findings(given)}


def slow_agreement(given):
    """Over all votes with others, the mean over the others of the probability of the same choice."""
    shares = []
    for at in range(len(given)):
        beside = [one for one in range(len(given)) if one != at and given.pair[one] == given.pair[at]]
        own = given.preference[at]
        same = [own * given.preference[one] + (1 - own) * (1 - given.preference[one]) for one in beside]
        if same:
            shares.append(np.mean(same))
    return np.mean(shares)


def test_agreement_is_what_a_slow_count_finds():
    rng = np.random.default_rng(1)
    rows = [(pair, who, rng.choice([0.0, 0.5, 1.0])) for pair in range(20) for who in rng.choice(5, 3, replace=False)]
    given = votes(*rows, (20, 0, 1.0))
    assert findings(given)["label_agreement"].estimate == pytest.approx(slow_agreement(given))
    assert findings(given)["label_agreement"].num_pairs == 60


def test_two_of_three_agree_in_a_third_of_the_votes():
    given = votes((0, 0, 1.0), (0, 1, 1.0), (0, 2, 0.0))
    assert findings(given)["label_agreement"].estimate == pytest.approx(1 / 3)


def test_contradictions_are_counted_by_pair_and_by_self_and_by_source():
    given = votes(
        (0, 0, 1.0, 0), (0, 1, 0.0, 1), (1, 0, 1.0, 0), (1, 1, 1.0, 1), (2, 0, 1.0, 0), (2, 0, 0.0, 0), (3, 1, 1.0, 1)
    )
    found = findings(given)
    shares = {name: (one.estimate, one.num_pairs) for name, one in found.items()}
    assert shares["label_contradictions"] == (0.5, 2)  # pair 2 has one annotator, who has one vote
    assert shares["label_self_contradictions"] == (1.0, 1)
    assert shares["label_source_duplicates"] == (0.5, 4)
    assert shares["label_source_contradictions"] == (0.5, 2)


def test_the_pairs_of_one_prompt_contradict_as_one():
    given = votes(*((pair, source, float(source), source) for pair in range(20) for source in (0, 1)))
    apart = next(one for one in agreement.findings(given) if one.name == "label_source_contradictions")
    assert (apart.estimate, apart.num_pairs) == (1.0, 20) and apart.ci_low > 0.8
    together = replace(given, cluster=np.zeros(len(given), dtype=np.int64))
    one = next(one for one in agreement.findings(together) if one.name == "label_source_contradictions")
    assert one.estimate == 1.0 and math.isnan(one.ci_low)


def test_an_annotator_who_comes_back_has_one_vote():
    given = votes((0, 0, 1.0), (0, 0, 0.0), (0, 1, 1.0))
    merged, place = given.merged()
    assert merged.preference.tolist() == [0.5, 1.0]
    assert place.tolist() == [0, 0, 1]
    assert findings(given)["label_agreement"].estimate == pytest.approx(0.5)


def test_the_others_agree_with_each_other_without_the_one_who_is_looked_at():
    # 0 and 1 always agree, 2 never does with either.
    rows = [(pair, who, float(who < 2)) for pair in range(30) for who in range(3)]
    found = {row.annotator: row for row in agreement.annotators(votes(*rows))}
    zero, two = (found[aliases.alias(f"annotator-{number}")] for number in (0, 2))
    assert two.agreement.own.value == 0.0
    assert two.agreement.others == 1.0
    assert zero.agreement.own.value == 0.5
    assert zero.agreement.others == 0.0
    assert [row for row in found.values() if row.agreement.is_far] == [two]


@pytest.mark.parametrize("choices", [(0.0, 1.0), (0.0, 0.5, 1.0), (0.1, 0.25, 1 / 3, 0.9)])
def test_the_others_are_what_a_slow_count_on_the_own_pairs_finds(choices):
    rng = np.random.default_rng(2)
    rows = [
        (pair, who, rng.choice(choices))
        for pair in range(40)
        for who in rng.choice(6, int(rng.integers(3, 6)), replace=False)
    ]
    rows += [(40 + pair, who, 1.0) for pair in range(9) for who in (pair % 5, 5)]  # of two, nobody is beside them
    number_of = {aliases.alias(f"annotator-{number}"): number for number in range(6)}
    for row in agreement.annotators(votes(*rows)):
        number = number_of[row.annotator]
        pairs = [pair for pair, who, _ in rows if who == number and pair < 40]
        rest = [[one for one in rows if one[0] == pair and one[1] != number] for pair in pairs]
        own = [[one for one in rows if one[0] == pair] for pair in pairs]
        assert row.agreement.others == pytest.approx(np.mean([slow_agreement(votes(*each)) for each in rest]))
        assert row.agreement.is_tested and row.agreement.num_prompts == len(pairs)
        mine = [
            np.mean([at * other[2] + (1 - at) * (1 - other[2]) for other in each if other[1] != number])
            for each in own
            for at in [next(other[2] for other in each if other[1] == number)]
        ]
        assert row.agreement.own.value == pytest.approx(np.mean(mine))


def in_teams(size, right, num_pairs=300):
    """Three fixed teams share the pairs; each annotator is right with a probability of their own."""
    rng = np.random.default_rng(0)
    return votes(
        *(
            (pair, size * (pair % 3) + at, float(rng.random() < right(size * (pair % 3) + at)))
            for pair in range(num_pairs)
            for at in range(size)
        )
    )


def far(given):
    return {row.annotator for row in agreement.annotators(given) if row.agreement.is_far}


def flipper(who):
    return 0.07 if who == 0 else 0.93


def test_of_two_who_never_agree_nobody_knows_who_flips():
    found = {row.annotator: row for row in agreement.annotators(in_teams(2, flipper))}
    assert not any(row.agreement.is_far or row.agreement.is_tested for row in found.values())
    one = found[aliases.alias("annotator-1")].agreement
    assert one.own.value < 0.3 and math.isnan(one.others)


def test_who_flips_in_a_fixed_team_of_three_is_found_and_no_other():
    assert far(in_teams(3, flipper)) == {aliases.alias("annotator-0")}


def test_who_gets_the_hard_prompts_is_not_far():
    assert not far(in_teams(3, lambda who: 0.65 if who < 3 else 0.93))


def test_pairs_of_two_that_are_harder_make_nobody_far():
    rng = np.random.default_rng(1)
    rows = [
        (pair, who, float(rng.random() < (0.5 if pair % 2 else 0.95)))
        for pair in range(300)
        for who in ((0, 1) if pair % 2 else (0, 1, 2))
    ]
    assert not far(votes(*rows))


def test_of_those_with_few_prompts_the_same_means_are_told(monkeypatch):
    rng = np.random.default_rng(3)
    rows = [(pair, who, float(rng.random() < 0.6)) for pair in range(60) for who in rng.choice(20, 3, replace=False)]
    given = votes(*rows)
    found = agreement.annotators(given)
    assert any(row.longer_wins.num_prompts < agreement.MIN_PROMPTS for row in found)
    monkeypatch.setattr(agreement, "MIN_PROMPTS", 1)  # all by the way of those with many
    whole = {row.annotator: row for row in agreement.annotators(given)}
    for row in found:
        for few, many in (
            (row.agreement, whole[row.annotator].agreement),
            (row.longer_wins, whole[row.annotator].longer_wins),
        ):
            assert few.num_prompts == many.num_prompts
            np.testing.assert_allclose(
                [few.others, *few.own.model_dump().values()], [many.others, *many.own.model_dump().values()]
            )


def test_annotators_beside_each_other_take_no_memory_for_each():
    """300 annotators on 3,000 prompts: one number for each of both would take 7 MB."""
    rng = np.random.default_rng(7)
    given = votes(*((pair, who, float(rng.random() < 0.6)) for pair in range(3000) for who in rng.choice(300, 2)))
    tracemalloc.start()
    try:
        assert len(agreement.annotators(given)) == 300
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 300 * 3000 * 8


def read(tmp_path, *files):
    table = world.ingested(tmp_path, *files)
    dataset = world.snapshot(table, tmp_path / "dataset")
    return read_votes(table, dataset, Prompts.read(dataset), None)


def excluding(tmp_path, rows, left_out):
    """The votes of a table, some judgements of which the snapshot's recipe leaves out."""
    table = world.ingested(tmp_path, rows)
    ids = [each.judgement_id for each in annotation_table.judgements(table) if left_out(each)]
    file = tmp_path / "ids.txt"
    file.write_text("\n".join(ids) + "\n", encoding="utf-8")
    dataset = world.snapshot(table, tmp_path / "dataset", exclude=file)
    assert dataset.num_excluded == len(ids) > 0
    return read_votes(table, dataset, Prompts.read(dataset), None), dataset


def test_a_prompt_that_the_snapshot_leaves_out_has_no_votes(tmp_path):
    rows = world.rows(30, 8)
    found, dataset = excluding(tmp_path, rows, lambda each: each.prompt[0].content == rows[0]["prompt"])
    assert len(found) == dataset.num_judgements == len(rows) - 6
    assert found.num_clusters == 29


def test_a_vote_that_the_snapshot_leaves_out_does_not_count(tmp_path):
    rows = world.rows(30, 9)
    found, dataset = excluding(tmp_path, rows, lambda each: each.created_at == rows[0]["created_at"])
    assert len(found) == dataset.num_judgements == len(rows) - 1
    assert found.num_pairs == 60
    assert np.bincount(found.pair).min() == 2


def flips(who, first, second, preference):
    return 1 - preference if who == 4 else preference


def prefers_longer(who, first, second, preference):
    return float(len(first) > len(second)) if who == 2 else preference


@pytest.mark.parametrize(("planted", "name"), [(flips, "annotator-4"), (prefers_longer, "annotator-2")])
def test_a_planted_annotator_is_found_and_no_other(tmp_path, planted, name):
    rows = agreement.annotators(read(tmp_path, world.rows(150, 0, vote=planted)))
    assert [row.annotator for row in rows if row.is_far] == [aliases.alias(name)]
    assert rows[0].is_far
    if planted is prefers_longer:
        assert rows[0].longer_wins.own.value == 1.0 and rows[0].longer_wins.is_far


def test_sound_annotators_are_hardly_ever_called_far():
    """At most one set in twenty has one; forty sets of six annotators have none here."""
    rng = np.random.default_rng(5)
    called = 0
    for _ in range(40):
        truth, longer = rng.random(120), rng.integers(0, 2, 120)
        rows = [
            (pair, who, float(rng.random() < 1 / (1 + np.exp(-4 * (truth[pair] - 0.5)))))
            for pair in range(120)
            for who in rng.choice(6, 3, replace=False).tolist()
        ]
        given = votes(*rows)
        turned = np.where(longer[given.pair] == 1, given.preference, 1 - given.preference)
        called += any(row.is_far for row in agreement.annotators(replace(given, for_longer=turned)))
    assert called <= 2


def test_few_prompts_call_nobody_far():
    rows = [(pair, who, float(who < 2)) for pair in range(agreement.MIN_PROMPTS - 1) for who in range(3)]
    found = agreement.annotators(votes(*rows))
    assert not any(row.is_far or row.agreement.is_tested or row.longer_wins.is_tested for row in found)
    assert all(math.isnan(each.own.low) for row in found for each in (row.agreement, row.longer_wins))
    # One has votes enough, those beside it have not.
    alone = agreement.annotators(votes(*((pair, 0, 1.0) for pair in range(40)), *((pair, 1, 1.0) for pair in range(3))))
    assert not any(row.longer_wins.is_tested for row in alone)


def test_the_order_of_the_responses_in_a_row_changes_nothing_but_who_is_first(tmp_path):
    rows = world.rows(30, 3)
    turned = [
        row | {"first": row["second"], "second": row["first"], "preference": 1 - row["preference"]} for row in rows
    ]
    one, other = read(tmp_path / "one", rows), read(tmp_path / "other", turned)
    for name in ("pair", "preference", "for_longer", "voter"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.for_first, 1 - other.for_first)


def test_a_source_that_has_the_chosen_response_first_is_seen(tmp_path):
    rows = world.rows(40, 4, votes=1)
    chosen = [
        row if row["preference"] else row | {"first": row["second"], "second": row["first"], "preference": 1.0}
        for row in rows
    ]
    plain = [row | {"prompt": f"again {row['prompt']}"} for row in rows]
    found = agreement.sources(read(tmp_path, chosen, plain))
    (ordered,) = [row.first_wins for row in found if row.first_wins.value in (0.0, 1.0)]
    assert ordered.value == ordered.high == 1.0
    # Wilson's bound for 40 prompts of which all agree.
    assert ordered.low == pytest.approx(40 / (40 + 1.96**2), abs=1e-4)
    assert [row.num_votes for row in found] == [80, 80]


def test_a_pair_in_two_sources_is_counted_once(tmp_path):
    rows = world.rows(30, 6, votes=1)
    again = [row | {"annotator": "someone else", "preference": 1 - row["preference"]} for row in rows[:12]]
    found = findings(read(tmp_path, rows, again))
    assert found["label_source_duplicates"].estimate == pytest.approx(12 / 60)
    assert found["label_source_contradictions"].estimate == 1.0
    assert found["label_contradictions"].num_pairs == 12


def test_votes_of_nobody_are_of_different_people(tmp_path):
    rows = [row | {"annotator": None} for row in world.rows(20, 7, votes=2)]
    given = read(tmp_path, rows)
    assert given.annotators == () and agreement.annotators(given) == ()
    assert findings(given)["label_agreement"].num_pairs == len(rows) == len(given)
    assert len(set(given.voter.tolist())) == len(rows)

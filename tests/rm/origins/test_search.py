"""Planted sources of a bias are found, and a model that was trained is read right."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import scipy.special

from rm.data import id_lists, prompt_groups, snapshots
from rm.data.annotation_table import TableVersion
from rm.data.config import SnapshotConfig
from rm.errors import AuditError
from rm.model.token_ids import TokenGroup
from rm.origins import export, search
from rm.origins.head import Head
from rm.origins.judgements import TrainedJudgement, trained_on
from rm.origins.payment import Payment
from rm.origins.records import Origins
from rm.origins.states import states
from rm.score.scorer import Scorer
from rm.tokens.tokenization import read_tokens

NAMES = ("careful", "careful too", "hasty", "one more")


@pytest.fixture(scope="module")
def planted():
    """Four sources of 400 judgements; "hasty" prefers the longer response, the others the better one."""
    random = np.random.default_rng(5)
    length, quality, noise = random.normal(size=(3, 1600))
    source = np.repeat(NAMES, 400)
    wanted = np.where(source == "hasty", length, quality)
    preference = (random.random(1600) < scipy.special.expit(2 * wanted)).astype(float)
    head = Head(np.stack([length, quality, noise], axis=1), preference, np.ones(1600), np.arange(1600))
    judged = [
        TrainedJudgement(
            judgement_id=f"{index}",
            source=name,
            annotator=None,
            prompt=index,
            first=0,
            second=1,
            preference=1,
            weight=1,
        )
        for index, name in enumerate(source.tolist())
    ]
    seen = random.normal(size=(500, 3))
    return judged, head, Payment.of(seen, seen[:, 0])


def test_the_list_is_made_of_the_training_pairs_and_is_no_better_on_the_held_out_ones():
    """Fitted to few held-out pairs it would take more of the bias from them than from others."""
    random, gaps = np.random.default_rng(8), []
    for _ in range(8):
        states = random.normal(size=(800, 40))
        feature = states @ np.eye(40)[0] + random.normal(size=800)
        chance = scipy.special.expit(states[:, :5].sum(axis=1) + feature)
        head = Head(states, (random.random(800) < chance).astype(float), np.ones(800), np.arange(800))
        order = np.argsort(head.without_each(Payment.of(states, feature).direction(head)))[:80]
        kept = np.ones(800, dtype=bool)
        kept[order] = False
        drops = []
        for size in (100, 20_000):
            seen = random.normal(size=(size, 40))
            payment = Payment.of(seen, seen[:, 0] + random.normal(size=size))
            drops.append(payment.paid(head) - payment.paid(head, head.fitted(kept)))
        gaps.append(drops[0] - drops[1])
        assert drops[1] > 0.02
    assert abs(np.mean(gaps)) < 0.02


def test_a_model_of_some_of_the_pairs_is_refused(checkpoint, dataset, tokenized):
    some = checkpoint.model_copy(update={"num_train_pairs": 7})
    with pytest.raises(AuditError, match=r"expected a model that was trained on all [0-9]+ pairs, got one of 7"):
        search.search(some, dataset, tokenized, 1024, "log characters", 0.1)


def test_the_source_that_taught_length_is_found_and_no_other(planted):
    judged, head, payment = planted
    adds = -head.without_each(payment.direction(head))
    found = {each.name: each for each in search.origins_by("source", judged, head, payment, adds)}
    assert found.keys() == set(NAMES)
    assert found["hasty"].z > 8
    assert all(found[name].z < 0 for name in NAMES if name != "hasty")
    assert found["hasty"].without.paid < 0.2 * payment.paid(head)
    assert found["hasty"].without.accuracy == payment.accuracy(
        head, head.fitted(np.array([each.source != "hasty" for each in judged]))
    )
    assert all(found[name].without.paid > payment.paid(head) for name in NAMES if name != "hasty")


def test_the_only_one_with_a_name_stands_beside_those_without(planted):
    judged, head, payment = planted
    adds = -head.without_each(payment.direction(head))
    named = [replace(each, annotator="bot" if each.source == "hasty" else None) for each in judged]
    (bot,) = search.origins_by("annotator", named, head, payment, adds)
    (hasty,) = [each for each in search.origins_by("source", judged, head, payment, adds) if each.name == "hasty"]
    assert bot == hasty.model_copy(update={"by": "annotator", "name": "bot"})
    for name in (None, "bot"):
        alike = [replace(each, annotator=name) for each in judged]
        assert search.origins_by("annotator", alike, head, payment, adds) == []


def test_the_judgements_that_add_most_are_of_that_source(planted):
    judged, head, payment = planted
    adds = -head.without_each(payment.direction(head))
    order = np.argsort(-adds)[:100]
    assert np.mean([judged[index].source == "hasty" for index in order]) > 0.6
    kept = np.ones(1600, dtype=bool)
    kept[order] = False
    assert payment.paid(head, head.fitted(kept)) < 0.8 * payment.paid(head)


def by_chance(random, responses, votes):
    """Two sources, each with half of the prompts, all pairs of a prompt's responses, and several votes for each."""
    states, preference, prompt = [], [], []
    for number in range(200):
        drawn = random.normal(size=(responses, 3))
        quality = drawn[:, 0] + 2 * random.normal(size=responses)
        for one, other in combinations(range(responses), 2):
            states += [drawn[one] - drawn[other]] * votes
            preference += [float(quality[one] > quality[other])] * votes
            prompt += [number] * votes
    head = Head(np.array(states), np.array(preference), np.ones(len(states)), np.array(prompt))
    judged = [
        TrainedJudgement(
            judgement_id="",
            source="ab"[number % 2],
            annotator=None,
            prompt=number,
            first=0,
            second=1,
            preference=1,
            weight=1,
        )
        for number in prompt
    ]
    return judged, head


@pytest.mark.parametrize(("responses", "votes"), [(2, 1), (2, 5), (5, 1)])
def test_sources_that_differ_by_chance_are_not_far_apart(responses, votes):
    random = np.random.default_rng(6)
    found = []
    for _ in range(60):
        judged, head = by_chance(random, responses, votes)
        seen = random.normal(size=(200, 3))
        payment = Payment.of(seen, seen[:, 0])
        adds = -head.without_each(payment.direction(head))
        found += [each.z for each in search.origins_by("source", judged, head, payment, adds)[:1]]
    assert np.abs(found).max() < 4
    assert 0.75 < np.std(found) < 1.25


def table_of(dataset):
    return TableVersion(
        path=dataset.inputs[0].path,
        version=dataset.table_version,
        digest=dataset.inputs[0].digest,
        num_judgements=dataset.num_judgements,
    )


def test_the_judgements_are_those_behind_the_comparisons(dataset):
    groups = prompt_groups.read_groups(dataset, "train")
    found = trained_on(table_of(dataset), groups)
    assert len({each.judgement_id for each in found}) == len(found)
    for number, group in enumerate(groups):
        for pair in group.comparisons:
            own = [
                each
                for each in found
                if each.prompt == number and {each.first, each.second} == {pair.first, pair.second}
            ]
            assert len(own) == pair.num_judgements
            assert sum(each.weight for each in own) == pytest.approx(pair.weight)
            for_first = [each.preference if each.first == pair.first else 1 - each.preference for each in own]
            assert np.mean(for_first) == pytest.approx(pair.preference)
    assert len(found) == sum(pair.num_judgements for group in groups for pair in group.comparisons)


def test_the_states_are_what_the_head_reads(checkpoint, tokenized):
    scorer = Scorer(checkpoint.path, 1024)
    groups = [TokenGroup(each.prompt_ids, each.response_ids) for each in read_tokens(tokenized, "heldout")]
    found = states(scorer, groups)
    weights = scorer.model.score.weight.detach().double().numpy()
    assert (found @ weights.T)[:, 0] == pytest.approx(scorer.score_groups(groups).rewards, abs=1e-5)


def test_a_trained_model_is_searched(checkpoint, dataset, tokenized):
    found = search.search(checkpoint, dataset, tokenized, 1024, "log characters", 0.1)
    assert found.num_judgements == sum(
        pair.num_judgements for group in prompt_groups.read_groups(dataset, "train") for pair in group.comparisons
    )
    assert found.whole.accuracy > 0.8
    assert abs(found.whole.accuracy - found.model_accuracy) < 0.1
    assert 0 < len(found.rows) <= 0.1 * found.num_judgements
    assert [each.adds for each in found.rows] == sorted((each.adds for each in found.rows), reverse=True)
    assert min(each.adds for each in found.rows) > 0
    assert found.without_rows != found.whole
    # The rows are those of the training pairs, not of the held-out ones.
    known = search.read(checkpoint, dataset, tokenized, 1024, "log characters")
    assert len(known.taught.feature) == found.num_judgements != found.num_pairs
    adds = -np.sign(known.taught.paid(known.head)) * known.head.without_each(known.taught.direction(known.head))
    by_id = {each.judgement_id: value for each, value in zip(known.judgements, adds.tolist(), strict=True)}
    assert [each.adds for each in found.rows] == pytest.approx([by_id[each.judgement_id] for each in found.rows])
    other = -np.sign(known.taught.paid(known.head)) * known.head.without_each(known.payment.direction(known.head))
    assert np.abs(other - adds).max() > 1e-3 * np.abs(adds).max()
    assert {each.name for each in found.origins} <= {"ann", "bob", "cid"}


@pytest.mark.parametrize("feature", ["characters of gold", "over 400 words"])
def test_a_feature_that_says_nothing_is_refused(checkpoint, dataset, tokenized, feature):
    with pytest.raises(AuditError, match=r"expected a feature of the battery|no pair differs in"):
        search.search(checkpoint, dataset, tokenized, 1024, feature, 0.1)


def test_what_is_found_is_written_as_a_list_that_a_snapshot_reads(checkpoint, dataset, tokenized, tmp_path):
    found = search.search(checkpoint, dataset, tokenized, 1024, "log characters", 0.1)
    export.write(found, tmp_path / "out")
    export.write(found.model_copy(update={"rows": ()}), tmp_path / "none")
    export.write(found, tmp_path / "other")
    export.write(found.model_copy(update={"rows": ()}), tmp_path / "other")
    assert not [each for each in (tmp_path / "none", tmp_path / "other") if (each / export.IDS_NAME).exists()]
    assert Origins.model_validate_json((tmp_path / "out" / export.JSON_NAME).read_text()) == found
    ids = id_lists.read(tmp_path / "out" / export.IDS_NAME)
    assert ids == {each.judgement_id for each in found.rows}
    config = SnapshotConfig(heldout_share=0.25, exclude=tmp_path / "out" / export.IDS_NAME)
    without = snapshots.snapshot(table_of(dataset), config, tmp_path / "snapshot")
    assert without.num_excluded == len(ids)
    counted = sum(
        pair.num_judgements for group in prompt_groups.read_groups(without, "train") for pair in group.comparisons
    )
    assert counted == found.num_judgements - len(ids)
    again = trained_on(table_of(without), prompt_groups.read_groups(without, "train"), snapshots.read_excluded(without))
    assert len(again) == counted and not ids & {each.judgement_id for each in again}

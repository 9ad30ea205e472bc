import json
import re
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from rm.audit import baselines, style_features
from rm.data import sample, sample_texts, sample_world, store
from rm.data.config import IngestConfig, SampleConfig
from rm.data.formats.catalog import read_judgement
from rm.data.manifests import SampleManifest
from rm.data.preferences import Message, problem
from rm.data.sample_biases import BIASES
from rm.errors import ConfigError
from rm.probes.catalog import PROBES
from rm.probes.config import ProbeConfig
from rm.probes.context import Parent
from rm.probes.variants import variants

CONFIGS = st.builds(
    SampleConfig,
    num_prompts=st.integers(20, 40),
    num_annotators=st.integers(3, 9),
    biases=st.dictionaries(st.sampled_from([*BIASES]), st.sampled_from([0.0, 3.0, -1.5, 1e6, -1e6])),
    seed=st.integers(0, 2**32),
)
NO_BIAS = dict.fromkeys(BIASES, 0.0)
SKILLS = np.linspace(*sample.SKILL_RANGE, 7)


@pytest.fixture(scope="module")
def fair():
    return list(sample.judgements(SampleConfig()))


def differences(rows, measure):
    return np.array([measure(row["first"]) - measure(row["second"]) for row in rows], dtype=float)


@pytest.fixture(scope="module")
def counts(fair):
    """What each bias counts, in the first response minus the second."""
    return {kind: differences(fair, count) for kind, count in BIASES.items()}


def extra_quality(rows):
    return np.array([row["quality_first"] - row["quality_second"] for row in rows])


def preferences(rows):
    return np.array([row["preference"] for row in rows])


def skills(rows):
    return SKILLS[[int(row["annotator"].removeprefix("annotator-")) for row in rows]]


def by_pair(rows):
    pairs = defaultdict(list)
    for row in rows:
        pairs[row["prompt"], *sorted([row["first"], row["second"]])].append(row)
    return pairs


def majorities(rows):
    """Prompt, chosen and rejected response of each pair with a majority."""
    found = []
    for (prompt, one, other), votes in by_pair(rows).items():
        share = np.mean([row["preference"] if row["first"] == one else 1 - row["preference"] for row in votes])
        if share != 0.5:
            found.append((prompt, one, other) if share > 0.5 else (prompt, other, one))
    return found


@given(CONFIGS)
@settings(max_examples=25, deadline=None)
def test_rows_can_all_be_used(config):
    rows = list(sample.judgements(config))
    assert all(problem(read_judgement(row)) is None for row in rows)
    assert {row["preference"] for row in rows} <= {0.0, 0.5, 1.0}
    assert {row["annotator"] for row in rows} <= {f"annotator-{k}" for k in range(config.num_annotators)}
    assert len({row["prompt"] for row in rows}) == config.num_prompts


@given(CONFIGS)
@settings(max_examples=10, deadline=None)
def test_a_config_decides_every_row(config):
    assert list(sample.judgements(config)) == list(sample.judgements(config))


def test_another_seed_gives_other_rows():
    one, other = (list(sample.judgements(SampleConfig(num_prompts=20, seed=seed))) for seed in (0, 1))
    assert one != other


def test_the_file_holds_the_rows_and_is_sealed(tmp_path):
    config = SampleConfig(num_prompts=20)
    manifest = sample.write(config, tmp_path / "one")
    lines = (tmp_path / "one" / "annotations.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == list(sample.judgements(config))
    assert manifest == SampleManifest.read(tmp_path / "one")
    assert (manifest.num_rows, manifest.inputs, [*manifest.files]) == (len(lines), (), ["annotations.jsonl"])
    assert sample.write(config, tmp_path / "two").digest == manifest.digest  # the same bytes


def test_asking_for_more_prompts_than_there_are_is_a_config_error():
    with pytest.raises(ConfigError, match=r"sample\.num_prompts: 1000000 .* only \d+"):
        list(sample.judgements(SampleConfig(num_prompts=1_000_000)))


@pytest.mark.parametrize("kind", sample_world.KINDS)
def test_every_combination_of_the_tables_is_another_prompt(kind):
    num_prompts = int(np.prod([len(table) for table in sample_world._tables(kind)]))
    texts = {sample_world.prompt(kind, number).text for number in range(num_prompts)}
    assert len(texts) == num_prompts


def test_prompts_are_shared_evenly_among_the_kinds(fair):
    domains = {row["prompt"]: row["domain"] for row in fair}
    assert Counter(domains.values()) == dict.fromkeys(sample_world.KINDS, 900)


def test_responses_pairs_and_judges_are_few_and_distinct(fair):
    pairs = by_pair(fair)
    num_pairs, responses = defaultdict(int), defaultdict(set)
    for prompt, first, second in pairs:
        num_pairs[prompt] += 1
        responses[prompt] |= {first, second}
    assert {len(texts) for texts in responses.values()} == set(sample.NUM_RESPONSES)
    assert all(num_pairs[prompt] == len(texts) for prompt, texts in responses.items())
    assert {len(rows) for rows in pairs.values()} == {1, 2, 3}
    assert all(len({row["annotator"] for row in rows}) == len(rows) for rows in pairs.values())


def test_rows_are_a_minute_apart(fair):
    times = [datetime.fromisoformat(row["created_at"]) for row in fair]
    assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(minutes=1)}
    assert times[0].utcoffset() == timedelta(0)


@pytest.mark.parametrize("order", ["first", "second"])
def test_neither_place_is_favoured(fair, order):
    other = {"first": "second", "second": "first"}[order]
    assert np.mean([row[f"quality_{order}"] - row[f"quality_{other}"] for row in fair]) == pytest.approx(0, abs=0.03)
    assert preferences(fair).mean() == pytest.approx(0.5, abs=0.02)


def test_an_item_belongs_to_one_topic_and_one_aspect():
    items = [item for aspects in sample_texts.ITEMS.values() for some in aspects.values() for item in some]
    assert len(set(items)) == len(items) == 36
    assert sample_texts.ITEMS.keys() == sample_texts.MARKS.keys()
    assert len(set(sample_texts.MARKS.values())) == len(sample_texts.MARKS)


def answers_in(text):
    """Topic and aspect of every item that a text names."""
    return {
        (topic, aspect)
        for topic, aspects in sample_texts.ITEMS.items()
        for aspect, items in aspects.items()
        for item in items
        if item in text.lower()
    }


@pytest.mark.parametrize("quality", [0.0, 0.5, 1.0])
def test_quality_is_what_the_fault_says(quality):
    rng = np.random.default_rng(0)
    for asked in sample_world.prompts(600, rng):
        response = sample_world.respond(asked, quality, rng)
        right, found = (asked.topic, asked.aspect), answers_in(response.text)
        assert response.quality == quality
        if response.fault in ("", "called", "repeated", "said_twice"):
            assert found == {right}
        elif response.fault == "rambling":
            assert right in found and len(found) == 2
        elif response.fault in ("topic", "aspect"):
            ((topic, aspect),) = found
            assert (topic != asked.topic, aspect != asked.aspect) == (
                response.fault == "topic",
                response.fault == "aspect",
            )
        elif response.fault != "garbled":
            assert not found
        if asked.called and response.fault != "garbled":
            named = {name for name in sample_texts.NAMES if name.lower() in response.text.lower()}
            assert (named == {asked.called}) == (response.fault != "called"), response


def test_every_fault_is_made_and_only_garbled_text_is_out_of_order():
    rng = np.random.default_rng(1)
    beginnings = {" ".join(form.split()[:2]) for some in sample_texts.ANSWERS.values() for form in some}
    seen = Counter()
    for asked in sample_world.prompts(600, rng):
        for quality in sample_world.QUALITY_SHARES:
            response = sample_world.respond(asked, quality, rng)
            seen[response.fault] += 1
            if response.fault == "garbled":
                assert not response.text.startswith(tuple(beginnings))
    assert set(seen) == {fault for some in sample_world.FAULTS.values() for fault in some}


def test_repetition_is_a_fault_and_said_in_other_words_too():
    rng = np.random.default_rng(2)
    for asked in sample_world.prompts(600, rng):
        response = sample_world.respond(asked, 0.5, rng)
        mark = sample_texts.MARKS[asked.topic]
        times = len(re.findall(rf"\b{mark}\b", response.text.lower()))
        if response.fault == "said_twice":
            assert times == 2 and len(answers_in(response.text)) == 1
        elif response.fault == "called":
            assert times == 1


def test_few_pairs_are_equal_in_quality(fair):
    assert np.mean(extra_quality(fair) == 0) == pytest.approx(sample.EQUAL_SHARE, abs=0.01)


@pytest.mark.parametrize("order", [*sample_world.ORDERS])
def test_an_order_keeps_the_words_but_not_their_places(order):
    words = ["Hello", "Anna.", "For", "the", "laps", "bring", "a", "towel."]
    for seed in range(20):
        found = order(words, np.random.default_rng(seed))
        assert Counter(found) == Counter(words) and found != words


@pytest.mark.parametrize("kind", [*BIASES])
def test_what_a_bias_counts_varies_and_is_not_quality(fair, counts, kind):
    assert np.mean(counts[kind] != 0) > 0.05
    assert abs(np.corrcoef(counts[kind], extra_quality(fair))[0, 1]) < 0.1


def test_a_fair_label_follows_quality_with_the_stated_noise(fair):
    gains, log_odds = extra_quality(fair), skills(fair) * extra_quality(fair)
    tied = preferences(fair) == 0.5
    assert np.mean(tied[abs(log_odds) < 1]) == pytest.approx(sample.CLOSE_TIE_SHARE, abs=0.05)
    assert np.mean(tied[abs(log_odds) >= 1]) == pytest.approx(sample.TIE_SHARE, abs=0.006)
    decided = ~tied & (gains != 0)
    right = (preferences(fair) == 1) == (gains > 0)
    for gain in (0.5, 1.0):
        rows = decided & (abs(gains) == gain)
        expected = expit(abs(log_odds[rows])).mean()
        assert right[rows].mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / rows.sum()))
    both = decided & (abs(gains) == 0.5)
    least, most = (both & (skills(fair) == skill) for skill in (SKILLS[0], SKILLS[-1]))
    assert right[most].mean() > right[least].mean()


@pytest.mark.parametrize("biases", [{"length": -2.0, "bold": 1.0}, dict.fromkeys(BIASES, 1.5)], ids=str)
def test_biases_change_labels_only_and_as_stated(fair, counts, biases):
    rows = list(sample.judgements(SampleConfig(biases=biases)))
    for one, other in zip(fair, rows, strict=True):
        assert {**one, "preference": 0} == {**other, "preference": 0}
    columns = np.stack([extra_quality(rows), *counts.values()], axis=1)
    columns[:, 1:] /= columns[:, 1:].std(axis=0)
    decided = preferences(rows) != 0.5  # a tie depends on the size of the log-odds only
    fitted = LogisticRegression(C=1e6, fit_intercept=False).fit(columns[decided], preferences(rows)[decided])
    quality, *found = fitted.coef_[0]
    assert quality == pytest.approx(np.mean(SKILLS), abs=0.5)
    assert found == pytest.approx([biases.get(kind, 0.0) for kind in BIASES], abs=0.3)


def test_a_bias_of_no_strength_is_no_bias():
    one, other = (sample.judgements(SampleConfig(num_prompts=200, biases=biases)) for biases in ({}, NO_BIAS))
    assert list(one) == list(other)


def test_an_unknown_bias_is_refused_with_those_that_are_known():
    with pytest.raises(ValidationError, match=r"there is no bias 'lenght'; known: length, capitals, .*, hedging"):
        SampleConfig(biases={"length": 1, "lenght": 3})


def test_readers_of_responses_alone_are_near_a_coin(fair):
    prompts, chosen, rejected = zip(*majorities(fair), strict=True)
    assert len(prompts) > 7000  # the standard error of an accuracy is below 0.006
    style = style_features.differences(chosen, rejected)
    (words,) = baselines.word_rows((chosen, rejected))
    fold = baselines.folds(prompts)
    for baseline, rows in (
        (baselines.length_baseline, style),
        (baselines.style_baseline, style),
        (baselines.words_baseline, words),
    ):
        assert baselines.judged(baseline, None, rows, fold).mean() < 0.6


def test_no_edit_of_a_probe_is_in_the_sample(fair):
    """Nobody trains on the test."""
    said = {row[place] for row in fair for place in ("first", "second")}
    chosen = {}
    for prompt, better, _ in majorities(fair):
        chosen.setdefault(prompt, better)
    parents = [
        Parent(prompt_id=prompt, prompt=(Message("user", prompt),), response=text) for prompt, text in chosen.items()
    ]
    probes = [probe for probe in PROBES if probe.edit and probe.kind != "INV" and probe.name != "foreign"]
    parents = Random(0).sample(parents, 300)
    made = [each for each in variants(parents, probes, ProbeConfig()) if each.response is not None]
    found = {(each.probe, each.response) for each in made if each.arm == "edit" and each.response in said}
    assert len(made) > 5000
    assert not found


def test_the_true_quality_is_read_by_no_model_and_warned_of_by_nobody(tmp_path):
    (tmp_path / "made_up").mkdir()
    made_up = sample.write(SampleConfig(num_prompts=20), tmp_path / "made_up")
    config = sample.as_only_source(made_up, IngestConfig())
    (counts,) = store.append(config.sources, tmp_path / "table", config).sources
    assert (counts.num_stored, counts.left_out) == (counts.num_rows, {})

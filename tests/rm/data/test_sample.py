import json
import re
from collections import defaultdict
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score

from rm.data import sample
from rm.data.config import SampleConfig
from rm.data.formats import judgement
from rm.data.manifests import SampleManifest
from rm.data.preferences import problem
from rm.errors import ConfigError

CONFIGS = st.builds(
    SampleConfig,
    num_prompts=st.integers(20, 40),
    num_annotators=st.integers(3, 9),
    length_bias=st.sampled_from([0.0, 3.0, -1.5, 1e6, -1e6]),
    seed=st.integers(0, 2**32),
)


@pytest.fixture(scope="module")
def fair():
    return list(sample.judgements(SampleConfig(length_bias=0)))


@pytest.fixture(scope="module")
def biased():
    return list(sample.judgements(SampleConfig(length_bias=3)))


def differences(rows, measure):
    return np.array([measure(row["first"]) - measure(row["second"]) for row in rows], dtype=float)


def extra_words(rows):
    return differences(rows, lambda text: len(text.split()))


def extra_quality(rows):
    return np.array([row["quality_first"] - row["quality_second"] for row in rows])


def preferences(rows):
    return np.array([row["preference"] for row in rows])


def by_pair(rows):
    pairs = defaultdict(list)
    for row in rows:
        pairs[row["prompt"], *sorted([row["first"], row["second"]])].append(row)
    return pairs


def share_for_better(rows):
    """Mean share of the votes that the truly better response of one pair got."""
    gains = extra_quality(rows)
    return np.mean(np.where(gains > 0, preferences(rows), 1 - preferences(rows)))


@given(CONFIGS)
@settings(max_examples=25, deadline=None)
def test_rows_can_all_be_used(config):
    rows = list(sample.judgements(config))
    assert all(problem(judgement.read(row)) is None for row in rows)
    assert {row["preference"] for row in rows} <= {0.0, 0.5, 1.0}
    assert {row["annotator"] for row in rows} <= {f"annotator-{k}" for k in range(config.num_annotators)}
    assert len({row["prompt"] for row in rows}) == config.num_prompts


@given(CONFIGS)
@settings(max_examples=10, deadline=None)
def test_a_config_decides_every_row(config):
    assert list(sample.judgements(config)) == list(sample.judgements(config))


def test_another_seed_gives_other_rows(fair):
    assert list(sample.judgements(SampleConfig(seed=1))) != fair


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


def test_every_combination_of_the_tables_is_another_prompt():
    texts = [
        sample._prompt(domain, number).text
        for domain, task in sample.TASKS.items()
        for number in range(0, int(np.prod(sample._shape(task))), 97)  # prime, so that every table is walked through
    ]
    assert len(set(texts)) == len(texts)


def test_prompts_are_shared_evenly_among_the_kinds(fair):
    domains = {row["prompt"]: row["domain"] for row in fair}
    counts = defaultdict(int)
    for domain in domains.values():
        counts[domain] += 1
    assert counts == dict.fromkeys(["fact", "number", "topic", "instruction", "politeness"], 320)


def test_responses_pairs_and_judges_are_few_and_distinct(fair):
    pairs = by_pair(fair)
    num_pairs, responses = defaultdict(int), defaultdict(set)
    for prompt, first, second in pairs:
        num_pairs[prompt] += 1
        responses[prompt] |= {first, second}
    assert {len(texts) for texts in responses.values()} == {2, 3, 4}
    assert set(num_pairs.values()) == {1, 2, 3, 4}
    assert {len(rows) for rows in pairs.values()} == {1, 2, 3}
    assert all(len({row["annotator"] for row in rows}) == len(rows) for rows in pairs.values())
    assert len(pairs) / 1600 == pytest.approx(2, abs=0.1)
    assert len(fair) / len(pairs) == pytest.approx(1.7, abs=0.05)


def test_rows_are_a_minute_apart(fair):
    times = [datetime.fromisoformat(row["created_at"]) for row in fair]
    assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(minutes=1)}
    assert times[0].utcoffset() == timedelta(0)


def test_annotators_tie_and_disagree(fair):
    votes = [
        {row["preference"] if row["first"] == pair[1] else 1 - row["preference"] for row in rows}
        for pair, rows in by_pair(fair).items()
    ]
    assert any({0.0, 1.0} <= vote for vote in votes)
    assert 0.02 < np.mean(preferences(fair) == 0.5) < 0.1


def test_ties_are_likelier_where_the_log_odds_are_small(fair):
    tied, equal = preferences(fair) == 0.5, extra_quality(fair) == 0
    assert np.mean(tied[equal]) == pytest.approx(0.25, abs=0.06)
    assert np.mean(tied[~equal]) == pytest.approx(0.02, abs=0.01)


@pytest.mark.parametrize("order", ["first", "second"])
def test_neither_place_is_favoured(fair, order):
    assert np.mean([row[f"quality_{order}"] for row in fair]) == pytest.approx(0.5, abs=0.03)
    assert preferences(fair).mean() == pytest.approx(0.5, abs=0.02)


def test_an_answer_has_one_entry_only():
    for entries in (sample.FACTS, sample.NUMBERS):
        assert len(set(entries.values())) == len(entries)
    assert sample.FACTS["the capital of France"] == "Paris"
    assert sample.NUMBERS["the number of legs of a spider"] == "eight"


@pytest.mark.parametrize(("domain", "entries"), [("fact", sample.FACTS), ("number", sample.NUMBERS)])
def test_quality_says_which_answers_are_given(fair, domain, entries):
    for row in (row for row in fair if row["domain"] == domain):
        (asked,) = (entry for entry in entries if entry in row["prompt"])
        for place in ("first", "second"):
            given_answers = {
                answer for answer in entries.values() if re.search(rf"(?<!-)\b{answer}\b(?!-)", row[place])
            }
            quality = (entries[asked] in given_answers) / len(given_answers)
            assert row[f"quality_{place}"] == quality, row


def test_quality_is_the_share_of_requests_that_are_followed(fair):
    for row in (row for row in fair if row["domain"] == "instruction"):
        for place in ("first", "second"):
            words = re.findall(r"[a-z]+", row[place].lower())
            followed = [words[0] == word for word in re.findall(r"Begin with the word (\w+)", row["prompt"])]
            followed += [words[-1] == word for word in re.findall(r"End with the word (\w+)", row["prompt"])]
            followed += [row[place].isupper()] if "capital letters" in row["prompt"] else []
            followed += [row[place].islower()] if "small letters" in row["prompt"] else []
            assert row[f"quality_{place}"] == sum(followed) / 2, row


def test_quality_is_the_share_of_sentences_on_the_topic(fair):
    for row in (row for row in fair if row["domain"] == "topic"):
        (topic,) = (topic for topic in sample.SENTENCES if topic in row["prompt"])
        for place in ("first", "second"):
            num_on_topic = sum(sentence[:-1] in row[place] for sentence in sample.SENTENCES[topic])
            assert row[f"quality_{place}"] == num_on_topic / 2, row


def test_most_labels_agree_with_quality(fair):
    votes = [share_for_better(rows) for rows in by_pair(fair).values() if extra_quality(rows)[0]]
    agreement = np.mean([1.0 if vote > 0.5 else 0.5 if vote == 0.5 else 0.0 for vote in votes])
    assert 0.92 < agreement < 0.96
    assert np.mean(extra_quality(fair) == 0) == pytest.approx(0.1, abs=0.03)


def test_length_varies_widely_and_independently_of_quality(fair):
    num_words = np.array([len(row[place].split()) for row in fair for place in ("first", "second")])
    assert num_words.min() <= 5
    assert num_words.max() >= 50
    assert abs(np.corrcoef(extra_words(fair), extra_quality(fair))[0, 1]) < 0.06


def share_won_by_longer(rows):
    extra, preference = extra_words(rows), preferences(rows)
    counted = (extra != 0) & (preference != 0.5)
    return np.mean((extra > 0)[counted] == (preference == 1)[counted])


def test_without_a_bias_labels_do_not_follow_length(fair):
    assert abs(np.corrcoef(extra_words(fair), preferences(fair))[0, 1]) < 0.06
    assert 0.47 < share_won_by_longer(fair) < 0.53


def test_a_bias_makes_the_longer_response_win(biased):
    others = [list(sample.judgements(SampleConfig(length_bias=bias))) for bias in (-5, 5)]
    shares = [share_won_by_longer(rows) for rows in (others[0], biased, others[1])]
    # At 3 a whole step of quality, worth 4 to 6, still outweighs most differences in length.
    assert shares[0] < 0.25
    assert 0.67 < shares[1] < shares[2]
    assert shares[2] > 0.75


def test_the_bias_changes_labels_only(fair, biased):
    def texts(rows):
        return [{key: value for key, value in row.items() if key != "preference"} for row in rows]

    assert texts(fair) == texts(biased)
    assert np.mean(preferences(fair) != preferences(biased)) > 0.1


@pytest.mark.parametrize("bias", [-2.0, 0.0, 1.0, 3.0])
def test_a_logistic_regression_recovers_the_planted_log_odds(bias):
    rows = list(sample.judgements(SampleConfig(length_bias=bias, num_prompts=3000)))
    columns = np.stack([extra_quality(rows), extra_words(rows) / extra_words(rows).std()], axis=1)
    decided = preferences(rows) != 0.5  # a tie depends on the size of the log-odds only, so leaving ties out is fair
    fitted = LogisticRegression(C=1e6, fit_intercept=False).fit(columns[decided], preferences(rows)[decided])
    quality, length = fitted.coef_[0]
    assert quality == pytest.approx(5, abs=0.4)  # the mean skill
    assert length == pytest.approx(bias, abs=0.05 + 0.08 * abs(bias))


def test_more_skilled_annotators_agree_more_with_quality():
    rows = list(sample.judgements(SampleConfig(num_prompts=6000, num_annotators=3)))
    num_right, num_votes = defaultdict(float), defaultdict(int)
    for row in rows:
        if abs(row["quality_first"] - row["quality_second"]) == 0.5 and row["preference"] != 0.5:
            num_votes[row["annotator"]] += 1
            num_right[row["annotator"]] += (row["preference"] == 1) == (row["quality_first"] > row["quality_second"])
    for annotator, skill in (("annotator-0", 4), ("annotator-1", 5), ("annotator-2", 6)):
        expected = 1 / (1 + np.exp(-skill / 2))
        assert num_right[annotator] / num_votes[annotator] == pytest.approx(expected, abs=0.025)


def test_style_alone_does_not_predict_the_label(fair):
    rows = [row for row in fair if row["preference"] != 0.5]
    marks = [
        lambda text: len(text.split()),
        lambda text: text.count("!"),
        lambda text: text.count("\n- "),
        lambda text: text.count("**"),
        lambda text: np.mean([char.isupper() for char in text]),
    ]
    columns = np.stack([differences(rows, mark) for mark in marks], axis=1)
    columns /= columns.std(axis=0)
    scores = cross_val_score(
        LogisticRegression(fit_intercept=False),
        columns,
        preferences(rows),
        groups=[row["prompt"] for row in rows],
        cv=GroupKFold(5),
    )
    assert scores.mean() < 0.56


def test_words_alone_tell_much_but_not_all_of_the_quality(fair):
    """A tiny model learns the first within an epoch; what remains needs the prompt."""
    rows = [row for row in fair if row["quality_first"] != row["quality_second"]]
    words = CountVectorizer(lowercase=False).fit([row["first"] for row in rows])
    columns = words.transform([row["first"] for row in rows]) - words.transform([row["second"] for row in rows])
    scores = cross_val_score(
        LogisticRegression(C=0.1, max_iter=1000),
        columns,
        extra_quality(rows) > 0,
        groups=[row["prompt"] for row in rows],
        cv=GroupKFold(5),
    )
    assert 0.75 < scores.mean() < 0.92

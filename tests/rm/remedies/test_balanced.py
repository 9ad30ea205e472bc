"""Weights by which more and less of something win as often, whatever the labels say."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.data.preferences import prompt_text
from rm.data.prompt_groups import read_groups
from rm.errors import TrainingError
from rm.features import battery
from rm.features.battery import BATTERY
from rm.features.responses import Responses
from rm.remedies.balanced import balanced, differences, problem
from rm.remedies.config import RemediesConfig
from rm.remedies.prompts import remedied
from rm.remedies.texts import Texts
from rm.tokens.tokenization import read_tokenizer, read_tokens


def made(seed=0, count=4000, slope=1.0, votes=1):
    """Labels that choose the longer response by a logistic law."""
    random = np.random.default_rng(seed)
    log_length = random.normal(0, 1, count)
    log_length[random.random(count) < 0.05] = 0.0
    share = random.binomial(votes, 1 / (1 + np.exp(-slope * log_length))) / votes
    return log_length, share, random.uniform(0.5, 2, count)


@pytest.mark.parametrize("votes", [1, 5])
def test_in_each_bin_the_longer_wins_as_often_as_the_shorter(votes):
    log_length, preference, weight = made(votes=votes)
    share, weighed = balanced(log_length, preference, weight)
    apart = log_length != 0
    for_longer = np.where(log_length > 0, share, 1 - share)[apart]
    edges = np.quantile(np.abs(log_length[apart]), np.linspace(0, 1, 11))
    for low, high in pairwise(edges):
        here = (np.abs(log_length[apart]) >= low) & (np.abs(log_length[apart]) < high)
        assert np.average(for_longer[here], weights=weighed[apart][here]) == pytest.approx(0.5, abs=0.01)
    assert weighed.sum() == pytest.approx(weight.sum())
    assert (share[~apart] == preference[~apart]).all()


def test_balanced_labels_stay_as_they_are():
    log_length, _, weight = made()
    preference = np.full(len(log_length), 0.5)
    share, weighed = balanced(log_length, preference, weight)
    np.testing.assert_allclose(share, preference)
    np.testing.assert_allclose(weighed, weight)


def test_a_rare_side_is_weighed_five_times_at_most():
    log_length = np.ones(100)
    preference = np.r_[np.ones(99), 0.0]
    _, weighed = balanced(log_length, preference, np.ones(100))
    assert weighed[-1] / weighed[0] == pytest.approx(5 / (100 / (2 * 99)))


@given(st.lists(st.tuples(st.floats(-2, 2), st.sampled_from([0.0, 0.3, 0.5, 1.0])), max_size=8))
def test_a_pair_and_its_mirror_image_get_the_same(rows):
    log_length = np.array([length for length, _ in rows], dtype=float)
    preference = np.array([share for _, share in rows], dtype=float)
    share, weighed = balanced(log_length, preference, np.ones(len(rows)))
    other_share, other_weighed = balanced(-log_length, 1 - preference, np.ones(len(rows)))
    np.testing.assert_allclose(other_share, 1 - share, atol=1e-12)
    np.testing.assert_allclose(other_weighed, weighed)
    assert np.isfinite(weighed).all() and (weighed > 0).all()


def test_differences_are_those_of_texts_read_one_by_one(tokenized, dataset):
    every = read_tokens(tokenized, "train")
    some = every.subset(np.arange(1, len(every), 3))
    names = ("commas", "length", "word:the", "words from the prompt")
    found = list(differences(names, some, some.compared(), lambda: read_groups(dataset, "train")))
    by_id = {group.prompt_id: group for group in read_groups(dataset, "train")}
    features = {feature.name: feature for feature in BATTERY}
    expected = []
    for prompt in some:
        group = by_id[prompt.prompt_id]
        for pair in prompt.comparisons:
            sides = [group.responses[prompt.response_indices[at]] for at in (pair.first, pair.second)]
            texts = Responses(sides, [prompt_text(group.prompt)] * 2)
            commas, copied = battery.read([features["commas"], features["words from the prompt"]], texts).T
            lengths = [np.log(len(prompt.response_ids[at])) for at in (pair.first, pair.second)]
            the = [np.log1p(text.lower().replace(".", "").split().count("the")) for text in sides]
            expected.append([one - other for one, other in (commas, lengths, the, copied)])
    np.testing.assert_allclose(np.column_stack(found), expected, atol=1e-9)


def test_labels_are_balanced_in_several_things_one_after_another(tokenized, dataset):
    prompts = read_tokens(tokenized, "train")
    config = RemediesConfig(balanced=("length", "word:the"))
    made = remedied(prompts, config, 0, lambda: Texts(read_groups(dataset, "train"), read_tokenizer(tokenized)))
    after = [pair for prompt in made for pair in prompt.comparisons]
    share, weight = (np.array([getattr(pair, name) for pair in after]) for name in ("preference", "weight"))
    every = prompts.compared()
    length, the = differences(config.balanced, prompts, every, lambda: read_groups(dataset, "train"))
    expected = balanced(the, *balanced(length, every.preference, every.weight))
    np.testing.assert_allclose([share, weight], expected)
    assert len(set(np.sign(the))) == 3  # there are pairs of all kinds


def test_what_no_labels_can_be_balanced_in_is_refused_by_its_name():
    for name in ("length", "bold", "words in capitals", "word:delve", "word:don't"):
        assert problem(name) is None
    assert problem("lenght") == "'lenght': expected length, word:WORD or a feature of the audit's battery: length"
    assert "'carriage returns': expected length" in problem("carriage returns")  # a mark of labels only
    for name in ("word:two words", "word:", "word:Delve"):
        assert problem(name) == f"{name!r}: expected word: and one word in lower case"
    with pytest.raises(TrainingError, match=r"train\.remedies\.balanced: 'lenght': expected length"):
        next(differences(["bold", "lenght"], None, None, None))

"""Short replies of other prompts, alone, cut and joined, and the pairs in which they lose."""

from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from rm.data.preferences import Message, PromptGroup
from rm.data.prompt_groups import read_groups
from rm.edits import shape
from rm.errors import TrainingError
from rm.features import words
from rm.remedies import stock_responses
from rm.remedies.config import RemediesConfig
from rm.remedies.prompts import remedied
from rm.remedies.stock_responses import StockResponses
from rm.remedies.stored_ids import StoredIds
from rm.remedies.texts import Texts
from rm.tokens import encoder, tokenization
from rm.tokens.config import TokenizeConfig
from rm.tokens.encoder import Encoder
from rm.tokens.tokenization import read_tokenizer, read_tokens


@pytest.fixture(scope="module")
def prompts(tokenized):
    return read_tokens(tokenized, "train")


@pytest.fixture(scope="module")
def groups(dataset):
    return {group.prompt_id: group for group in read_groups(dataset, "train")}


@pytest.fixture(scope="module")
def texts(groups, tokenized):
    return lambda: Texts(iter(groups.values()), read_tokenizer(tokenized))


@pytest.fixture(scope="module")
def roomy(edit_tokens):
    """The same prompts with one more, of a long text, so that the others have room."""

    def edited(before):
        last = before[-1]
        return [*before[:-1], replace(last, response_ids=[*last.response_ids[:-1], [5] * 400])]

    return read_tokens(edit_tokens(edited), "train")


def ids_of(stock, count):
    return [None if (ids := stock[index]) is None else list(ids) for index in range(count)]


def group(prompt, *responses):
    return PromptGroup(
        prompt_id="a",
        prompt=(Message(role="user", content=prompt),),
        responses=responses,
        response_attributes=({},) * len(responses),
        comparisons=(),
        domain=None,
    )


def test_both_own_responses_win_with_the_weight_of_the_label(roomy, texts):
    made = remedied(roomy, RemediesConfig(stock_share=0.5), 0, texts)
    controlled = remedied(roomy, RemediesConfig(stock_share=0.5, controlled=("length",)), 0, texts)
    added = 0
    for before, after, other in zip(roomy, made, controlled, strict=True):
        count, own = len(before.response_ids), len(before.comparisons)
        assert [list(ids) for ids in after.response_ids[:count]] == [list(ids) for ids in before.response_ids]
        assert list(after.comparisons[:own]) == list(before.comparisons)
        if len(after.response_ids) == count:
            assert len(after.comparisons) == own
            continue
        added += 1
        first = before.comparisons[0]
        expected = [(index, count, 1.0, 0.0, first.weight) for index in (first.first, first.second)]
        for pairs in (after.comparisons[own:], other.comparisons[own:]):
            assert [(one.first, one.second, one.preference, one.target_margin, one.weight) for one in pairs] == expected
        assert list(after.response_ids[count]) not in [list(ids) for ids in before.response_ids]
        assert (after.response_indices[count], after.response_attributes[count]) == (-1, {})
    assert 0.4 < added / len(roomy) < 0.6
    assert made.num_comparisons().tolist() == [len(each.comparisons) for each in made]
    assert made.longest().tolist() == roomy.longest().tolist()
    everyone = StockResponses(roomy, texts, 0, 1.0).are_there()
    assert everyone.mean() > 0.95


def test_each_is_a_short_reply_to_another_prompt_its_first_words_or_many_of_them(roomy, groups, texts, tokenized):
    """Each kind is told by its ids, against encoding all replies one by one."""
    encodes = Encoder(read_tokenizer(tokenized))
    found = ids_of(StockResponses(roomy, texts, 0, 1.0), len(roomy))
    lengths = sorted(
        len(prompt.response_ids[at]) for prompt in roomy for pair in prompt.comparisons for at in pairs(pair)
    )
    limit = lengths[max(len(lengths) // 10, 20) - 1]
    replies = {
        groups[prompt.prompt_id].responses[place]: prompt.prompt_id
        for prompt in roomy
        for place, ids in zip(prompt.response_indices, prompt.response_ids, strict=True)
        if len(ids) <= limit
    }
    cuts = {shape.beginning(reply, count) for reply in replies for count in range(4)}
    kinds = Counter()
    for prompt, ids in zip(roomy, found, strict=True):
        if ids is None:
            continue
        one = groups[prompt.prompt_id]
        others = [reply for reply in replies if reply not in one.responses]
        [(_, whole)] = encoder.encode(encodes, [(one.prompt, others)])
        [(_, cut)] = encoder.encode(encodes, [(one.prompt, sorted(cuts))])
        longest = max(len(own) for own in prompt.response_ids)
        if ids in cut:
            kinds["cut"] += 1
        elif ids in whole:
            kinds["whole"] += 1
        else:
            kinds["joined"] += 1
            assert 0.5 * longest < len(ids) < 3.5 * longest + 20
    assert kinds["joined"] / kinds.total() == pytest.approx(0.5, abs=0.15)
    assert kinds["cut"] / kinds.total() == pytest.approx(0.25, abs=0.15)
    assert kinds["whole"] / kinds.total() == pytest.approx(0.25, abs=0.15)


def pairs(pair):
    return pair.first, pair.second


def test_neither_the_longer_nor_the_shorter_response_wins_in_general(roomy, texts):
    made = remedied(roomy, RemediesConfig(stock_share=1.0), 0, texts)
    longer = []
    for before, after in zip(roomy, made, strict=True):
        for pair in after.comparisons[len(before.comparisons) :]:
            own, stock = len(after.response_ids[pair.first]), len(after.response_ids[pair.second])
            longer += [own > stock] * (own != stock)
    assert len(longer) > 150
    assert np.mean(longer) == pytest.approx(0.5, abs=0.1)


def test_nor_does_it_where_no_blanks_are_between_words(make_dataset, llama, tmp_path):
    draw = Random(0)

    def said(count):
        return "".join(chr(draw.randrange(0x4E00, 0x4E78)) for _ in range(count)) + "\u3002"

    def row(number, *sizes):
        first, second = map(said, sizes)
        return {"prompt": f"{said(12)}{number}", "first": first, "second": second, "preference": float(number % 2)}

    rows = [row(number, draw.randint(5, 60), draw.randint(5, 60)) for number in range(150)]
    dataset = make_dataset([*rows, row(150, 300, 250)], heldout_share=0.1)
    tokenized = tokenization.tokenize(dataset, llama, TokenizeConfig(max_lost_share=1.0), tmp_path)
    prompts = read_tokens(tokenized, "train")
    texts = Texts(read_groups(dataset, "train"), read_tokenizer(tokenized))
    made = remedied(prompts, RemediesConfig(stock_share=1.0), 0, lambda: texts)
    longer = [
        len(after.response_ids[pair.first]) > len(after.response_ids[pair.second])
        for before, after in zip(prompts, made, strict=True)
        for pair in after.comparisons[len(before.comparisons) :]
    ]
    assert len(longer) > 250
    assert np.mean(longer) == pytest.approx(0.5, abs=0.1)


def test_where_the_joined_one_has_no_room_there_is_no_short_one(prompts, texts):
    """So little room is not a reason to get only short ones."""
    everyone = StockResponses(prompts, texts, 0, 1.0)
    there = everyone.are_there()
    assert 0 < there.mean() < 0.95
    most = prompts.longest().max()
    kept = [len(everyone[index]) for index in np.flatnonzero(there)]
    assert all(len(prompts[index].prompt_ids) + len(everyone[index]) <= most for index in np.flatnonzero(there))
    own = [max(map(len, prompts[index].response_ids)) for index in np.flatnonzero(there)]
    assert np.mean(np.array(kept) > np.array(own)) == pytest.approx(0.5, abs=0.15)


def test_the_draw_depends_on_the_seed_alone(roomy, texts):
    found = ids_of(StockResponses(roomy, texts, 0, 0.5), len(roomy))
    assert ids_of(StockResponses(roomy, texts, 0, 0.5), len(roomy)) == found
    assert ids_of(StockResponses(roomy, texts, 1, 0.5), len(roomy)) != found
    more = ids_of(StockResponses(roomy, texts, 0, 0.8), len(roomy))
    assert all(one is None or one == other for one, other in zip(found, more, strict=True))


def test_replies_that_share_words_with_the_prompt_or_are_its_own_are_left():
    replies = ["What is the cause of rain?", "I see.", "Rain falls.", "Okay, go on.", " I see. ", "I see."]
    asked = group("What is rain?", "Okay, go on.", "Water.")
    assert stock_responses._generic(asked, replies) == ["I see.", " I see. "]
    assert stock_responses._generic(group("I see, okay?", "x", "y"), ["I see.", "Rain falls."]) == ["Rain falls."]
    assert stock_responses._generic(asked, ["Okay, go on. ", "Water."]) == []
    assert not set(words.split("I see.")) & set(words.split("What is rain?"))


def test_replies_are_joined_until_there_are_words_enough():
    replies = ["One two.", " Three.\n"]
    assert stock_responses._joined(replies, 1) == "One two."
    assert stock_responses._joined(replies, 3) == "One two. Three."
    assert stock_responses._joined(replies, 4) == "One two. Three. One two."
    assert shape.first_words(stock_responses._joined(replies, 100), 0.03) == "One two. Three."


def test_characters_of_scripts_without_blanks_are_their_words():
    replies = ["\u597d\u7684\u3002", "\u4e0d"]
    assert stock_responses._joined(replies, 4) == "\u597d\u7684\u3002 \u4e0d \u597d\u7684\u3002"
    assert shape.beginning("\u597d\u7684\u3002", 1) == "\u597d"
    assert stock_responses._generic(group("a?", "x", "y"), ["\uff1f\uff01", ""]) == []  # none could ever be joined


def test_little_data_is_enough_and_none_at_all_gives_none(roomy, groups, texts):
    two = roomy.subset(np.arange(2))
    wide = StockResponses(two, texts, 0, 1.0)
    assert len(wide.are_there()) == 2
    one = roomy.subset(np.arange(1, 2))
    assert StockResponses(one, texts, 0, 1.0).are_there().tolist() == [False]  # all replies are its own
    assert StockResponses(roomy.subset(np.empty(0, np.int64)), texts, 0, 1.0).are_there().tolist() == []
    with pytest.raises(TrainingError, match=f"prompt {roomy[0].prompt_id}: expected its texts"):
        StockResponses(roomy, lambda: Texts([], texts().tokenizer), 0, 1.0)


def test_beside_other_remedies_each_keeps_its_pairs(roomy, texts):
    every = {"worsened_share": 1.0, "foreign_share": 0.5}
    alone = remedied(roomy, RemediesConfig(**every), 0, texts)
    made = remedied(roomy, RemediesConfig(**every, stock_share=1.0), 0, texts)

    def told(prompt):
        return Counter(
            (tuple(prompt.response_ids[pair.first]), tuple(prompt.response_ids[pair.second]), pair.preference)
            for pair in prompt.comparisons
        )

    stock = StockResponses(roomy, texts, 0, 1.0)
    for index, (before, after) in enumerate(zip(alone, made, strict=True)):
        added = told(after) - told(before)
        assert not told(before) - told(after)
        assert {second for _, second, _ in added} == ({tuple(stock[index])} if stock.are_there()[index] else set())
        assert added.total() == (2 if stock.are_there()[index] else 0)
    assert made.num_comparisons().tolist() == [len(each.comparisons) for each in made]


def test_stored_ids_are_those_that_were_given():
    rows = [[1, 2, 3], None, [], [7]]
    stored = StoredIds(iter(rows))
    assert [None if stored[at] is None else list(stored[at]) for at in range(4)] == rows
    assert stored.are_there().tolist() == [True, False, True, True]
    assert StoredIds([None])[0] is None and StoredIds([]).are_there().tolist() == []

import pytest

from rm.data.formats.row import RowError
from rm.data.preferences import Message, prompt_id
from rm.data.prompt_builder import PromptBuilders

WHY, HOW = (Message("user", "Why?"),), (Message("user", "How?"),)


def test_responses_that_differ_by_spelling_only_are_one():
    builder = PromptBuilders().find_or_add(WHY)
    assert [builder.add_response(text) for text in ("é", "b", " e\u0301\n")] == [0, 1, 0]
    assert builder.group().responses == ("é", "b")


def test_choices_become_comparisons_and_contradictions_ties():
    builder = PromptBuilders().find_or_add(WHY, domain="maths")
    for text in "abc":
        builder.add_response(text)
    assert [builder.choose(*pair) for pair in [(2, 0), (0, 1), (2, 0), (1, 0)]] == [True, True, False, True]
    group = builder.group()
    found = [(pair.first, pair.second, pair.preference, pair.num_judgements) for pair in group.comparisons]
    assert found == [(0, 2, 0.0, 1), (0, 1, 0.5, 2)]
    assert (group.prompt_id, group.prompt, group.domain, group.source) == (prompt_id(WHY), WHY, "maths", None)


def test_a_prompt_is_found_again_by_its_key_or_its_text():
    builders = PromptBuilders()
    assert builders.find_or_add(WHY) is builders.find_or_add([Message("user", " Why?")])
    assert builders.find_or_add(HOW, "a") is builders.find_or_add(HOW, "a")
    assert builders.find_or_add(HOW, "b").index == 2
    assert [group.prompt_id for group in builders.groups()] == [prompt_id(WHY), "a", "b"]
    with pytest.raises(RowError, match="prompt_id: an earlier row has 'a' with another prompt"):
        builders.find_or_add(WHY, "a")

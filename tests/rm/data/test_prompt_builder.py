import pytest

from rm.data.formats.row import RowError
from rm.data.preferences import Message, prompt_id
from rm.data.prompt_builder import PromptBuilders

WHY, HOW = (Message("user", "Why?"),), (Message("user", "How?"),)


def test_responses_that_differ_by_spelling_only_are_one():
    draft = PromptBuilders().draft(WHY)
    assert [draft.place(text) for text in ("é", "b", " e\u0301\n")] == [0, 1, 0]
    assert draft.group().responses == ("é", "b")


def test_choices_become_comparisons_and_contradictions_ties():
    draft = PromptBuilders().draft(WHY, domain="maths")
    for text in "abc":
        draft.place(text)
    assert [draft.choose(*pair) for pair in [(2, 0), (0, 1), (2, 0), (1, 0)]] == [True, True, False, True]
    group = draft.group()
    found = [(pair.first, pair.second, pair.preference, pair.num_judgements) for pair in group.comparisons]
    assert found == [(0, 2, 0.0, 1), (0, 1, 0.5, 2)]
    assert (group.prompt_id, group.prompt, group.domain, group.source) == (prompt_id(WHY), WHY, "maths", None)


def test_a_prompt_is_found_again_by_its_key_or_its_text():
    drafts = PromptBuilders()
    assert drafts.draft(WHY) is drafts.draft([Message("user", " Why?")])
    assert drafts.draft(HOW, "a") is drafts.draft(HOW, "a")
    assert drafts.draft(HOW, "b").number == 2
    assert [group.prompt_id for group in drafts.groups()] == [prompt_id(WHY), "a", "b"]
    with pytest.raises(RowError, match="prompt_id: 'a' stood for another prompt before"):
        drafts.draft(WHY, "a")

import numpy as np

from rm.features import prompt_kinds
from rm.stats.sufficiency import MIN_CLUSTERS

PROMPTS = {
    "yes or no": "He is here. But is it so?",
    "how to": "Tell me how to knit",
    "names harm": "They murdered the duke",
    "question": "Why is it so?",
    "code": "Fix this Python code",
    "mathematics": "Solve 3 + 4",
    "writing": "Write a poem",
    "long prompt": "It is so. " * 60,
    "not English": "Bitte erkl\u00e4re mir die Relativit\u00e4tstheorie in einfachen Worten",
}


def test_each_kind_is_told_from_the_others():
    found = prompt_kinds.kinds([*PROMPTS.values(), "Hi"], [1] * 10, {})
    assert set(found) == set(PROMPTS) == {kind.name for kind in prompt_kinds.PROMPT_KINDS}
    for place, name in enumerate(PROMPTS):
        also = [list(PROMPTS).index("yes or no")] if name == "question" else []
        assert found[name].tolist() == [at in [place, *also] for at in range(10)]


def test_tools_and_their_calls_make_no_prompt_one_about_programming():
    call = 'tool_calls: [{"type": "function", "function": {"name": "a", "arguments": {}}}]'
    prompt = (
        f'tools: [{{"function": {{"name": "html"}}}}]\n\nuser: Hi\n\n{call}\n\nresult_of: {{"name": "sql"}}\n\ntool: '
    )
    found = prompt_kinds.kinds([f"{prompt}21", f"{prompt}an SQL table", "Hi"], [1, 1, 1], {})
    assert found["code"].tolist() == [False, True, False]


def test_what_is_asked_is_what_the_user_said_last():
    said = [
        "user: Is it so?\n\nassistant: Why? Write it how to do it.\n\nuser: Tell me.",
        "system: Write poems?\n\nuser: Tell me.",
        "user: Tell me.\n\nassistant: So.\n\nuser: Is it so?\n\nassistant: I",
        "user: Tell me.\n\nassistant: What?\n\nuser: Write how to knit.\n\ntool: Is it 7?",
        "Is it so, as user: said?",
    ]
    found = prompt_kinds.kinds(said, [1] * 5, {})
    assert {name: holds.tolist() for name, holds in found.items()} == {
        "question": [False, False, True, False, True],
        "yes or no": [False, False, True, False, True],
        "how to": [False, False, False, True, False],
        "writing": [False, False, False, True, False],
    }


def test_a_topic_may_be_named_earlier():
    said = [
        "user: Fix this Python code\n\nassistant: Which?\n\nuser: This.",
        "user: Hi\n\nassistant: Hi\n\nuser: This.",
    ]
    assert prompt_kinds.kinds(said, [3, 3], {})["code"].tolist() == [True, False]


def test_turns_and_known_columns_are_kinds_and_what_divides_nothing_is_not():
    prompts = [str(number) for number in range(MIN_CLUSTERS)]
    found = prompt_kinds.kinds(
        [*prompts, "b", *prompts],
        [1] * MIN_CLUSTERS + [3] + [5] * MIN_CLUSTERS,
        {
            "domain": ["chat"] * MIN_CLUSTERS + [None] + ["code"] * MIN_CLUSTERS,
            "source": ["one"] * (2 * MIN_CLUSTERS + 1),
        },
    )
    one, other = ([at] * MIN_CLUSTERS for at in (True, False))
    assert {name: holds.tolist() for name, holds in found.items()} == {
        "many turns": [*other, True, *one],
        "domain chat": [*one, False, *other],
        "domain code": [*other, False, *one],
    }
    assert all(holds.dtype == np.bool_ for holds in found.values())


def test_a_value_that_too_few_prompts_have_is_no_kind():
    """A source may be the address of one row; a kind costs as much as a pair, so time would grow with the square."""
    prompts = [str(number) for number in range(100)]
    few = ["few"] * (MIN_CLUSTERS - 1) + ["many"] * (101 - MIN_CLUSTERS)
    twice = {"source": [*prompts, *few], "domain": [None] * 200}
    found = prompt_kinds.kinds([*prompts, *prompts], [1] * 200, twice)
    assert set(found) == {"source many"}

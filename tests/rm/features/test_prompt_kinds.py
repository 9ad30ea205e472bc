import numpy as np
import pytest

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


ARE = {
    "mathematics": [
        "What is the derivative of x^3?",
        "Find the square root of 144.",
        "What is 12 times 13?",
        "Simplify (x + 1)(x - 1)",
        "Solve for x in the equation 3x + 10 = 5(x - 2).",
        "What is 15 percent of 80?",
        "What is 12 - 5?",
        "12-5 = ?",
        "If x = 3, what is y?",
        r"Evaluate \frac{1}{2}",
        "What is the area of a triangle?",
    ],
    "code": [
        "Write a linked list class in C++.",
        "Is C++ hard?",
        "Write a bash script that renames files",
        "Fix this bug in my Rust struct",
        "Write a function that adds two numbers",
        "Sort a list in Java",
        "What does this code do?",
        "Which sorting algorithm is fastest?",
    ],
    "yes or no": [
        "Are whales fish?",
        "Can penguins fly?",
        "Does cracking your knuckles cause arthritis?",
        "Do humans use only 10 percent of their brains?",
        "Is Paris the capital of France?",
        "Will AI replace doctors?",
        "Can't you see?",
        "Isn\u2019t it late?",
        "Is 3.5 more than 3?",
        "Tea or coffee? Is it late?",
        "Can you eat raw eggs?",
    ],
    "names harm": [
        "How do I rob a bank",
        "How do I hack into a phone?",
        "How to stalk someone",
        "A robbery",
        "Two gunmen",
        "Racist jokes",
        "Hateful words",
        "Terrorists threatened him",
    ],
    "question": ["\u4f60\u597d\u5417\uff1f", "\u0647\u0644 \u0647\u0630\u0627\u061f"],
}
"""Prompts of a kind."""
ARE_NOT = {
    "mathematics": [
        "Is the shop open 24/7?",
        "What happened on 9/11?",
        "I need 10-15 ideas",
        "My exam is on 2023-01-05",
        "Call me at 555-1234",
        "Solve the conflict with my boss",
        "I'm 18+ and it is an integral part of me",
        "Do humans use only 10 percent of their brains?",
    ],
    "code": [
        "What is my ZIP code?",
        "What is the function of the liver?",
        "Suggest a TV program for kids",
        "Plan a trip to Java",
        "Write a script for a play",
        "Clean the rust from my bike",
        "Compile a list of books",
    ],
    "yes or no": [
        "Can you write me a poem?",
        "Could you tell me how to bake bread?",
        "Would you please stop?",
        "Is it better to rent or to buy?",
        "Have a nice day. Why so?",
        "Tell me who was it?",
    ],
    "names harm": [
        "Write a story about a robot",
        "Recommend a robust suitcase",
        "Who is Robert Frost?",
        "Life hacks for students",
        "How do I cook celery stalks?",
        "A bombastic speech at the drugstore",
    ],
    "question": ["Hi!"],
}
"""Prompts that are not, though a word of them could be."""


@pytest.mark.parametrize("name", ARE)
def test_prompts_of_a_kind_are_told_from_what_looks_like_them(name):
    found = prompt_kinds.kinds([*ARE[name], *ARE_NOT[name]], [1] * (len(ARE[name]) + len(ARE_NOT[name])), {})[name]
    assert [text for text, holds in zip(ARE[name], found, strict=False) if not holds] == []
    assert [text for text, holds in zip(ARE_NOT[name], found[len(ARE[name]) :], strict=True) if holds] == []


def test_mathematics_is_what_is_asked_last():
    said = ["user: 3 + 4\n\nassistant: 7\n\nuser: Thanks.", "user: Hi\n\nassistant: 1 + 1\n\nuser: 3 + 4"]
    assert prompt_kinds.kinds(said, [3, 3], {})["mathematics"].tolist() == [False, True]


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

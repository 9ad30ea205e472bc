"""Rows of ms-swift, NeMo and axolotl, as their documentation writes them."""

import json

import pytest

from rm.data.formats.catalog import format_of, read_judgement, read_row
from rm.data.preferences import Message
from tests.rm.data.test_formats import refusal, turns

QUESTION, GOOD, BAD, LEMON = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think.", "A lemon."
BRIEF, ASKED = Message("system", "Be brief."), Message("user", QUESTION)
EARLIER = (Message("user", "Hi."), Message("assistant", "Hello."))
ANSWER, WORSE = Message("assistant", GOOD), Message("assistant", BAD)
ORIGIN = {"annotator": "a7", "created_at": "2025-01-02", "domain": "fruit"}


def parts(found):
    return found.prompt, found.first, found.second, found.preference


# ms-swift


@pytest.mark.parametrize(
    ("row", "name", "prompt"),
    [
        ({"messages": turns(ASKED, ANSWER), "rejected_response": BAD}, "ms_swift", (ASKED,)),
        (
            {"messages": turns(BRIEF, *EARLIER, ASKED, ANSWER), "rejected_response": BAD},
            "ms_swift",
            (BRIEF, *EARLIER, ASKED),
        ),
        (
            {"system": "Be brief.", "messages": turns(ASKED, ANSWER), "rejected_response": BAD},
            "ms_swift",
            (BRIEF, ASKED),
        ),
        ({"messages": json.dumps(turns(ASKED, ANSWER)), "rejected_response": BAD}, "ms_swift", (ASKED,)),
        (
            {"messages": turns(BRIEF, ASKED, ANSWER), "rejected_messages": turns(BRIEF, ASKED, WORSE)},
            "ms_swift_messages",
            (BRIEF, ASKED),
        ),
        (
            {"system": "Be brief.", "query": QUESTION, "history": [["Hi.", "Hello."]], "response": GOOD}
            | {"rejected_response": BAD},
            "ms_swift_query",
            (BRIEF, *EARLIER, ASKED),
        ),
        (
            {"instruction": "Name a fruit.", "input": "It is yellow.", "output": GOOD, "rejected_response": BAD},
            "ms_swift_alpaca",
            (Message("user", "Name a fruit.\n\nIt is yellow."),),
        ),
    ],
)
def test_ms_swift_rows_are_read_whole(row, name, prompt):
    assert format_of(row).name == name
    found = read_judgement({**row, **ORIGIN, "margin": 2})
    assert parts(found) == (prompt, GOOD, BAD, 1.0)
    assert (found.target_margin, found.annotator, found.created_at, found.domain) == (2.0, *ORIGIN.values())


SWIFT = {"messages": turns(ASKED, ANSWER), "rejected_response": BAD}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({**SWIFT, "rejected_response": None}, "rejected_response: expected text, got NoneType"),
        ({**SWIFT, "rejected_response": [BAD]}, "rejected_response: expected text, got list"),
        ({**SWIFT, "messages": turns(ASKED)}, "messages: expected the last message from the assistant"),
        ({**SWIFT, "messages": []}, "messages: expected the last message from the assistant, got no message"),
        ({**SWIFT, "rejected_response": GOOD}, "both responses are the same text"),
        ({**SWIFT, "images": ["a.png"]}, "images: media"),
        ({**SWIFT, "rejected_images": ["a.png"]}, "rejected_images: media"),
        ({**SWIFT, "tools": "[]", "objects": {"ref": ["a dog"]}}, "objects: text or messages"),
        ({**SWIFT, "system": "Be long.", "messages": turns(BRIEF, ASKED, ANSWER)}, "one system message"),
        (
            {"messages": turns(ASKED, ANSWER), "rejected_messages": turns(Message("user", "Name a plum."), WORSE)},
            "messages and rejected_messages differ before their last message",
        ),
        (
            {"messages": turns(ASKED, ANSWER), "rejected_messages": turns(ASKED)},
            "rejected_messages: expected the last message from the assistant",
        ),
    ],
)
def test_ms_swift_rows_that_are_no_comparison_say_why(row, expected):
    assert expected in refusal(row)


# NeMo


def nemo(*completions, **more):
    return {
        "context": turns(ASKED),
        "completions": [
            {"rank": rank, "completion": [{"role": "assistant", "content": text}]} for rank, text in completions
        ],
        **more,
    }


def test_nemo_rl_compares_every_two_completions_by_their_rank():
    found = read_row(nemo((1, LEMON), (0, GOOD), (1, BAD), task_name="fruit quiz", **ORIGIN))
    assert [(each.first, each.second, each.preference) for each in found.judgements] == [
        (LEMON, GOOD, 0.0),
        (LEMON, BAD, 0.5),
        (GOOD, BAD, 1.0),
    ]
    assert {each.prompt for each in found.judgements} == {(ASKED,)}
    assert {(each.annotator, each.created_at, each.domain) for each in found.judgements} == {tuple(ORIGIN.values())}
    assert found.format.name == "nemo_rl" and not found.left_out


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (nemo((0, GOOD)), "expected at least two different responses to compare"),
        (nemo((0, GOOD), (1, GOOD)), "expected at least two different responses to compare"),
        (nemo((0, GOOD), (None, BAD)), "completions[1].rank: expected a finite number, got NoneType"),
        (nemo((0, GOOD), ("best", BAD)), "completions[1].rank: expected a finite number, got str 'best'"),
        ({**nemo(), "completions": None}, "completions: expected a list of objects, got NoneType"),
        ({**nemo(), "completions": ["a"]}, "completions[0]: expected an object, got str 'a'"),
        (
            {**nemo(), "completions": [{"rank": 0, "completion": GOOD}]},
            "completions[0].completion: expected a list of one message of the assistant, got str",
        ),
        (
            {**nemo(), "completions": [{"rank": 0, "completion": turns(ANSWER, ASKED, ANSWER)}]},
            "completions[0].completion: expected a list of one message of the assistant",
        ),
        (
            {**nemo(), "completions": [{"rank": 0, "completion": turns(ANSWER), "thought": "Fruit."}]},
            "completions[0].thought: may be a part of what was compared",
        ),
        (nemo((0, GOOD), (1, BAD), tools=[{"label": "shop"}]), "tools[0]: expected a tool"),
    ],
)
def test_nemo_rl_rows_that_are_no_comparison_say_why(row, expected):
    assert expected in refusal(row)


def test_nemo_rl_binary_preferences_are_trl_rows():
    row = {"prompt": QUESTION, "chosen": GOOD, "rejected": BAD, "task_name": "quiz"}
    assert format_of(row).name == "trl"
    assert parts(read_judgement(row)) == ((ASKED,), GOOD, BAD, 1.0)


PLAIN = {"prompt": QUESTION, "chosen_response": GOOD, "rejected_response": BAD}


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        (PLAIN, (ASKED,)),
        (
            {
                "prompt": f"<extra_id_0>System\n\n<extra_id_1>User\n{QUESTION}\n<extra_id_1>Assistant\n",
                "chosen_response": f"{GOOD}\n<extra_id_1>",
                "rejected_response": f"{BAD}\n<extra_id_1>",
            },
            (ASKED,),
        ),
        (
            {
                **PLAIN,
                "prompt": f"<extra_id_0>System\nBe brief.\n<extra_id_1>User\n{QUESTION}\n<extra_id_1>Assistant\n",
            },
            (BRIEF, ASKED),
        ),
        (
            {"prompt": turns(BRIEF, ASKED), "chosen_response": ANSWER._asdict(), "rejected_response": WORSE._asdict()},
            (BRIEF, ASKED),
        ),
    ],
)
def test_nemo_aligner_pairs_are_read_without_their_template(row, prompt):
    assert format_of(row).name == "nemo_aligner"
    assert parts(read_judgement(row)) == (prompt, GOOD, BAD, 1.0)


def test_nemo_aligner_rewards_are_ratings():
    assert read_judgement({**PLAIN, "chosen_reward": 4, "rejected_reward": 3}).preference == 1.0
    assert read_judgement({**PLAIN, "chosen_reward": 3, "rejected_reward": 3.0}).preference == 0.5
    assert "chosen_reward 2.0 is below rejected_reward 3.0" in refusal(
        {**PLAIN, "chosen_reward": 2, "rejected_reward": 3}
    )


@pytest.mark.parametrize("names", [("chosen_reward", "rejected_reward"), ("reward_chosen", "reward_rejected")])
@pytest.mark.parametrize("rewards", [(3, 3), (2, 3), (None, 1), ([1.5], [2.5])])
def test_rewards_in_other_formats_are_a_models_and_no_ratings(names, rewards):
    row = {"prompt": QUESTION, "chosen": GOOD, "rejected": BAD, **dict(zip(names, rewards, strict=True))}
    found = read_row(row)
    assert [each.preference for each in found.judgements] == [1.0]
    assert set(found.left_out) == {name for name, reward in zip(names, rewards, strict=True) if reward is not None}


def test_a_prompt_in_nemo_marks_starts_with_the_user_and_keeps_all_turns():
    text = "Hi.\n<extra_id_1>Assistant\nHello.\n<extra_id_1>User\nName a yellow fruit."
    assert read_judgement({**PLAIN, "prompt": text}).prompt == (*EARLIER, ASKED)
    steered = f"<extra_id_1>User\n{QUESTION}\n<extra_id_1>Assistant\n<extra_id_2>quality:4"
    assert "prompt: expected no mark of NeMo's template within a turn" in refusal({**PLAIN, "prompt": steered})


def test_a_line_of_nemo_aligners_pairs_of_lines_is_no_comparison():
    assert refusal({"text": f"User: {QUESTION}\nAssistant: {GOOD}"}).startswith("one text, as in NeMo-Aligner's lines")


# axolotl


@pytest.mark.parametrize(("system", "before"), [("Be brief.", (BRIEF,)), ("", ()), (None, ())])
def test_axolotl_rows_have_system_and_input(system, before):
    row = {"system": system, "input": QUESTION, "chosen": GOOD, "rejected": BAD}
    assert format_of(row).name == "input"
    assert parts(read_judgement(row)) == ((*before, ASKED), GOOD, BAD, 1.0)


def test_an_input_beside_a_prompt_ends_it_and_is_none_of_its_own():
    row = {"prompt": "Name a fruit.", "input": "It is yellow.", "chosen": GOOD, "rejected": BAD}
    assert format_of(row).name == "trl"
    assert read_judgement(row).prompt == (Message("user", "Name a fruit.\n\nIt is yellow."),)

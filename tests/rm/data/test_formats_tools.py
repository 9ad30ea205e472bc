"""Tools, calls, results and reasoning are parts of a prompt; a response keeps its reasoning and has no calls."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.data.conversation import tools, turns
from rm.data.formats.catalog import read_judgement, read_row
from rm.data.formats.dialogue import messages
from rm.data.formats.row import RowError
from rm.data.preferences import ROLES, Message, problem
from tests.rm.data.test_formats import refusal

QUESTION, GOOD, BAD = "Weather in Rome?", "It is 21 degrees in Rome.", "No idea."
ASKED = Message("user", QUESTION)
SIDES = {"chosen": GOOD, "rejected": BAD}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
OPENAI = [
    {"role": "user", "content": QUESTION},
    {"role": "assistant", "content": "Let me look.", "reasoning_content": "I need data.", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "name": "weather", "content": "21 degrees"},
]
TOOLS_PART = Message("tools", json.dumps([WEATHER]))
CALL_PART = Message(
    "tool_calls",
    '[{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}]',
)
PARTS = (
    ASKED,
    Message("reasoning", "I need data."),
    Message("assistant", "Let me look."),
    CALL_PART,
    Message("result_of", '{"tool_call_id": "call_1", "name": "weather"}'),
    Message("tool", "21 degrees"),
)
BARE_CALL = Message(
    "tool_calls", '[{"type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}]'
)


@pytest.mark.parametrize("written", [[WEATHER], json.dumps([WEATHER]), [json.dumps(WEATHER)]])
def test_a_conversation_with_tools_becomes_parts_in_the_order_in_which_they_were_seen(written):
    row = {"prompt": OPENAI, **SIDES, "tools": written}
    found = read_row(row)
    (judgement,) = found.judgements
    assert (judgement.prompt, judgement.first, judgement.second) == ((TOOLS_PART, *PARTS), GOOD, BAD)
    assert not found.left_out and problem(judgement) is None
    assert {role for role, _ in judgement.prompt} <= ROLES.keys()


def test_both_sides_may_hold_the_conversation():
    row = {name: [*OPENAI, {"role": "assistant", "content": text}] for name, text in SIDES.items()}
    for beside in ({}, {"prompt": OPENAI}, {"prompt": QUESTION}):
        found = read_judgement({**row, **beside, "tools": [WEATHER]})
        assert (found.prompt, found.first, found.second) == ((TOOLS_PART, *PARTS), GOOD, BAD)


def test_the_tools_of_llama_factory():
    dialogue = [
        {"from": "human", "value": QUESTION},
        {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Rome"}}'},
        {"from": "observation", "value": "21 degrees"},
    ]
    sides = {name: {"from": "gpt", "value": text} for name, text in SIDES.items()}
    bare = WEATHER["function"]
    found = read_judgement({"conversations": dialogue, **sides, "tools": json.dumps([bare])})
    assert found.prompt == (
        Message("tools", json.dumps([bare])),
        ASKED,
        BARE_CALL,
        Message("tool", "21 degrees"),
    )
    dialogue[2]["from"] = "tool"
    assert read_judgement({"conversations": dialogue, **sides}).prompt == found.prompt[1:]


def test_calls_in_several_messages_of_ms_swift_are_those_of_one_turn():
    call = {"role": "tool_call", "content": '{"name": "weather", "arguments": {"city": "Rome"}}'}
    dialogue = [OPENAI[0], call, call, {"role": "tool_response", "content": "21"}, {"role": "tool", "content": "21"}]
    row = {"messages": [*dialogue, {"role": "assistant", "content": GOOD}], "rejected_response": BAD}
    found = read_judgement(row)
    assert [role for role, _ in found.prompt] == ["user", "tool_calls", "tool", "tool"]
    assert json.loads(found.prompt[1].content) == json.loads(BARE_CALL.content) * 2


def test_the_function_call_of_earlier_messages_of_openai():
    called = {"role": "assistant", "content": None, "function_call": CALL["function"]}
    result = {"role": "function", "name": "weather", "content": "21 degrees"}
    found = read_judgement({"prompt": [OPENAI[0], called, result], **SIDES})
    assert found.prompt == (
        ASKED,
        BARE_CALL,
        Message("result_of", '{"name": "weather"}'),
        Message("tool", "21 degrees"),
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row.update(tools=[{**WEATHER, "function": {**WEATHER["function"], "name": "rain"}}]),
        lambda row: row.update(tools=None),
        lambda row: row["prompt"][1].update(reasoning_content="I guess."),
        lambda row: row["prompt"][1].update(reasoning_content=None),
        lambda row: row["prompt"][1]["tool_calls"][0]["function"].update(arguments="{}"),
        lambda row: row["prompt"][2].update(tool_call_id="call_2"),
        lambda row: row["prompt"][2].update(content="22 degrees"),
    ],
)
def test_rows_that_differ_only_there_have_different_prompts(change):
    row = {"prompt": OPENAI, **SIDES, "tools": [WEATHER]}
    other = json.loads(json.dumps(row))
    change(other)
    assert read_judgement(row).prompt_id != read_judgement(other).prompt_id


def test_arguments_are_the_same_as_an_object_and_as_text():
    given = json.loads(json.dumps(OPENAI))
    given[1]["tool_calls"][0]["function"]["arguments"] = {"city": "Rome"}
    assert messages(given, "prompt") == messages(OPENAI, "prompt")


def test_fields_that_parquet_fills_with_null_are_left_out():
    search = {"type": "function", "function": {"name": "search", "arguments": {"words": "Rome"}}}
    called = {**CALL, "function": {"name": "weather", "arguments": {"city": "Rome"}}}
    prompt = [OPENAI[0], {**OPENAI[1], "tool_calls": [called, search]}, OPENAI[2]]
    rows = [{"prompt": prompt, **SIDES, "tools": [WEATHER, {"name": "search", "strict": True}]}]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    (row,) = pq.read_table(file).to_pylist()
    assert row["prompt"][0]["tool_calls"] is None and row["tools"][0]["strict"] is None
    by_name = [
        [json.loads(content) if role in ("tools", "tool_calls") else content for role, content in read.prompt]
        for read in map(read_judgement, (*rows, row))
    ]
    assert by_name[0] == by_name[1]  # as objects: Parquet may have the names of fields in another order


def test_a_null_in_json_text_stays_also_when_the_prompt_is_read_back():
    given = json.loads(json.dumps(OPENAI))
    given[1]["tool_calls"][0]["function"]["arguments"] = '{"city": null}'
    definitions = json.dumps([{"name": "weather", "default": None}])
    prompt = read_judgement({"prompt": given, **SIDES, "tools": definitions}).prompt
    assert (prompt[0].content, json.loads(prompt[4].content)[0]["function"]["arguments"]) == (
        definitions,
        {"city": None},
    )
    assert messages([message._asdict() for message in prompt], "prompt") == prompt


@pytest.mark.parametrize("nothing", [None, "", " ", "[]", [], "null"])
def test_a_row_without_tools_has_none(nothing):
    assert read_judgement({"prompt": QUESTION, **SIDES, "tools": nothing}).prompt == (ASKED,)


# Stored prompts


NAMES = st.text("abc_", min_size=1, max_size=4)
TEXTS = st.text(min_size=1, max_size=8).filter(str.strip)
JSON = st.recursive(st.booleans() | st.integers() | st.text(max_size=4), st.lists, max_leaves=4)
CALLS = st.fixed_dictionaries({"name": NAMES, "arguments": st.dictionaries(NAMES, JSON, max_size=2)})


@st.composite
def dialogues(draw):
    assistant = {"role": "assistant", "content": draw(TEXTS)}
    if draw(st.booleans()):
        assistant["reasoning"] = draw(TEXTS)
    if draw(st.booleans()):
        assistant |= {"content": draw(st.none() | TEXTS), "tool_calls": draw(st.lists(CALLS, min_size=1, max_size=2))}
    result = {"role": "tool", "content": draw(TEXTS), **draw(st.sampled_from([{}, {"name": "a"}]))}
    return [{"role": "user", "content": draw(TEXTS)}, assistant, result]


@given(dialogues())
def test_a_stored_prompt_is_read_back_and_its_turns_are_those_of_the_row(dialogue):
    stored = messages(dialogue, "prompt")
    assert messages([message._asdict() for message in stored], "prompt") == stored
    found = turns(stored)
    assert [turn["role"] for turn in found] == [turn["role"] for turn in dialogue]
    assert found[1].get("reasoning_content") == dialogue[1].get("reasoning")
    assert found[1]["content"] == (dialogue[1]["content"] or "")
    assert [call["function"] for call in found[1].get("tool_calls", [])] == dialogue[1].get("tool_calls", [])
    assert found[2] == dialogue[2]
    assert messages(found, "prompt") == stored and tools(stored) == ""


def test_reasoning_without_text_and_calls_without_text_stay_apart():
    parts = (
        *(ASKED, BARE_CALL, Message("tool", "a")),
        *(Message("reasoning", "b"), BARE_CALL, Message("tool", "c")),
        *(Message("reasoning", "d"), Message("assistant", "e"), Message("user", "f")),
    )
    found = turns((TOOLS_PART, *parts))
    assert [set(turn) - {"role"} for turn in found] == [
        {"content"},
        {"content", "tool_calls"},
        {"content"},
        {"content", "reasoning_content", "reasoning", "tool_calls"},
        {"content"},
        {"content", "reasoning_content", "reasoning"},
        {"content"},
    ]
    assert tools((TOOLS_PART, *parts)) == TOOLS_PART.content


# Responses


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_the_reasoning_of_a_response_stands_before_it_as_models_write_it(name):
    sides = {"chosen": (GOOD, "long thought"), "rejected": (BAD, "\nnone ")}
    row = {
        side: [OPENAI[0], {"role": "assistant", "content": text, name: thought}]
        for side, (text, thought) in sides.items()
    }
    found = read_judgement(row)
    assert found.prompt == (ASKED,)
    assert found.first == f"<think>\nlong thought\n</think>\n\n{GOOD}"
    assert found.second == f"<think>\nnone\n</think>\n\n{BAD}"


@pytest.mark.parametrize(
    "name", ["reasoning_chosen", "chosen_reasoning", "thinking_chosen", "chosen_reasoning_content"]
)
@pytest.mark.parametrize("chosen", [GOOD, [{"role": "assistant", "content": GOOD}]])
def test_reasoning_may_have_a_column_beside_the_response(name, chosen):
    rejected = chosen if isinstance(chosen, str) else [{"role": "assistant", "content": BAD}]
    row = {"prompt": QUESTION, "chosen": chosen, "rejected": BAD if isinstance(chosen, str) else rejected}
    found = read_row({**row, name: "Rome.\n"})
    assert found.judgements[0].first == f"<think>\nRome.\n</think>\n\n{GOOD}"
    assert found.judgements[0].second == BAD and not found.left_out
    own = {"prompt": QUESTION, "first": BAD, "second": GOOD, "preference": 0, "reasoning_second": "Rome."}
    assert read_judgement(own).second == f"<think>\nRome.\n</think>\n\n{GOOD}"


def answer(**more):
    return [*OPENAI, {"role": "assistant", "content": GOOD, **more}]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"chosen": answer(tool_calls=[CALL]), "rejected": answer()}, "chosen.tool_calls: the response calls tools"),
        ({"chosen": answer(content=None, tool_calls=[CALL])}, "chosen.tool_calls: the response calls tools"),
        ({"rejected": answer(images=["a.png"])}, "rejected[3].images: a message holds more than its text"),
        ({"chosen": answer(reasoning="a", thinking="b")}, "chosen[3]: expected one of reasoning, thinking"),
        ({"chosen": answer(content="<think>\na</think>b", reasoning="c")}, "chosen: expected reasoning once"),
        ({"chosen": answer(content=" ", reasoning="c")}, "chosen: expected a response after its reasoning, got none"),
        ({"reasoning_chosen": "a", "chosen_thinking": "b"}, "reasoning of chosen once, got it in reasoning_chosen and"),
        ({"reasoning_chosen": ["a"]}, "reasoning_chosen: expected text, got list"),
        ({"tools": "weather"}, "tools: expected JSON, got str 'weather'"),
        ({"tools": {"name": "weather"}}, "tools: expected a list of tools or its JSON text, got dict"),
        ({"tools": ["{}"]}, "tools[0]: expected a tool as {type, function: {name, ...}} or {name, ...}, got dict"),
        ({"tools": [{"name": "a", "icon": b"x"}]}, "tools: expected what JSON can hold"),
        ({"tools": [{"name": "a\ud800"}]}, "the tools message in the prompt holds half a surrogate pair"),
        ({"functions": [WEATHER]}, "functions: tools or reasoning, of which it is not known where they belong"),
        ({"chosen": [{"role": "user", "content": QUESTION, "tool_calls": [CALL]}]}, "chosen[0].tool_calls: a message"),
    ],
)
def test_what_of_it_cannot_be_read_is_refused_by_name(row, expected):
    assert expected in refusal({"chosen": answer(), "rejected": answer(content=BAD), **row})


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ("call the weather", "prompt[1].tool_calls: expected JSON"),
        ([{"function": {"arguments": "{}"}}], "prompt[1].tool_calls[0].function.name: expected the name of a tool"),
        ([{"function": {"name": "a", "arguments": "Rome"}}], "tool_calls[0].function.arguments: expected JSON"),
        ([{"function": {"name": "a", "arguments": "[1]"}}], "arguments: expected an object or its JSON text, got str"),
        ([{"function": {"name": "a", "arguments": '{"b": 1, "b": 2}'}}], "arguments: expected each key once"),
        ([{"name": "a", "output": "It rains."}], "tool_calls[0].output: may be a part of what was compared"),
        (["weather"], "tool_calls[0]: expected an object, got str 'weather'"),
    ],
)
def test_wrong_calls_are_refused_with_their_place(calls, expected):
    called = {"role": "assistant", "content": "", "tool_calls": calls}
    assert expected in refusal({"prompt": [OPENAI[0], called, OPENAI[2]], **SIDES})


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ([{"role": "tool", "content": "21"}], "expected a user message in the prompt, got none"),
        ([*OPENAI[:2]], "must end with a user message or a tool's result, it ends with tool_calls"),
        ([OPENAI[0], {"role": "tools", "content": "[]"}, OPENAI[0]], "expected tools once, at the beginning"),
        ([OPENAI[0], {"role": "reasoning", "content": "a"}, OPENAI[0]], "after its reasoning in the prompt, got user"),
        ([OPENAI[0], {"role": "result_of", "content": '{"name": "a"}'}, OPENAI[0]], "expected a tool's result after"),
        ([OPENAI[0], {"role": "result_of", "content": '{"of": "a"}'}], "with tool_call_id or name, got str"),
        ([OPENAI[0], {"role": "tool", "content": ""}], "the tool message in the prompt is empty"),
    ],
)
def test_parts_that_stand_where_they_cannot_are_refused(prompt, expected):
    assert expected in refusal({"prompt": prompt, **SIDES})


def test_a_response_that_calls_tools_is_refused_in_every_place_where_one_can_stand():
    last = {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]}
    dialogue = [{"role": "user", "content": QUESTION}, last]
    plain = [dialogue[0], {"role": "assistant", "content": BAD}]
    rows = [
        {"chosen": dialogue, "rejected": [dialogue[0], {**last, "tool_calls": [{"function": {"name": "wipe"}}]}]},
        {"messages": dialogue, "rejected_response": BAD},
        {"messages": plain, "rejected_messages": dialogue},
        {"conversation_a": dialogue, "conversation_b": plain, "winner": "model_a"},
        {"conversation_a": dialogue, "conversation_b": plain, "winner": "model_a", "turn": 1},
        {"context": [dialogue[0]], "completions": [{"rank": r, "completion": [last]} for r in (0, 1)]},
        {"prompt": QUESTION, "chosen": [last], "rejected": [plain[1]]},
    ]
    for row in rows:
        with pytest.raises(RowError, match=r"\.tool_calls: the response calls tools"):
            read_row(row)

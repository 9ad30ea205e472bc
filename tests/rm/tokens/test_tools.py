"""Prompts with tools as chat templates write them, and templates that lose a part of them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm.data.preferences import Message
from rm.errors import ModelError, RefusedConversation
from rm.model import tokenizer as tokenizers
from rm.tokens import chat_template, encoder
from rm.tokens.encoder import Encoder
from rm.tokens.marks import marked
from tests.rm.tokens.test_tokenization import CHATML, with_template

TOOLS = Message(
    "tools", json.dumps([{"type": "function", "function": {"name": "weather", "description": "of a city"}}])
)
CALL = Message(
    "tool_calls",
    json.dumps([{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}]),
)
RESULT = (Message("result_of", '{"tool_call_id": "c1", "name": "weather"}'), Message("tool", "21 degrees\nand dry"))
ASKED = Message("user", "Weather in Rome?")
PROMPT = (
    *(TOOLS, Message("system", "Be brief."), ASKED, Message("reasoning", "I need data.")),
    *(Message("assistant", "Let me look."), CALL, *RESULT),
)
RESPONSE = "<think>\nWarm, then.\n</think>\n\nIt is warm."

QWEN = """\
{%- if tools %}<|im_start|>system
{{ messages[0].content if messages[0].role == 'system' else '' }}
<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools><|im_end|>
{% elif messages[0].role == 'system' %}<|im_start|>system
{{ messages[0].content }}<|im_end|>
{% endif %}
{%- set ns = namespace(last=-1) %}
{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}
{%- for m in messages %}
{%- if m.role == 'user' %}<|im_start|>user
{{ m.content }}<|im_end|>
{% elif m.role == 'assistant' %}
{%- set content = m.content %}{% set thought = m.reasoning_content or '' %}
{%- if not thought and '</think>' in content %}
{%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
{%- set content = content.split('</think>')[-1].lstrip('\\n') %}
{%- endif %}<|im_start|>assistant
{% if loop.index0 > ns.last and (loop.last or thought) %}<think>
{{ thought.strip('\\n') }}
</think>

{% endif %}{{ content.lstrip('\\n') }}
{%- for call in m.tool_calls or [] %}{% set call = call.function or call %}{{ '\\n' }}<tool_call>
{"name": "{{ call.name }}", "arguments": {{ call.arguments if call.arguments is string else call.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% elif m.role == 'tool' %}<|im_start|>user
<tool_response>
{{ m.content }}
</tool_response><|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""Written after Qwen3's: reasoning of earlier turns is left out, that of a response is taken apart and written anew."""


def rendered(template, prompt, responses=("So.",)):
    tokenizer = with_template(template)
    (opening,) = chat_template.render_prompts(tokenizer, [prompt])
    return opening, chat_template.render_responses(tokenizer, [(prompt, responses)], [opening])


def test_tools_calls_results_and_reasoning_stand_where_the_template_writes_them():
    opening, (reasoned, plain) = rendered(QWEN, PROMPT, (RESPONSE, "It is warm."))
    assert opening == (
        "<|im_start|>system\nBe brief.\n<tools>"
        '{"type": "function", "function": {"name": "weather", "description": "of a city"}}</tools><|im_end|>\n'
        "<|im_start|>user\nWeather in Rome?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\nI need data.\n</think>\n\nLet me look.\n"
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\n21 degrees\nand dry\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert reasoned == f"{RESPONSE}<|im_end|>\n"
    assert plain == "<think>\n\n</think>\n\nIt is warm.<|im_end|>\n"


def test_a_template_may_leave_out_the_reasoning_of_earlier_turns():
    prompt = (*PROMPT, Message("assistant", "It is warm."), Message("user", "And in Oslo?"))
    opening, _ = rendered(QWEN, prompt)
    assert "I need data." not in opening and "Let me look." in opening


def test_tools_of_one_prompt_are_not_those_of_another():
    tokenizer = with_template(QWEN)
    other = Message("tools", json.dumps([{"name": "search"}]))
    prompts = [(ASKED,), (TOOLS, ASKED), (other, ASKED), (ASKED,), (TOOLS, ASKED)]
    together = chat_template.render_prompts(tokenizer, prompts)
    assert together == [chat_template.render_prompts(tokenizer, [prompt])[0] for prompt in prompts]
    items = [(prompt, ["Yes.", "No."]) for prompt in prompts]
    answers = chat_template.render_responses(tokenizer, items, together)
    assert [text.split("\n\n")[-1] for text in answers] == ["Yes.<|im_end|>\n", "No.<|im_end|>\n"] * 5
    assert [("weather" in text, "search" in text) for text in together] == [
        *((False, False), (True, False), (False, True), (False, False), (True, False))
    ]


def test_arguments_are_text_where_a_template_puts_texts_together():
    joining = QWEN.replace(
        "{{ call.arguments if call.arguments is string else call.arguments | tojson }}", "{{ '' + call.arguments }}"
    )
    assert joining != QWEN
    assert rendered(joining, PROMPT) == rendered(QWEN, PROMPT)


FAULTS = {
    "tools": (QWEN.replace("{{ tool | tojson }}", ""), "the tool weather"),
    "names of calls": (QWEN.replace("{{ call.name }}", "a tool"), "the call of weather"),
    "arguments": (QWEN.replace("call.arguments | tojson", "'{}'"), "the arguments of the call of weather"),
    "all but one call": (QWEN.replace("in m.tool_calls or []", "in (m.tool_calls or [])[:1]"), "call of again"),
    "results": (QWEN.replace("<tool_response>\n{{ m.content }}", ""), "the result of a tool"),
    "text before calls": (
        QWEN.replace("{{ content.lstrip('\\n') }}", "{{ '' if m.tool_calls else content }}"),
        "the text before the call of a tool",
    ),
    "everything": (CHATML, "the tool weather"),
}
TWO_CALLS = Message(
    "tool_calls", json.dumps([*json.loads(CALL.content), {"function": {"name": "again", "arguments": {}}}])
)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_template_that_drops_a_part_is_refused_with_what_it_drops(fault):
    template, lost = FAULTS[fault]
    assert template != QWEN
    prompt = tuple(TWO_CALLS if message == CALL else message for message in PROMPT)
    rendered(QWEN, prompt)
    with pytest.raises(ModelError, match=f"^the chat template drops .*{lost}"):
        rendered(template, prompt)


def test_a_name_elsewhere_in_the_text_does_not_hide_that_it_was_dropped():
    spoken = (Message("system", "Use weather of Rome."), *PROMPT[2:])
    without = QWEN.replace("{{ call.name }}", "a tool")
    with pytest.raises(ModelError, match="drops the call of weather"):
        rendered(without, (TOOLS, *spoken))


def test_a_template_that_drops_the_reasoning_of_a_response_is_refused():
    dropping = CHATML.replace("m.content", "m.content.split('</think>')[-1]")
    rendered(dropping, (ASKED,), ("It is warm.",))
    with pytest.raises(ModelError, match="drops the reasoning of a response: expected 'Warm, then"):
        rendered(dropping, (ASKED,), (RESPONSE,))
    assert rendered(CHATML, (ASKED,), (RESPONSE,))[1] == [f"{RESPONSE}<|im_end|>\n"]


# What published templates do, each in a few lines


THINKS = CHATML.replace(
    "{{ m.content }}",
    "{% if m.reasoning_content %}[thought]{{ m.reasoning_content }}[/thought]{% endif %}{{ m.content }}",
)
"""Writes reasoning in its own way, as gpt-oss and Seed-OSS do."""


def test_the_reasoning_of_a_response_is_written_as_the_template_writes_reasoning():
    assert THINKS != CHATML
    _, (reasoned, plain) = rendered(THINKS, (ASKED,), (RESPONSE, "It is warm."))
    assert reasoned == "[thought]Warm, then.[/thought]It is warm.<|im_end|>\n"
    assert plain == "It is warm.<|im_end|>\n"


def test_a_template_that_reads_reasoning_under_its_other_name_gets_it():
    other = THINKS.replace("reasoning_content", "reasoning")
    assert rendered(other, (ASKED,), (RESPONSE,))[1] == rendered(THINKS, (ASKED,), (RESPONSE,))[1]


CUTS = CHATML.replace("m.content", "m.content.split('</think>')[-1]")
"""Leaves out what stands before the end of reasoning, as DeepSeek's do."""


@pytest.mark.parametrize(
    "response",
    [
        "<think>\nIt is warm.\n</think>\n\nIt is warm.",  # the answer hides that the reasoning was dropped
        "Warm, then.\n</think>\n\nIt is warm.",
        "Close it with </think> at the end.",
    ],
)
def test_a_template_that_drops_a_part_of_a_response_is_refused(response):
    assert CUTS != CHATML
    rendered(CHATML, (ASKED,), (response,))
    with pytest.raises(RefusedConversation, match=r"drops (or changes a response|the reasoning of a response)"):
        rendered(CUTS, (ASKED,), (response,))


def test_a_template_that_drops_a_message_is_refused():
    first_system = "{% if m.role != 'system' or loop.first %}" + CHATML.partition("%}")[2]
    only_first = CHATML.partition("%}")[0] + "%}" + first_system.replace("{% endfor %}", "{% endif %}{% endfor %}", 1)
    one, two = Message("system", "Be brief."), Message("system", "Be kind.")
    assert "Be brief." in rendered(only_first, (one, ASKED))[0]
    with pytest.raises(RefusedConversation, match=r"drops or changes a system message: expected 'Be kind\.'"):
        rendered(only_first, (one, two, ASKED))
    with pytest.raises(RefusedConversation, match="drops or changes a user message"):
        rendered(CUTS, (Message("user", "What is </think> for?"),))
    before = (ASKED, Message("assistant", RESPONSE), Message("user", "And in Oslo?"))
    assert "Warm, then." not in rendered(CUTS, before)[0]  # of an answer before, the reasoning may be left out


def test_a_function_alone_is_a_tool():
    alone = Message("tools", json.dumps([json.loads(TOOLS.content)[0]["function"]]))
    assert rendered(QWEN, (alone, ASKED)) == rendered(QWEN, (TOOLS, ASKED))


OPENS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}<think>"
    "{% if m.reasoning_content %}{{ '\n' + m.reasoning_content + '\n' }}{% endif %}</think>{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
"""Begins the reasoning of a response, and writes none in another way, as MiniMax-M2 and GLM-4.7 do."""


def test_a_template_that_begins_the_reasoning_is_good_for_responses_that_have_some():
    chat_template.check_template(with_template(OPENS))
    _, (rest,) = rendered(OPENS, (ASKED,), ("<think>\nFar, I think.\n</think>\n\nA day.",))
    assert rest == "Far, I think.\n</think>A day.<|im_end|>\n"
    with pytest.raises(RefusedConversation, match="renders a prompt differently when an answer follows"):
        rendered(OPENS, (ASKED,), ("A day.",))


def test_a_template_that_never_ends_refuses_a_conversation():
    deep = "{% macro down(n) %}{{ down(n + 1) }}{% endmacro %}" + QWEN.replace(
        "{{ tool | tojson }}", "{{ tool | tojson }}{{ down(0) }}"
    )
    with pytest.raises(RefusedConversation, match="the chat template refuses a conversation"):
        rendered(deep, PROMPT)


def test_a_template_that_fails_on_a_call_is_refused():
    with pytest.raises(ModelError, match="the chat template refuses a conversation"):
        rendered(QWEN.replace("{{ call.name }}", "{{ 1 + call.name }}"), PROMPT)


def test_only_prompts_with_tools_are_marked():
    assert marked((Message("system", "a"), ASKED, Message("assistant", "b"), ASKED)) is None
    found = marked(PROMPT)
    assert [role for role, _ in found.prompt] == [role for role, _ in PROMPT]
    text = "".join(content for _, content in found.prompt)
    assert all(text.count(mark) >= 1 for mark in found.names) and len(set(found.names)) == 5
    kept = [one for one, before in zip(found.prompt, PROMPT, strict=True) if one == before]
    assert [role for role, _ in kept] == ["system", "user", "reasoning", "result_of"]


# The project's own templates


OWN = {
    "scratch": tokenizers._SCRATCH_TEMPLATE,
    "encoder": tokenizers._ENCODER_TEMPLATE,
    "decoder": tokenizers._DECODER_TEMPLATE,
}


@pytest.mark.parametrize("name", OWN)
def test_the_default_templates_write_every_part(name):
    opening, (rest,) = rendered(OWN[name], PROMPT, (RESPONSE,))
    shown = [
        "weather",
        "of a city",
        "Be brief.",
        "Weather in Rome?",
        "<think>\nI need data.\n</think>\n\nLet me look.\n",
    ]
    places = [opening.index(text) for text in [*shown, '"arguments": {"city": "Rome"}', "21 degrees\nand dry"]]
    assert places == sorted(places) and rest.startswith(RESPONSE)


@settings(max_examples=25)
@given(
    st.text("ab\n", min_size=1, max_size=9).filter(str.strip), st.text("cd\n", min_size=1, max_size=9).filter(str.strip)
)
def test_the_scratch_tokenizer_reads_a_prompt_with_tools_to_its_last_token(thought, said):
    prompt = (TOOLS, ASKED, Message("reasoning", thought), Message("assistant", said), CALL, *RESULT)
    [(prompt_ids, [ids])] = encoder.encode(SCRATCH, [(prompt, ["So."])])
    text = SCRATCH.tokenizer.decode(prompt_ids)
    assert f"<|assistant|><think>\n{thought}\n</think>\n\n{said}\n[{{" in text and text.endswith("<|end|><|assistant|>")
    assert SCRATCH.tokenizer.decode(ids) == "So.<|end|>"


SCRATCH = Encoder(tokenizers.train_tokenizer(["Say something about a thing, please."] * 20, 320))

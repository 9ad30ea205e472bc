import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, PreTrainedTokenizerFast

from rm.data import annotation_table, prompt_groups, quarantine
from rm.data.preferences import SPLITS, Message
from rm.errors import ModelError, RefusedConversation
from rm.model import base_models
from rm.model.tokenizer import train_tokenizer
from rm.tokens import chat_template, encoder, tokenization
from rm.tokens.config import TokenizeConfig
from rm.tokens.encoder import Encoder

TOKENIZER = train_tokenizer(["Say something about a thing, please.", "very good or bad"] * 20, 320)
ENCODER = Encoder(TOKENIZER)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(lambda text: "<|" not in text)


@st.composite
def conversations(draw):
    turns = [Message("user", draw(texts))]
    if draw(st.booleans()):
        turns = [Message("user", draw(texts)), Message("assistant", draw(texts)), *turns]
    return [Message("system", draw(texts)), *turns] if draw(st.booleans()) else turns


def rendered(tokenizer, prompt, response):
    messages = [message._asdict() for message in [*prompt, Message("assistant", response)]]
    return tokenizer.apply_chat_template(messages, tokenize=False)


@given(conversations(), st.lists(texts, min_size=1, max_size=3))
def test_prompt_and_response_ids_are_those_of_the_whole_conversation(prompt, responses):
    [(prompt_ids, response_ids)] = encoder.encode(ENCODER, [(prompt, responses)])
    for ids, response in zip(response_ids, responses, strict=True):
        whole = TOKENIZER(rendered(TOKENIZER, prompt, response), add_special_tokens=False)["input_ids"]
        assert prompt_ids + ids == whole
        assert TOKENIZER.decode(ids) == f"{response}<|end|>"


@given(conversations(), texts)
def test_the_prompt_ends_where_the_answer_begins_and_the_answer_with_one_end_token(prompt, response):
    [(prompt_ids, [response_ids])] = encoder.encode(ENCODER, [(prompt, [response])])
    assert prompt_ids[-1] == TOKENIZER.convert_tokens_to_ids("<|assistant|>")
    assert [place for place, id_ in enumerate(response_ids) if id_ in TOKENIZER.all_special_ids] == [
        len(response_ids) - 1
    ]
    assert response_ids[-1] == TOKENIZER.eos_token_id
    assert prompt_ids.count(TOKENIZER.eos_token_id) == len(prompt)


def test_items_and_responses_keep_their_order_and_do_not_touch_each_other():
    items = [
        ([Message("user", f"prompt {number}")], [f"answer {number} {place}" for place in range(number)])
        for number in range(4)
    ]
    together = encoder.encode(ENCODER, items)
    assert [len(response_ids) for _, response_ids in together] == [0, 1, 2, 3]
    for (prompt, responses), (prompt_ids, response_ids) in zip(items, together, strict=True):
        for place, response in enumerate(responses):
            alone = encoder.encode(ENCODER, [(prompt, [response])])
            assert alone == [(prompt_ids, [response_ids[place]])]
    assert encoder.encode(ENCODER, []) == []


def test_special_tokens_that_a_tokenizer_would_add_itself_are_not_doubled(word_base):
    tokenizer = base_models.load_tokenizer(word_base, [])
    assert tokenizer("w1 w2")["input_ids"] == [1, 5, 6, 2]  # it does add them
    prompt = [Message("user", "w1 w2"), Message("assistant", "w3"), Message("user", "w4")]
    assert encoder.encode(Encoder(tokenizer), [(prompt, ["w5 w6"])]) == [([1, 5, 6, 2, 7, 2, 8, 2], [[9, 10, 2]])]


def test_a_template_that_rewrites_the_prompt_once_it_is_answered_is_refused():
    tokenizer = train_tokenizer(["a"], 300)
    tokenizer.chat_template = "{{ messages | length }}{% for message in messages %}{{ message.content }}{% endfor %}"
    (refusal,) = encoder.encode(Encoder(tokenizer), [([Message("user", "Why?")], ["So."])])
    assert (
        "renders a prompt differently when an answer follows; expected the prompt to end with '1Why?', got '2Why?"
        in str(refusal)
    )


# Small templates with the traits of well-known ones; a tokenizer has all their special tokens.
SPECIAL = [
    *("<unk>", "<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>"),
    *("<|eot_id|>", "<start_of_turn>", "<end_of_turn>"),
]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN3 = (  # drops the thoughts of all answers, and writes empty ones into the last
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{% if m.role == 'assistant' %}{{ m.content.split('</think>')[-1].lstrip('\n') }}"
    "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
LLAMA2 = (  # the system text goes into the first question; every question begins a text
    "{% set first = messages[0].role == 'system' %}{% for m in messages %}"
    "{% if m.role == 'user' %}{{ bos_token }}[INST] "
    "{% if first and loop.index == 2 %}<<SYS>>\n{{ messages[0].content }}\n<</SYS>>\n\n{% endif %}"
    "{{ m.content | trim }} [/INST]{% elif m.role == 'assistant' %} {{ m.content | trim }} {{ eos_token }}{% endif %}"
    "{% endfor %}"
)
GEMMA = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %}{{ m.content }}{{ eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
WITH_SYSTEM = {"chatml": CHATML, "qwen3": QWEN3, "llama3": LLAMA3, "llama2": LLAMA2, "zephyr": ZEPHYR}
WITHOUT_SYSTEM = {"gemma": GEMMA, "mistral": MISTRAL}
TEMPLATES = WITH_SYSTEM | WITHOUT_SYSTEM


def with_template(template):
    """A byte-level tokenizer that puts <s> before any text if it is asked to add its special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({token: place for place, token in enumerate([*SPECIAL, *alphabet])}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(SPECIAL)
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        chat_template=template,
    )


def one_by_one(tokenizer, prompt, responses):
    """The slow way: every conversation rendered and tokenized by itself through transformers' own calls."""

    def ids(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    messages = [message._asdict() for message in prompt]
    opening = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    rests = [rendered(tokenizer, prompt, response).removeprefix(opening) for response in responses]
    return ids(opening), [ids(rest) for rest in rests]


def without_system(prompt):
    return [message for message in prompt if message.role != "system"]


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=25)
@given(items=st.lists(st.tuples(conversations(), st.lists(texts, max_size=3)), max_size=4))
def test_ids_are_those_of_every_conversation_rendered_and_tokenized_alone(name, items):
    tokenizer = with_template(TEMPLATES[name])
    if name in WITHOUT_SYSTEM:
        items = [(without_system(prompt), responses) for prompt, responses in items]
    assert encoder.encode(Encoder(tokenizer), items) == [one_by_one(tokenizer, *item) for item in items]


@pytest.mark.parametrize("name", ["llama3", "mistral"])
@settings(max_examples=25)
@given(prompt=conversations(), response=texts)
def test_with_an_alphabet_of_bytes_ids_are_those_that_transformers_gives_the_whole_conversation(name, prompt, response):
    tokenizer, prompt = with_template(TEMPLATES[name]), without_system(prompt)
    [(prompt_ids, [ids])] = encoder.encode(Encoder(tokenizer), [(prompt, [response])])
    messages = [message._asdict() for message in [*prompt, Message("assistant", response)]]
    assert prompt_ids + ids == tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert prompt_ids.count(tokenizer.bos_token_id) == 1  # the tokenizer, asked for its own, would put a second one


@given(st.lists(st.tuples(conversations(), st.lists(texts, max_size=3)), max_size=6), st.integers(1, 6))
def test_chunks_are_tokenized_as_one(items, size):
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    by_chunk = list(encoder.encode_chunks(ENCODER, chunks))
    assert [len(encoded) for encoded in by_chunk] == [len(chunk) for chunk in chunks]
    assert [one for encoded in by_chunk for one in encoded] == encoder.encode(ENCODER, items)


@settings(max_examples=30)
@given(st.lists(st.tuples(conversations(), st.lists(texts, max_size=3)), max_size=6))
def test_what_a_template_refuses_changes_nothing_for_the_others(items):
    gemma = Encoder(with_template(GEMMA))
    found = encoder.encode(gemma, items)
    for item, encoded in zip(items, found, strict=True):
        if item[0][0].role == "system":
            assert isinstance(encoded, RefusedConversation)
            assert str(encoded) == "the chat template refuses a conversation: System role not supported"
        else:
            assert [encoded] == encoder.encode(gemma, [item])


def test_a_template_is_checked_without_the_padding_that_a_tokenizer_was_saved_with():
    tokenizer = with_template(TEMPLATES["chatml"])
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=200)
    chat_template.check_template(tokenizer)


def test_a_limit_or_padding_that_a_tokenizer_was_saved_with_is_not_applied():
    items = [([Message("user", "Tell me about the sea, at length.")], ["No.", "It is wet, and so is all that swims."])]
    expected = encoder.encode(Encoder(with_template(CHATML)), items)
    tokenizer = with_template(CHATML)
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=200)
    assert encoder.encode(Encoder(tokenizer), items) == expected


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_sound_template_passes_the_check(name):
    chat_template.check_template(with_template(TEMPLATES[name]))
    if name in WITH_SYSTEM:
        chat_template.check_template(with_template(TEMPLATES[name]), with_system=True)


@pytest.mark.parametrize(("name", "reason"), [("gemma", "System role not"), ("mistral", "Only user and assistant")])
def test_a_template_without_a_system_role_refuses_those_conversations_alone(name, reason):
    tokenizer = with_template(TEMPLATES[name])
    chat_template.check_template(tokenizer)
    chat_template.check_template(tokenizer, with_system=True)
    with pytest.raises(RefusedConversation, match=f"the chat template refuses a conversation: {reason}"):
        chat_template.render_prompts(tokenizer, [[Message("system", "Be kind."), Message("user", "Why?")]])


FAULTS = {
    "bos doubled by the template": (
        "{{ bos_token }}" + LLAMA3,
        r"begins a conversation with '<s>' twice; .* \['<s>', '<s>',",
    ),
    "bos written out and inserted": ("<s>" + GEMMA, "begins a conversation with '<s>' twice"),
    "no end token": (
        CHATML.replace("<|im_end|>", ""),
        r"not close the response with an end token; .*'</s>' among the last 2",
    ),
    "end token that is no token": (CHATML.replace("<|im_end|>", "<|fin|>"), "not close the response with an end token"),
    "text after the end token": (
        LLAMA3.replace("<|eot_id|>", "<|eot_id|> ok"),
        "not close the response with an end token",
    ),
    "padding as end token": (CHATML.replace("<|im_end|>", "<pad>"), "not close the response with an end token"),
    "end token of questions only": (
        LLAMA3.replace("<|eot_id|>", "{% if m.role == 'user' %}<|eot_id|>{% endif %}"),
        "not close the response with an end token",
    ),
    "texts cut": (
        CHATML.replace("m.content", "m.content[:12]"),
        r"changes or moves the user text 'How far is it\\nto the  sea",
    ),
    "first line of answers": (
        CHATML.replace("m.content", "m.content.split('\n')[0] if m.role == 'assistant' else m.content"),
        r"drops or changes the response: expected 'Rather two:\\n\\n- one.*, got 'Rather two:<",
    ),
    "spaces joined in answers": (
        CHATML.replace("m.content", "m.content.split() | join(' ') if m.role == 'assistant' else m.content"),
        "drops or changes the response",
    ),
    "last answers only": (
        CHATML.replace("{% for m in messages %}", "{% for m in messages if m.role == 'assistant' %}"),
        "drops, changes or moves the user text",
    ),
    "first question dropped": (
        CHATML.replace("in messages %}", "in (messages[2:] if messages | length > 2 else messages) %}"),
        "drops, changes or moves the user text 'How far",
    ),
    "all questions before all answers": (
        CHATML.replace("in messages %}", "in messages | sort(attribute='role', reverse=true) %}"),
        "drops, changes or moves the user text 'And back",
    ),
    "other generation prompt": (
        CHATML.replace("<|im_start|>assistant\n", "<|im_start|>Assistant:"),
        r"renders a prompt differently when an answer follows; .*assistant",
    ),
    "refuses everything": ("{{ raise_exception('no') }}", "refuses a conversation: no"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_template_with_a_fault_is_refused_with_what_was_expected_and_what_came(fault):
    template, reason = FAULTS[fault]
    with pytest.raises(ModelError, match=rf"(?s)the chat template .*{reason}"):
        chat_template.check_template(with_template(template))


def test_a_system_text_that_is_silently_dropped_is_refused_where_there_is_one():
    tokenizer = with_template(CHATML.replace("in messages %}", "in messages if m.role != 'system' %}"))
    chat_template.check_template(tokenizer)
    with pytest.raises(ModelError, match="drops, changes or moves the system text 'You answer"):
        chat_template.check_template(tokenizer, with_system=True)


@pytest.fixture(scope="module")
def chat_base(save_base):
    """Make a base model's folder whose tokenizer has the template."""
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    return lambda template: save_base(with_template(template), LlamaConfig(vocab_size=300, **sizes))


def test_a_template_with_a_fault_is_found_before_anything_is_tokenized(dataset, chat_base, tmp_path):
    with pytest.raises(ModelError, match="begins a conversation with '<s>' twice"):
        tokenization.tokenize(dataset, chat_base("{{ bos_token }}" + LLAMA3), TokenizeConfig(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_system_message_in_the_data_must_have_a_place_in_the_template(make_dataset, dataset, chat_base, tmp_path):
    base = chat_base(CHATML.replace("in messages %}", "in messages if m.role != 'system' %}"))
    assert tokenization.tokenize(dataset, base, TokenizeConfig(), tmp_path / "none").num_rows == dataset.num_rows
    prompts = [[{"role": "user", "content": f"prompt {number}"}] for number in range(40)]
    prompts[7].insert(0, {"role": "system", "content": "Be kind."})
    rows = [{"prompt": prompt, "first": "yes", "second": "no", "preference": 1} for prompt in prompts]
    with pytest.raises(ModelError, match="drops, changes or moves the system text"):
        tokenization.tokenize(make_dataset(rows), base, TokenizeConfig(), tmp_path / "one")


def with_system(numbers):
    prompts = [[{"role": "user", "content": f"prompt {number}"}] for number in range(60)]
    for number in numbers:
        prompts[number].insert(0, {"role": "system", "content": "Be kind."})
    return [{"prompt": prompt, "first": "yes", "second": "no", "preference": 1} for prompt in prompts]


def test_a_prompt_that_the_template_refuses_is_left_out_and_its_row_is_put_into_quarantine(
    make_dataset, chat_base, tmp_path
):
    dataset = make_dataset(with_system([7, 30]))
    tokenized = tokenization.tokenize(dataset, chat_base(GEMMA), TokenizeConfig(), tmp_path)
    assert (tokenized.num_refused, tokenized.num_rows) == (2, 58)
    reasons = tokenization.read_refused(tokenized)
    bad = {group.prompt_id for group in all_groups(dataset) if group.prompt[0].role == "system"}
    reason = "the chat template refuses a conversation: System role not supported"
    assert reasons == dict.fromkeys(bad, reason)
    found = {prompt.prompt_id for split in SPLITS for prompt in tokenization.read_tokens(tokenized, split)}
    assert found == {group.prompt_id for group in all_groups(dataset)} - bad
    folder = dataset.inputs[0].path.parent
    rows = quarantine.add_prompts(annotation_table.current(folder), reasons)
    source = folder.parent / "annotations.jsonl"
    assert rows == [f"{source}: line {line}: {reason}" for line in (8, 31)]
    assert quarantine.add_prompts(annotation_table.current(folder), reasons) == rows
    assert [(row["source"], row["line"], row["reason"]) for row in quarantine.rows(folder)] == [
        (str(source), line, reason) for line in (8, 31)
    ]


def test_more_refused_prompts_than_allowed_are_an_error(make_dataset, chat_base, tmp_path):
    dataset = make_dataset(with_system([7, 30, 31, 32]))
    with pytest.raises(
        ModelError,
        match=r"the chat template refuses 4 of 60 prompts, .* 0.05 that tokenize.max_refused_share .*: System",
    ):
        tokenization.tokenize(dataset, chat_base(GEMMA), TokenizeConfig(), tmp_path)
    assert list(tmp_path.iterdir()) == []
    config = TokenizeConfig(max_refused_share=0.1)
    assert tokenization.tokenize(dataset, chat_base(GEMMA), config, tmp_path).num_refused == 4


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_size_of_a_chunk_changes_no_byte(dataset, llama, tokenized, tmp_path, monkeypatch, size):
    monkeypatch.setattr(tokenization, "_ENCODED_AT_ONCE", size)
    assert tokenization.tokenize(dataset, llama, TokenizeConfig(max_tokens=512), tmp_path).digest == tokenized.digest


def word(number, count):
    """Text of some words, which the word tokenizer gives one id each."""
    return " ".join(f"w{(number + place) % 400}" for place in range(count))


OVERLONG = {
    # a prompt of n words has n + 2 tokens, a response of n words n + 1: name -> words of the prompt, of the responses
    "fits": (12, [3, 5]),
    "exactly fits": (16, [3, 5]),
    "one token over": (17, [3, 5]),
    "long prompt": (30, [3, 5]),
    "very long prompt": (300, [3, 5]),
    "one response too long even for 16 prompt tokens": (30, [3, 8]),
    "third response too long": (30, [3, 5, 9]),
    "third response too long, prompt fits": (4, [3, 7, 200]),
    "largest response beside 16 prompt tokens": (30, [3, 7]),
}


@pytest.fixture(scope="module")
def overlong_rows():
    """Judgements of the prompts in `OVERLONG`, and short ones that put pairs on both sides of the split."""
    rows = [{"prompt": f"w{number} w1", "first": "w1", "second": "w2", "preference": 1} for number in range(40)]
    for number, (prompt_words, response_words) in enumerate(OVERLONG.values()):
        responses = [word(50 * place + number, count) for place, count in enumerate(response_words)]
        prompt = word(40 + number, prompt_words)
        rows += [{"prompt": prompt, "first": responses[0], "second": other, "preference": 1} for other in responses[1:]]
    return rows


@pytest.fixture(scope="module")
def overlong_dataset(make_dataset, overlong_rows):
    return make_dataset(overlong_rows)


def groups_by_split(dataset):
    return {split: prompt_groups.read_groups(dataset, split) for split in SPLITS}


def all_groups(dataset):
    return [group for some in groups_by_split(dataset).values() for group in some]


def token_rows(tokenized):
    """The rows of every split's file, as another reader of Arrow files gives them."""
    return [
        row | {"split": split}
        for split in SPLITS
        for row in feather.read_table(tokenized.path / f"{split}.arrow").to_pylist()
    ]


def tokens_by_name(dataset, tokenized):
    """The prompts of `OVERLONG` that are left: as a group, and as the row of tokens."""
    rows = {row["prompt_id"]: row for row in token_rows(tokenized)}
    found = {}
    for group in all_groups(dataset):
        prompt_words = len(group.prompt[0].content.split())
        sizes = (prompt_words, sorted(len(text.split()) for text in group.responses))
        names = [name for name, (prompt, responses) in OVERLONG.items() if (prompt, responses) == sizes]
        if names and group.prompt_id in rows:
            found[names[0]] = (group, rows[group.prompt_id])
    return found


def ids_of(text):
    return [int(part[1:]) + 4 for part in text.split()]


def test_a_prompt_is_cut_at_its_beginning_once_for_all_its_responses(overlong_dataset, word_base, tmp_path):
    config = TokenizeConfig(max_tokens=24, overlong="truncate_prompt_left", max_lost_share=1)
    tokenized = tokenization.tokenize(overlong_dataset, word_base, config, tmp_path)
    found = tokens_by_name(overlong_dataset, tokenized)
    assert {
        name: (len(row["prompt_ids"]), sorted(map(len, row["response_ids"]))) for name, (_, row) in found.items()
    } == {
        "fits": (14, [4, 6]),
        "exactly fits": (18, [4, 6]),
        "one token over": (18, [4, 6]),
        "long prompt": (18, [4, 6]),
        "very long prompt": (18, [4, 6]),
        "third response too long": (18, [4, 6]),
        "third response too long, prompt fits": (6, [4, 8]),
        "largest response beside 16 prompt tokens": (16, [4, 8]),
    }
    for group, row in found.values():
        whole = [1, *ids_of(group.prompt[0].content), 2]
        num_cut = len(whole) - len(row["prompt_ids"])
        assert row["prompt_ids"] == [1, *whole[1 + num_cut :]]  # its first special token and its end stay
    # Of the prompts below 256 tokens four are cut for two responses each; one that no pair is left of does not count.
    assert tokenized.overlong == {
        "prompt cut at its beginning": {"00000-00255 tokens": 8, "00256-00511 tokens": 2},
        "response dropped": {"00000-00255 tokens": 3},
    }


def test_what_is_too_long_can_be_dropped_instead(overlong_dataset, word_base, tmp_path):
    config = TokenizeConfig(max_tokens=24, overlong="drop", max_lost_share=1)
    tokenized = tokenization.tokenize(overlong_dataset, word_base, config, tmp_path)
    found = tokens_by_name(overlong_dataset, tokenized)
    assert set(found) == {"fits", "exactly fits", "third response too long, prompt fits"}
    for group, row in found.values():
        assert row["prompt_ids"] == [1, *ids_of(group.prompt[0].content), 2]
    assert tokenized.overlong == {"response dropped": {"00000-00255 tokens": 11, "00256-00511 tokens": 2}}


@pytest.mark.parametrize("overlong", ["drop", "truncate_prompt_left"])
def test_responses_are_never_cut_and_comparisons_follow_them(overlong_dataset, word_base, tmp_path, overlong):
    config = TokenizeConfig(max_tokens=24, overlong=overlong, max_lost_share=1)
    tokenized = tokenization.tokenize(overlong_dataset, word_base, config, tmp_path)
    for split in ("train", "heldout"):
        groups = {group.prompt_id: group for group in prompt_groups.read_groups(overlong_dataset, split)}
        for prompt in tokenization.read_tokens(tokenized, split):
            assert prompt.prompt_id in groups  # of the same split
            group, indices = groups[prompt.prompt_id], prompt.response_indices
            assert [ids.tolist() for ids in prompt.response_ids] == [
                [*ids_of(group.responses[index]), 2] for index in indices
            ]
            assert prompt.comparisons == [
                dataclasses.replace(pair, first=indices.index(pair.first), second=indices.index(pair.second))
                for pair in group.comparisons
                if {pair.first, pair.second} <= set(indices)
            ]


def test_more_lost_responses_than_allowed_are_an_error_that_says_what_would_be_enough(
    overlong_dataset, word_base, tmp_path
):
    # 40 prompts with a pair each, and those of `OVERLONG`, with 20 responses and 11 pairs.
    told = (
        r"max_tokens 24: 3 of 100 responses \(3.0%\) do not fit, and 3 of 51 pairs with them \(3 of 0 to 255 tokens "
        r"with their prompt\), more than the share of 0.01 that tokenize.max_lost_share allows; 256 tokens would be "
        "enough"
    )
    with pytest.raises(ModelError, match=told):
        tokenization.tokenize(overlong_dataset, word_base, TokenizeConfig(max_tokens=24), tmp_path)
    assert list(tmp_path.glob("manifest.json")) == []
    config = TokenizeConfig(max_tokens=24, max_lost_share=0.04)
    assert tokenization.tokenize(overlong_dataset, word_base, config, tmp_path).num_rows == 48


def test_it_is_an_error_if_no_pair_of_a_split_fits(dataset, llama, tmp_path):
    with pytest.raises(
        ModelError, match=r"max_tokens 8: expected pairs that fit in every split, got \{'train': \d+, 'val"
    ):
        tokenization.tokenize(dataset, llama, TokenizeConfig(max_tokens=8, overlong="drop"), tmp_path)
    assert not (tmp_path / "manifest.json").exists()


def test_tokens_hold_every_prompt_and_response_once(dataset, tokenized, tokenizer):
    groups, texts_encoder = {group.prompt_id: group for group in all_groups(dataset)}, Encoder(tokenizer)
    rows = token_rows(tokenized)
    assert [row["prompt_id"] for row in rows] == list(groups)
    assert tokenized.overlong == {}
    for row in rows:
        group = groups[row["prompt_id"]]
        assert [(row["prompt_ids"], row["response_ids"])] == encoder.encode(
            texts_encoder, [(group.prompt, group.responses)]
        )
        assert row["response_indices"] == list(range(len(group.responses)))
        assert row["comparisons"] == [dataclasses.asdict(pair) for pair in group.comparisons]


def test_the_manifest_counts_what_is_in_the_file(dataset, tokenized):
    rows = token_rows(tokenized)
    num_pairs, num_tokens = ({"train": 0, "validation": 0, "heldout": 0} for _ in range(2))
    for row in rows:
        num_pairs[row["split"]] += len(row["comparisons"])
        num_tokens[row["split"]] += sum(map(len, [row["prompt_ids"], *row["response_ids"]]))
    assert (tokenized.num_rows, tokenized.num_pairs, tokenized.num_tokens) == (len(rows), num_pairs, num_tokens)
    assert tokenized.num_pairs == dataset.num_pairs
    assert tokenized.inputs[0].digest == dataset.digest


def test_the_tokenizer_is_not_trained_on_held_out_text(make_dataset, llama, tmp_path):
    rows = [{"prompt": f"prompt {number}", "first": "yes", "second": "no", "preference": 1} for number in range(60)]
    shares = {"heldout_share": 0.25, "validation_share": 0.25}
    groups = groups_by_split(make_dataset(rows, **shares))
    split_of = {group.prompt[0].content: split for split, some in groups.items() for group in some}
    words = {"train": " marzipan", "validation": " kumquat", "heldout": " xylophone"}
    rows = [{**row, "first": row["first"] + words[split_of[row["prompt"]]] * 20} for row in rows]
    tokenized = tokenization.tokenize(make_dataset(rows, **shares), llama, TokenizeConfig(), tmp_path)
    tokenizer = tokenization.read_tokenizer(tokenized)
    assert len(tokenizer(words["train"])["input_ids"]) == 1
    assert len(tokenizer(words["heldout"])["input_ids"]) > 5
    assert len(tokenizer(words["validation"])["input_ids"]) > 3


def test_each_split_has_its_rows_and_its_counts(make_dataset, judgements, llama, tmp_path):
    dataset = make_dataset(judgements, validation_share=0.25)
    tokenized = tokenization.tokenize(dataset, llama, TokenizeConfig(), tmp_path)
    prompts = {split: tokenization.read_tokens(tokenized, split) for split in SPLITS}
    expected = [(group.prompt_id, split) for split, some in groups_by_split(dataset).items() for group in some]
    assert [(prompt.prompt_id, split) for split in SPLITS for prompt in prompts[split]] == expected
    counts = {split: sum(len(prompt.comparisons) for prompt in prompts[split]) for split in SPLITS}
    assert tokenized.num_pairs == dataset.num_pairs == counts
    assert min(*counts.values(), *tokenized.num_tokens.values()) > 0


def test_it_is_an_error_if_no_validation_pair_fits(make_dataset, word_base, tmp_path):
    rows = [{"prompt": f"w{number} w1", "first": "w1", "second": "w2", "preference": 1} for number in range(40)]
    shares = {"heldout_share": 0.25, "validation_share": 0.25}
    groups = prompt_groups.read_groups(make_dataset(rows, **shares), "validation")
    long = {group.prompt[0].content for group in groups}
    rows = [{**row, "first": word(0, 90)} if row["prompt"] in long else row for row in rows]
    with pytest.raises(ModelError, match=r"max_tokens 24: expected pairs that fit in every split, .*'validation': 0"):
        tokenization.tokenize(make_dataset(rows, **shares), word_base, TokenizeConfig(max_tokens=24), tmp_path)


def test_attributes_follow_the_responses_that_fit(make_dataset, overlong_rows, word_base, tmp_path):
    rated = [
        row
        | {"attributes_first": {"words": len(row["first"].split()), "one": 1.0}}
        | {"attributes_second": {"words": len(row["second"].split())}}
        for row in overlong_rows
    ]
    dataset = make_dataset(rated)
    config = TokenizeConfig(max_tokens=24, max_lost_share=1)
    tokenized = tokenization.tokenize(dataset, word_base, config, tmp_path)
    prompts = [prompt for split in SPLITS for prompt in tokenization.read_tokens(tokenized, split)]
    assert sum(len(prompt.response_ids) for prompt in prompts) < sum(
        len(group.responses) for group in all_groups(dataset)
    )
    for prompt in prompts:
        words = [attributes["words"] for attributes in prompt.response_attributes]
        assert words == [len(ids) - 1 for ids in prompt.response_ids]  # each word is one token, and the end one more
        assert [attributes for attributes in prompt.response_attributes if "one" in attributes]


def test_responses_without_attributes_have_empty_ones(tokenized):
    for prompt in tokenization.read_tokens(tokenized, "train"):
        assert prompt.response_attributes == [{}] * len(prompt.response_ids)


def test_progress_reaches_the_number_of_prompts(dataset, llama, tmp_path):
    seen = []
    config = TokenizeConfig(max_tokens=128)
    tokenization.tokenize(dataset, llama, config, tmp_path, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (dataset.num_rows, dataset.num_rows)


def test_tokenizing_twice_gives_the_same_bytes(dataset, llama, tokenized, tmp_path):
    assert tokenization.tokenize(dataset, llama, TokenizeConfig(max_tokens=512), tmp_path).digest == tokenized.digest


def test_more_tokens_than_the_model_has_positions_are_refused_before_training(dataset, llama, tmp_path):
    with pytest.raises(ModelError, match="max_tokens is 513, but llama from random weights has 512 positions"):
        tokenization.tokenize(dataset, llama, TokenizeConfig(max_tokens=513), tmp_path)


def test_the_limit_travels_with_the_tokenizer(tokenized):
    assert tokenization.read_tokenizer(tokenized).model_max_length == 512

from collections import Counter

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm import base_models, snapshots, tokenization
from rm.config import TokenizeConfig
from rm.errors import ModelError
from rm.preferences import Message

TOKENIZER = base_models.train_tokenizer(["Say something about a thing, please.", "very good or bad"] * 20, 320)
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
    [(prompt_ids, response_ids)] = tokenization.encode(TOKENIZER, [(prompt, responses)])
    for ids, response in zip(response_ids, responses, strict=True):
        whole = TOKENIZER(rendered(TOKENIZER, prompt, response), add_special_tokens=False)["input_ids"]
        assert prompt_ids + ids == whole
        assert TOKENIZER.decode(ids) == f"{response}<|end|>"


@given(conversations(), texts)
def test_the_prompt_ends_where_the_answer_begins_and_the_answer_with_one_end_token(prompt, response):
    [(prompt_ids, [response_ids])] = tokenization.encode(TOKENIZER, [(prompt, [response])])
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
    together = tokenization.encode(TOKENIZER, items)
    assert [len(response_ids) for _, response_ids in together] == [0, 1, 2, 3]
    for (prompt, responses), (prompt_ids, response_ids) in zip(items, together, strict=True):
        for place, response in enumerate(responses):
            alone = tokenization.encode(TOKENIZER, [(prompt, [response])])
            assert alone == [(prompt_ids, [response_ids[place]])]
    assert tokenization.encode(TOKENIZER, []) == []


def test_special_tokens_that_a_tokenizer_would_add_itself_are_not_doubled(word_base):
    tokenizer = base_models.load_tokenizer(word_base, [])
    assert tokenizer("w1 w2")["input_ids"] == [1, 5, 6, 2]  # it does add them
    prompt = [Message("user", "w1 w2"), Message("assistant", "w3"), Message("user", "w4")]
    assert tokenization.encode(tokenizer, [(prompt, ["w5 w6"])]) == [([1, 5, 6, 2, 7, 2, 8, 2], [[9, 10, 2]])]


def test_a_template_that_rewrites_the_prompt_once_it_is_answered_is_refused():
    tokenizer = base_models.train_tokenizer(["a"], 300)
    tokenizer.chat_template = "{{ messages | length }}{% for message in messages %}{{ message.content }}{% endfor %}"
    with pytest.raises(ModelError, match=r"renders a prompt differently once it is answered; .*'1Why\?', got '2Why\?"):
        tokenization.encode(tokenizer, [([Message("user", "Why?")], ["So."])])


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


def tokens_by_name(dataset, tokenized):
    """The rows of `OVERLONG` that are left, as they were and as tokens."""
    rows = {row["prompt_id"]: row for row in pq.read_table(tokenized.path / "tokens.parquet").to_pylist()}
    found = {}
    for group in snapshots.read_groups(dataset):
        prompt_words = len(group["prompt"][0]["content"].split())
        sizes = (prompt_words, sorted(len(text.split()) for text in group["responses"]))
        names = [name for name, (prompt, responses) in OVERLONG.items() if (prompt, responses) == sizes]
        if names and group["prompt_id"] in rows:
            found[names[0]] = (group, rows[group["prompt_id"]])
    return found


def ids_of(text):
    return [int(part[1:]) + 4 for part in text.split()]


def test_a_prompt_is_cut_at_its_beginning_once_for_all_its_responses(overlong_dataset, word_base, tmp_path):
    config = TokenizeConfig(max_tokens=24, overlong="truncate_prompt_left")
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
        whole = [1, *ids_of(group["prompt"][0]["content"]), 2]
        num_cut = len(whole) - len(row["prompt_ids"])
        assert row["prompt_ids"] == [1, *whole[1 + num_cut :]]  # its first special token and its end stay
    # Of the prompts below 256 tokens four are cut for two responses each; one that no pair is left of does not count.
    assert tokenized.overlong == {
        "prompt cut at its beginning": {"00000-00255 tokens": 8, "00256-00511 tokens": 2},
        "response dropped": {"00000-00255 tokens": 3},
    }


def test_what_is_too_long_can_be_dropped_instead(overlong_dataset, word_base, tmp_path):
    config = TokenizeConfig(max_tokens=24, overlong="drop")
    tokenized = tokenization.tokenize(overlong_dataset, word_base, config, tmp_path)
    found = tokens_by_name(overlong_dataset, tokenized)
    assert set(found) == {"fits", "exactly fits", "third response too long, prompt fits"}
    for group, row in found.values():
        assert row["prompt_ids"] == [1, *ids_of(group["prompt"][0]["content"]), 2]
    assert tokenized.overlong == {"response dropped": {"00000-00255 tokens": 11, "00256-00511 tokens": 2}}


@pytest.mark.parametrize("overlong", ["drop", "truncate_prompt_left"])
def test_responses_are_never_cut_and_comparisons_follow_them(overlong_dataset, word_base, tmp_path, overlong):
    config = TokenizeConfig(max_tokens=24, overlong=overlong)
    tokenized = tokenization.tokenize(overlong_dataset, word_base, config, tmp_path)
    groups = {group["prompt_id"]: group for group in snapshots.read_groups(overlong_dataset)}
    for split in ("train", "heldout"):
        for row in tokenization.read_tokens(tokenized, split):
            group, places = groups[row["prompt_id"]], row["response_places"]
            assert row["split"] == group["split"] == split
            assert row["response_ids"] == [[*ids_of(group["responses"][place]), 2] for place in places]
            assert row["comparisons"] == [
                {**pair, "first": places.index(pair["first"]), "second": places.index(pair["second"])}
                for pair in group["comparisons"]
                if {pair["first"], pair["second"]} <= set(places)
            ]


def test_it_is_an_error_if_no_pair_of_a_split_fits(dataset, llama, tmp_path):
    with pytest.raises(ModelError, match=r"max_tokens 8: no pair of a split fits, left are \{'train': \d+, 'heldout'"):
        tokenization.tokenize(dataset, llama, TokenizeConfig(max_tokens=8, overlong="drop"), tmp_path)
    assert not (tmp_path / "manifest.json").exists()


def test_tokens_hold_every_prompt_and_response_once(dataset, tokenized, tokenizer):
    groups = {group["prompt_id"]: group for group in snapshots.read_groups(dataset)}
    rows = pq.read_table(tokenized.path / "tokens.parquet").to_pylist()
    assert [row["prompt_id"] for row in rows] == list(groups)
    assert tokenized.overlong == {}
    for row in rows:
        group = groups[row["prompt_id"]]
        prompt = [Message(turn["role"], turn["content"]) for turn in group["prompt"]]
        assert [(row["prompt_ids"], row["response_ids"])] == tokenization.encode(
            tokenizer, [(prompt, group["responses"])]
        )
        assert row["response_places"] == list(range(len(group["responses"])))
        assert row["comparisons"] == group["comparisons"]


def test_the_manifest_counts_what_is_in_the_file(dataset, tokenized):
    rows = pq.read_table(tokenized.path / "tokens.parquet").to_pylist()
    num_pairs, num_tokens = Counter(), Counter()
    for row in rows:
        num_pairs[row["split"]] += len(row["comparisons"])
        num_tokens[row["split"]] += sum(map(len, [row["prompt_ids"], *row["response_ids"]]))
    assert (tokenized.num_rows, tokenized.num_pairs, tokenized.num_tokens) == (len(rows), num_pairs, num_tokens)
    assert tokenized.num_pairs == dataset.num_pairs
    assert tokenized.parents[0].digest == dataset.digest


def test_the_tokenizer_is_not_trained_on_held_out_text(make_dataset, llama, tmp_path):
    rows = [{"prompt": f"prompt {number}", "first": "yes", "second": "no", "preference": 1} for number in range(60)]
    split = {group["prompt"][0]["content"]: group["split"] for group in snapshots.read_groups(make_dataset(rows))}
    words = {"train": " marzipan", "heldout": " xylophone"}
    rows = [{**row, "first": row["first"] + words[split[row["prompt"]]] * 20} for row in rows]
    tokenized = tokenization.tokenize(make_dataset(rows), llama, TokenizeConfig(), tmp_path)
    tokenizer = tokenization.read_tokenizer(tokenized)
    assert len(tokenizer(words["train"])["input_ids"]) == 1
    assert len(tokenizer(words["heldout"])["input_ids"]) > 5


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

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.data.formats.catalog import FORMATS, format_of, read_judgement, read_row
from rm.data.formats.row import RowError, object_of_pairs
from rm.data.preferences import Judgement, Message

USER, ANSWER, WORSE = Message("user", "Hi"), Message("assistant", "Hello."), Message("assistant", "Go away.")
OWN = {"prompt": "Hi", "first": "Hello.", "second": "Go away.", "preference": 0.75}
ALPACA = {"instruction": "Hi", "output_1": "Hello.", "output_2": "Go away.", "preference": 1.0}
HH = {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello.", "rejected": "\n\nHuman: Hi\n\nAssistant: Go away."}
TRL = {"prompt": "Hi", "chosen": "Hello.", "rejected": "Go away."}
ROWS = {"judgement": OWN, "alpaca_eval": ALPACA, "trl_implicit": HH, "trl": TRL}
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(str.strip)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=3)  # half surrogate pairs too
WORDS = st.text("abcdef", min_size=1, max_size=5)


def turns(*messages):
    return [{"role": role, "content": content} for role, content in messages]


def refusal(row):
    with pytest.raises(RowError) as caught:
        read_judgement(row)
    return str(caught.value)


# Which format reads which row


@pytest.mark.parametrize("name", ROWS)
def test_each_format_reads_its_row_and_the_first_response_is_the_preferred_one(name):
    found = read_judgement(ROWS[name])
    assert (found.prompt, found.first, found.second) == ((USER,), "Hello.", "Go away.")
    assert found.preference == ROWS[name].get("preference", 1.0)
    assert format_of(ROWS[name]).name == name


@pytest.mark.parametrize("name", ROWS)
def test_provenance_is_kept_as_text_and_missing_where_the_row_is_silent(name):
    found = read_judgement({**ROWS[name], "annotator": 7, "created_at": "2024-02-30", "domain": None, "extra": 1})
    assert (found.annotator, found.created_at, found.domain) == ("7", "2024-02-30", None)
    plain = read_judgement(ROWS[name])
    assert (plain.annotator, plain.created_at, plain.domain) == (None, None, None)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("broken", ["annotator", "created_at", "domain"])
def test_provenance_that_is_not_unicode_is_refused(name, broken):
    assert f"{broken} holds half a surrogate pair" in refusal({**ROWS[name], broken: "\ud83d"})


def test_an_unknown_format_names_its_columns_the_nearest_one_and_the_setting_that_would_read_it():
    message = refusal({"question": "Hi", "good_answer": "Hello.", "bad_answer": "Go away.", "b\ud800": 1})
    assert "'b\\ud800', 'bad_answer', 'good_answer', 'question'" in message
    assert message.endswith("--set 'ingest.fields={prompt: question, chosen: good_answer, rejected: bad_answer}'")
    votes = refusal({"query": "Hi", "answer_a": "Hello.", "answer_b": "Go away.", "winner": "a"})
    assert "first: answer_a, second: answer_b, preference: winner" in votes
    long = refusal({f"column_with_a_long_name_{place}": place for place in range(100)})
    assert max(map(len, (message, votes, long))) < 300 and "97 more" in long


@pytest.mark.parametrize("missing", sorted(OWN))
def test_our_own_format_is_not_guessed_when_a_field_is_missing(missing):
    assert "no known format" in refusal({key: value for key, value in OWN.items() if key != missing})


@pytest.mark.parametrize(
    ("row", "kind"), [(None, "NoneType"), ([OWN], "list"), ("text", "str"), (3.5, "float"), (True, "bool")]
)
def test_a_row_that_is_no_object_says_what_it_is(row, kind):
    assert refusal(row) == f"expected an object with named fields, got {kind}"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({**OWN, "first": 3}, "first: expected text or a list of messages, got int 3"),
        ({**OWN, "second": None}, "second: expected text or a list of messages, got NoneType None"),
        ({**OWN, "prompt": {"role": "user"}}, "prompt: expected {role, content} or {from, value} as text, got dict"),
        (
            {**OWN, "prompt": [{"role": "user"}]},
            "prompt[0]: expected {role, content} or {from, value} as text, got dict {'role': 'user'}",
        ),
        ({**OWN, "prompt": ["Hi"]}, "prompt[0]: expected {role, content} or {from, value} as text, got str 'Hi'"),
        ({**OWN, "preference": "1 of 2"}, "preference: expected a finite number, got str '1 of 2'"),
        ({**OWN, "preference": True}, "preference: expected a finite number, got bool True"),
        ({**OWN, "preference": None}, "preference: expected a finite number, got NoneType None"),
        ({**OWN, "preference": math.nan}, "preference: expected a finite number, got float nan"),
        ({**OWN, "preference": math.inf}, "preference: expected a finite number, got float inf"),
        ({**OWN, "preference": 10**400}, "preference: expected a finite number, got int 1000"),
        ({**OWN, "preference": 2}, "preference 2.0 is not in [0, 1]"),
        ({**OWN, "weight": []}, "weight: expected a finite number, got list []"),
        ({**OWN, "weight": 0}, "weight: expected a number from 1e-06 to 1e+06, got 0"),
        ({**OWN, "weight": 1e300}, "weight: expected a number from 1e-06 to 1e+06, got 1e+300"),
        ({**OWN, "preference": 1e300}, "preference: expected a number of size 1e+12 at most, got 1e+300"),
        (
            {**OWN, "created_at": 1e300},
            "created_at: expected text, or a number of size 5e+18 at most, got float",
        ),
        ({**OWN, "annotator": math.inf}, "annotator: expected text, or a number of size 1e+20 at most, got float inf"),
        ({**OWN, "sampling_probability": "one"}, "sampling_probability: expected a finite number, got str 'one'"),
        ({**OWN, "sampling_probability": 2}, "sampling_probability: expected a number from 1e-09 to 1, got 2"),
        ({**OWN, "target_margin": -(10**400)}, "target_margin: expected a finite number, got int -1000"),
        ({**OWN, "attributes_first": 4}, "attributes_first: expected an object of named numbers, got int 4"),
        (
            {**OWN, "attributes_second": [["a", 1]]},
            "attributes_second: expected an object of named numbers, got list [[",
        ),
        ({**OWN, "attributes_first": {"b": "d"}}, "attributes_first.b: expected a finite number, got str 'd'"),
        (
            {**OWN, "attributes_first": {"a": 1, "b": True}},
            "attributes_first.b: expected a finite number, got bool True",
        ),
        ({**OWN, "attributes_second": {"b": math.nan}}, "attributes_second.b: expected a finite number, got float nan"),
        ({**OWN, "attributes_second": {"b": 10**400}}, "attributes_second.b: expected a finite number, got int 1000"),
        ({**OWN, "attributes_second": {"": 1}}, "attributes_second: expected a name for each value, got ''"),
        ({**OWN, "attributes_second": {"\ud800": 1}}, "the attributes_second name holds half a surrogate pair"),
        (
            {**TRL, "attributes_rejected": {"b": "1e999"}},
            "attributes_rejected.b: expected a finite number, got float inf",
        ),
        ({**ALPACA, "instruction": 5}, "instruction: expected text or a list of messages, got int 5"),
        ({**ALPACA, "output_2": None}, "output_2: expected text, got NoneType None"),
        ({**ALPACA, "input": 5}, "input: expected text, got int 5"),
        ({**TRL, "chosen": None}, "chosen: expected text or a list of messages, got NoneType None"),
        ({**TRL, "rejected": turns(WORSE)}, "rejected: expected text or messages on both sides, got list"),
        ({**TRL, "prompt": 5}, "prompt: expected text or a list of messages, got int 5"),
        ({**TRL, "margin": "big"}, "margin: expected a finite number, got str 'big'"),
        ({**TRL, "margin": 1e300}, "margin: expected a number from 0 to 1000, got 1e+300"),
        ({**TRL, "score_chosen": 1e300}, "score_chosen: expected a number of size 1e+12 at most, got 1e+300"),
        ({**TRL, "margin": -1}, "margin: expected a number from 0 to 1000, got -1"),
        ({**HH, "rejected": HH["chosen"]}, "both responses are the same text"),
    ],
)
def test_a_wrong_field_is_named_with_what_came(row, expected):
    assert expected in refusal(row)


def test_a_long_value_is_shown_shortened():
    message = refusal({**OWN, "preference": "x" * 10_000})
    assert len(message) < 150
    assert message.endswith("...")


# Our own


@given(TEXTS, WORDS, WORDS.map(str.upper), st.floats(0, 1))
def test_our_own_format_takes_texts_as_they_are(prompt, first, second, preference):
    found = read_judgement({"prompt": prompt, "first": first, "second": second, "preference": preference})
    expected = Judgement(prompt=(Message("user", prompt),), first=first, second=second, preference=preference)
    assert found == expected


def test_our_own_format_takes_messages_margin_weight_and_origin():
    prompt = turns(("system", "Be kind."), USER, ANSWER, ("user", "Again"))
    rest = {"target_margin": 2, "weight": 0.5, "annotator": "ann", "created_at": "2024", "domain": "chat"}
    expected = {**rest, "target_margin": 2.0, "first": "Hello.", "second": "Go away.", "preference": 0.75}
    found = read_judgement({**OWN, "prompt": prompt, **rest})
    assert found == Judgement(prompt=tuple(Message(**turn) for turn in prompt), **expected)


@pytest.mark.parametrize("row", [OWN, {**OWN, "attributes_first": None, "attributes_second": {"verbosity": None}}])
def test_attributes_that_are_null_or_left_out_were_not_given(row):
    found = read_judgement(row)
    assert (found.attributes_first, found.attributes_second) == ({}, {})


@pytest.mark.parametrize(
    ("row", "sides"), [(OWN, ("first", "second")), (TRL, ("chosen", "rejected"))], ids=["judgement", "trl"]
)
def test_attributes_are_read_for_each_response(row, sides):
    given = [{"helpfulness": 4, "correctness": 0.5, "verbosity": None}, {"helpfulness": -1}]
    found = read_judgement(row | {f"attributes_{side}": values for side, values in zip(sides, given, strict=True)})
    assert found.attributes_first == {"helpfulness": 4.0, "correctness": 0.5}
    assert found.attributes_second == {"helpfulness": -1.0}
    assert {type(value) for value in found.attributes_first.values()} == {float}


# AlpacaEval


@pytest.mark.parametrize(
    ("graded", "preference"), [(1, 1.0), (1.0, 1.0), (2, 0.0), (1.5, 0.5), (1.25, 0.75), (1.0000045, 0.9999955)]
)
def test_alpaca_grades_run_from_1_for_the_first_to_2_for_the_second(graded, preference):
    assert read_judgement({**ALPACA, "preference": graded}).preference == pytest.approx(preference, abs=1e-12)


@pytest.mark.parametrize("graded", [0, 0.999, 2.001, -1, 10**9])
def test_alpaca_grades_out_of_range_are_refused(graded):
    assert f"preference: expected 1 (first) to 2 (second), got {float(graded)}" in refusal(
        {**ALPACA, "preference": graded}
    )


def test_alpaca_rows_without_a_verdict_say_so():
    silent = {key: value for key, value in ALPACA.items() if key != "preference"}
    for row in (silent, {**ALPACA, "preference": None}):
        assert "the judge gave no verdict" in refusal(row)


def test_alpaca_input_is_appended_to_the_instruction():
    assert read_judgement({**ALPACA, "input": "to my cat"}).prompt == (Message("user", "Hi\n\nto my cat"),)
    for nothing in ("", None):
        assert read_judgement({**ALPACA, "input": nothing}).prompt == (USER,)


def test_alpaca_dataset_is_the_domain_unless_the_row_names_one():
    assert read_judgement({**ALPACA, "dataset": "koala"}).domain == "koala"
    assert read_judgement({**ALPACA, "dataset": "koala", "domain": "chat"}).domain == "chat"


def test_columns_of_another_format_are_left_out_only_if_they_repeat_what_is_read():
    assert read_row({**ALPACA, **TRL}).left_out == ("prompt", "chosen", "rejected")
    assert refusal({**ALPACA, **TRL, "chosen": "Well, well."}).startswith("chosen: text or messages that may be a part")


# HH-RLHF


@given(
    st.lists(TEXTS, min_size=1, max_size=5).filter(lambda texts: len(texts) % 2 == 1), TEXTS, TEXTS.map("x{}".format)
)
def test_hh_transcripts_come_apart_into_the_turns_they_were_joined_from(dialogue, chosen, rejected):
    dialogue, chosen, rejected = [text.strip() for text in dialogue], chosen.strip(), rejected.strip()
    roles = ["Human" if place % 2 == 0 else "Assistant" for place in range(len(dialogue))]
    shared = "".join(f"\n\n{role}: {text}" for role, text in zip(roles, dialogue, strict=True))
    row = {side: f"{shared}\n\nAssistant: {text}" for side, text in (("chosen", chosen), ("rejected", rejected))}
    found = read_judgement(row)
    assert [message.content for message in found.prompt] == dialogue
    assert [message.role for message in found.prompt] == ["user", "assistant", "user", "assistant", "user"][
        : len(roles)
    ]
    assert (found.first, found.second, found.preference) == (chosen, rejected, 1.0)


def test_hh_markers_count_only_at_the_start_of_a_paragraph():
    text = "Say 'Human: hi' to me\nAssistant: no.\n\nHumans: yes"
    row = {side: f"\n\nHuman: {text}\n\nAssistant: {side}" for side in ("chosen", "rejected")}
    assert read_judgement(row).prompt == (Message("user", text),)


def test_hh_dialogues_that_differ_earlier_are_not_guessed_at():
    other = "\n\nHuman: Ho\n\nAssistant: Go away."
    longer = "\n\nHuman: Hi\n\nAssistant: Go away.\n\nHuman: No\n\nAssistant: Yes"
    for rejected in (other, longer):
        assert "differ before their last message" in refusal({**HH, "rejected": rejected})


@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_hh_transcripts_that_end_with_the_human_are_refused_by_side(side):
    assert refusal({**HH, side: HH[side] + "\n\nHuman: And?"}).startswith(
        f"{side}: expected the last message from the assistant, got it from the user"
    )


@pytest.mark.parametrize(("side", "name"), [("chosen", "first"), ("rejected", "second")])
def test_hh_empty_answers_are_refused(side, name):
    assert refusal({**HH, side: "\n\nHuman: Hi\n\nAssistant:"}) == f"the {name} response is empty"


def test_hh_empty_turns_within_the_dialogue_are_refused():
    row = {side: f"\n\nHuman: \n\nAssistant: Hm?\n\nHuman: Hi\n\nAssistant: {side}" for side in ("chosen", "rejected")}
    assert refusal(row) == "the user message in the prompt is empty"


def test_transcripts_beside_their_prompt_are_taken_apart_and_others_are_responses():
    for prompt in ("Hi", "\n\nHuman: Hi\n\nAssistant:", "Human: Hi"):
        found = read_judgement({**HH, "prompt": prompt})
        assert (found.prompt, found.first, found.second) == ((USER,), "Hello.", "Go away.")
    assert read_judgement({**HH, "prompt": "Write a dialogue."}).first == HH["chosen"]


# TRL


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("Yes", "No"),
        ("Name a fruit. A banana", "Name a fruit. A plum"),
        ("The sky is blue", "The sky is blue green"),
        ("Sure! Here it is: 3", "Sure! Here it is: 4"),
    ],
)
def test_a_prompt_is_not_made_of_what_two_texts_share(chosen, rejected):
    assert refusal({"chosen": chosen, "rejected": rejected}).startswith("there is no prompt: where it ends in chosen")


ANSWERS = {"chosen": "A banana is yellow.", "rejected": "A plum, I think."}
QUESTION = [{"role": "user", "content": "Name a yellow fruit."}]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("note", "Be brief."),
        ("persona", [{"role": "user", "content": "I am a cook."}]),
        ("docs", {"text": "Bananas are yellow."}),
        ("tier", "gold"),
    ],
)
def test_text_beside_a_prompt_that_is_shared_is_refused_by_name(name, value):
    row = {"chosen": [*QUESTION, *turns(ANSWER)], "rejected": [*QUESTION, *turns(WORSE)], name: value}
    assert refusal(row).startswith(f"{name}: text beside a prompt that has no column of its own")


@pytest.mark.parametrize("name", ["instruction", "question", "query", "context", "messages", "conversations"])
def test_the_prompt_has_many_names(name):
    asked = [{"from": "human", "value": "Hi"}] if name == "conversations" else "Hi"
    found = read_judgement({name: asked, "chosen": "Hello.", "rejected": "Go away."})
    assert (found.prompt, found.first, found.second) == ((USER,), "Hello.", "Go away.")


def test_numbers_empty_columns_and_known_metadata_do_not_hinder_an_inferred_prompt():
    beside = {"id": "a7", "source": "web", "score": 3, "input": "", "history": [], "note": None, "annotator": "k"}
    found = read_row({**HH, **beside})
    assert found.judgements[0].prompt == (USER,) and found.left_out == ("score",)


def test_a_prompt_that_is_null_is_not_made_of_what_two_answers_share():
    message = refusal({"prompt": None, "chosen": "The answer is yes.", "rejected": "The answer is no."})
    assert message.startswith("there is no prompt")


@pytest.mark.parametrize("silent", [{}, {"prompt": None}])
def test_an_implicit_prompt_in_messages_is_what_both_sides_share(silent):
    shared = (Message("system", "s"), USER, ANSWER, Message("user", "More"))
    row = {"chosen": turns(*shared, ANSWER), "rejected": turns(*shared, WORSE), **silent}
    found = read_judgement(row)
    assert (found.prompt, found.first, found.second) == (shared, "Hello.", "Go away.")


@pytest.mark.parametrize("prompt", ["Hi", turns(USER)])
def test_an_explicit_prompt_is_text_or_messages_and_stands_once(prompt):
    repeated = {"chosen": turns(USER, ANSWER), "rejected": turns(USER, WORSE)}
    only_answers = {"chosen": turns(ANSWER), "rejected": turns(WORSE)}
    for sides in (repeated, only_answers):
        found = read_judgement({"prompt": prompt, **sides})
        assert (found.prompt, found.first, found.second) == ((USER,), "Hello.", "Go away.")
    assert read_judgement({**TRL, "prompt": prompt}).prompt == (USER,)


def test_ultrafeedback_binarized_with_a_system_message_keeps_it():
    system = Message("system", "You are terse.")
    row = {"prompt": "Hi", "prompt_id": "ab12", "score_chosen": 8.5, "score_rejected": 8.0}
    row |= {"chosen": turns(system, USER, ANSWER), "rejected": turns(system, USER, WORSE)}
    row["messages"] = row["chosen"]
    found = read_judgement(row)
    assert (found.prompt, found.first, found.preference) == ((system, USER), "Hello.", 1.0)


def test_a_system_message_in_the_prompt_and_in_both_sides_stands_once():
    prompt = (Message("system", "You are terse."), USER)
    row = {"prompt": turns(*prompt), "chosen": turns(*prompt, ANSWER), "rejected": turns(*prompt, WORSE)}
    assert read_judgement(row).prompt == prompt


def test_a_prompt_that_the_sides_go_on_from_is_put_before_what_they_share():
    more = Message("user", "More")
    row = {"prompt": turns(USER), "chosen": turns(ANSWER, more, ANSWER), "rejected": turns(ANSWER, more, WORSE)}
    assert read_judgement(row).prompt == (USER, ANSWER, more)


def test_sides_that_repeat_a_longer_dialogue_begun_by_the_prompt_do_not_double_it():
    dialogue = (USER, ANSWER, Message("user", "More"))
    row = {"prompt": "Hi", "chosen": turns(*dialogue, ANSWER), "rejected": turns(*dialogue, WORSE)}
    assert read_judgement(row).prompt == dialogue


@pytest.mark.parametrize(("scores", "preference"), [((5, 5), 0.5), ((5.0, 5), 0.5), ((5, 4.99), 1.0), ((0, -3), 1.0)])
def test_equal_scores_are_a_tie(scores, preference):
    found = read_judgement({**TRL, "score_chosen": scores[0], "score_rejected": scores[1]})
    assert found.preference == preference


def test_scores_that_contradict_the_sides_are_refused():
    message = refusal({**TRL, "score_chosen": 3, "score_rejected": 4})
    assert message.startswith("score_chosen 3.0 is below score_rejected 4.0")


def test_null_scores_are_as_good_as_none():
    assert read_judgement({**TRL, "score_chosen": None, "score_rejected": None}).preference == 1.0


def test_the_margin_column_is_the_strength_of_the_label():
    assert read_judgement({**TRL, "margin": 3}).target_margin == 3.0
    assert read_judgement({**TRL, "margin": None}).target_margin == 0.0


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        ([], [WORSE], "chosen: expected text or messages on both sides, got list []"),
        ([ANSWER], [WORSE, USER], "rejected: expected the last message from the assistant, got it from the user"),
        ([USER, ANSWER], [Message("user", "Ho"), WORSE], "differ before their last message"),
        ([USER, ANSWER], [WORSE], "differ before their last message"),
        ([USER, ANSWER], [USER, ANSWER], "both responses are the same text"),
        ([ANSWER], [WORSE], "the prompt must end with a user message or a tool's result, it ends with nothing"),
        ([Message("critic", "x"), USER, ANSWER], [Message("critic", "x"), USER, WORSE], "role 'critic'"),
    ],
)
def test_messages_that_are_no_comparison_say_why(chosen, rejected, expected):
    assert expected in refusal({"chosen": turns(*chosen), "rejected": turns(*rejected)})


@given(
    st.dictionaries(
        st.sampled_from([*OWN, *ALPACA, *TRL, "attributes_first", "annotator", "input", "margin", "score_chosen"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.just("\n\nHuman: a"),
            lambda inner: (
                st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["role", "content", "", "\ud800"]), inner)
            ),
            max_leaves=4,
        ),
    )
)
def test_no_row_is_worse_than_a_row_error(row):
    try:
        assert all(each.judgement_id for each in read_row(row).judgements)
    except RowError as error:
        assert str(error)


def test_formats_have_names_of_their_own():
    assert len({each.name for each in FORMATS}) == len(FORMATS)


@pytest.mark.parametrize("text", ["a" + " " * 100_000 + "b", "1" * 100_000 + "x", " " * 100_000 + "{x", "[" * 100_000])
@pytest.mark.parametrize("column", ["source", "preference", "prompt", "notes"])
def test_a_long_text_is_read_or_refused_in_one_pass_and_not_in_years(column, text):
    try:
        assert read_row({**OWN, column: text}).judgements
    except RowError as error:
        assert column in str(error)


def test_many_columns_and_keys_are_read_or_refused_in_one_pass():
    wide = {f"column {place}": place for place in range(100_000)}
    assert refusal(wide).startswith("no known format has the columns 'column 0', 'column 1', 'column 10'")
    pairs = [(str(place), 1) for place in range(100_000)]
    with pytest.raises(RowError, match="got '99999' twice"):
        object_of_pairs([*pairs, ("99999", 2)])

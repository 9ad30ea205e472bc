"""Rows as people write them: each text is stored, or the row is refused with a sentence that names its column."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.data.config import IngestConfig
from rm.data.formats.catalog import FORMATS, read_judgement, read_row
from rm.data.formats.dialogue import transcript
from rm.data.formats.format import METADATA
from rm.data.formats.row import ORIGIN, RowError
from rm.data.preferences import Message
from tests.rm.data.test_formats import refusal, turns

QUESTION, GOOD, BAD = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think."
SIDES = {"chosen": GOOD, "rejected": BAD}
ASKED, ANSWERED = (
    Message("user", QUESTION),
    {"chosen": Message("assistant", GOOD), "rejected": Message("assistant", BAD)},
)
DIALOGUES = {name: turns(ASKED, answer) for name, answer in ANSWERED.items()}
EARLIER = (Message("user", "Hi."), Message("assistant", "Hello."))
BRIEF = Message("system", "Be brief.")
HH = "Human: Hi.\n\nAssistant: Hello.\n\nHuman: Name a yellow fruit.\n\nAssistant:"
CHATML = "<|im_start|>user\nName a yellow fruit.<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("row", "before"),
    [
        ({"instruction": QUESTION, "input": "", **SIDES}, ()),
        ({"conversations": [{"from": "human", "value": QUESTION}], **SIDES}, ()),
        ({"messages": turns(ASKED), **SIDES}, ()),
        ({"prompt": json.dumps(turns(ASKED)), **SIDES}, ()),
        ({"prompt": QUESTION, **{name: json.dumps(side) for name, side in DIALOGUES.items()}}, ()),
        ({"system": "Be brief.", "question": QUESTION, **SIDES}, (Message("system", "Be brief."),)),
        ({"system_prompt": "Be brief.", "prompt": QUESTION, **SIDES}, (Message("system", "Be brief."),)),
        ({"prompt": QUESTION, "history": [["Hi.", "Hello."]], **SIDES}, EARLIER),
        ({"prompt": QUESTION, "history": turns(*EARLIER), **SIDES}, EARLIER),
        ({"prompt": "\n\n" + HH, "chosen": " " + GOOD, "rejected": " " + BAD}, EARLIER),
        ({name: f"{HH} {text}" for name, text in SIDES.items()}, EARLIER),
        ({name: f"\n\n{HH} {text}".replace("\n", "\r\n") for name, text in SIDES.items()}, EARLIER),
        ({name: f"{CHATML}{text}<|im_end|>" for name, text in SIDES.items()}, ()),
        ({name: f"### Human: {QUESTION}\n### Assistant: {text}" for name, text in SIDES.items()}, ()),
        ({"prompt": QUESTION + "\n", **DIALOGUES}, ()),
        ({"prompt": QUESTION, **{name: f"{QUESTION} {text}" for name, text in SIDES.items()}}, ()),
        ({name: [{**turn, "role": turn["role"].title()} for turn in side] for name, side in DIALOGUES.items()}, ()),
        ({"prompt": [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}], **SIDES}, ()),
        ({"prompt": QUESTION, "messages": DIALOGUES["chosen"], **SIDES}, ()),
        ({"prompt": QUESTION, **{name: turns(*EARLIER, ASKED, answer) for name, answer in ANSWERED.items()}}, EARLIER),
        (
            {"prompt": QUESTION, **{name: json.dumps(turns(BRIEF, ASKED, side)) for name, side in ANSWERED.items()}},
            (BRIEF,),
        ),
        (
            {
                "system": "Be brief.",
                "prompt": QUESTION,
                **{name: turns(BRIEF, *EARLIER, ASKED, side) for name, side in ANSWERED.items()},
            },
            (BRIEF, *EARLIER),
        ),
        (
            {
                "prompt": QUESTION,
                "chosen": {"from": "gpt", "value": GOOD},
                "rejected": {"from": "gpt", "value": BAD},
            },
            (),
        ),
    ],
)
def test_a_prompt_is_found_whole_wherever_it_is_written(row, before):
    found = read_row(row)
    assert [(each.prompt, each.first, each.second) for each in found.judgements] == [((*before, ASKED), GOOD, BAD)]
    assert not set(found.left_out) - {"messages"}


def test_an_input_ends_the_prompt():
    for name in ("instruction", "prompt"):
        found = read_judgement({name: "Summarise the text.", "input": "Bananas are yellow.", **SIDES})
        assert found.prompt == (Message("user", "Summarise the text.\n\nBananas are yellow."),)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": None, **SIDES}, "there is no prompt"),
        ({name: f"{QUESTION} {text}" for name, text in SIDES.items()}, "there is no prompt"),
        ({"prompt": "What is in it?", "images": ["a.png"], **SIDES}, "images: media"),
        ({"prompt": "What is in it?", "image": {"bytes": b"x", "path": None}, **SIDES}, "image: media"),
        ({"prompt": QUESTION, "scan": b"\x89PNG", **SIDES}, "scan: media"),
        ({"prompt": QUESTION, "functions": [{"name": "weather"}], **SIDES}, "functions: tools or reasoning"),
        ({"prompt": QUESTION, "reasoning": "Fruit. Yellow.", **SIDES}, "reasoning: tools or reasoning"),
        ({"prompt": QUESTION, "persona": "You are a cook.", **SIDES}, "persona: text or messages"),
        (
            {"prompt": QUESTION, "turns_before": turns(Message("user", "Hi.")), **SIDES},
            "turns_before: text or messages",
        ),
        ({"prompt": QUESTION, "refs": ["a", "b"], **SIDES}, "refs: text or messages"),
        ({"question": QUESTION, "context": "Bananas are yellow.", **SIDES}, "text or messages"),
        (
            {
                name: [*side[:1], {**side[1], "tool_calls": [{"function": {"name": name}}]}]
                for name, side in DIALOGUES.items()
            },
            "chosen.tool_calls: the response calls tools",
        ),
        (
            {"prompt": [{"role": "user", "content": [{"type": "image_url", "image_url": "a.png"}]}], **SIDES},
            "prompt[0].content: expected parts of text only",
        ),
        ({"prompt": "[INST] Name it. [/INST]", **SIDES}, "prompt: a dialogue as another model's template writes it"),
        ({"prompt": QUESTION, "history": [["Hi."]], **SIDES}, "history: expected pairs"),
        ({"system": "Be brief.", "prompt": turns(Message("system", "Be long."), ASKED), **SIDES}, "one system message"),
        ({"system": "Be brief.", "system_prompt": "Be long.", "prompt": QUESTION, **SIDES}, "one system message"),
        (
            {"system": "Be long.", "prompt": QUESTION, **{n: turns(BRIEF, ASKED, a) for n, a in ANSWERED.items()}},
            "one system message",
        ),
        ({"prompt": "Name a blue fruit.", **DIALOGUES}, "the prompt is not among the messages that both sides share"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(row, expected):
    assert expected in refusal(row)


def test_short_metadata_beside_a_prompt_is_counted_and_metadata_and_numbers_are_not_in_the_way():
    row = {"prompt": QUESTION, **SIDES, "run": "a-7/b", "seen": "2026-11-01 09:00:00", "loss": 0.5, "source": "a b c"}
    assert read_row(row).left_out == ("run", "seen", "loss")


# Ratings and votes


@pytest.mark.parametrize("kind", ["score", "rating"])
@pytest.mark.parametrize("pattern", ["{}_chosen {}_rejected", "chosen_{} rejected_{}", "chosen-{} rejected-{}"])
def test_ratings_under_any_of_their_names_make_ties_and_find_contradictions(kind, pattern):
    names = pattern.format(kind, kind).split()
    row = {"prompt": QUESTION, **SIDES}
    assert read_judgement({**row, **dict.fromkeys(names, 4.0)}).preference == 0.5
    assert read_judgement({**row, names[0]: 4, names[1]: "3.5"}).preference == 1.0
    assert "so one of label and ratings is wrong" in refusal({**row, names[0]: 0.2, names[1]: 0.9})


@pytest.mark.parametrize("name", ["annotator", "annotator_id", "user_id", "worker", "annotator_index", "judge"])
def test_votes_of_several_people_are_several_votes(name):
    row = {"prompt": QUESTION, "first": GOOD, "second": BAD, "preference": 1}
    votes = [read_judgement({**row, name: who}) for who in (0, 1)]
    assert [vote.annotator for vote in votes] == ["0", "1"]
    assert votes[0].judgement_id != votes[1].judgement_id


@pytest.mark.parametrize(
    "beside",
    [
        {"score_chosen": 5, "score_rejected": 5, "chosen_rating": 4, "rejected_rating": 1},
        {"score_chosen": 5, "score_rejected": 3, "chosen_rating": 4, "rejected_rating": 4},
        {"score_chosen": 5, "score_rejected": 5, "margin": 3},
    ],
)
def test_ratings_that_disagree_about_a_tie_are_refused(beside):
    assert "says that the responses are equal, but" in refusal({"prompt": QUESTION, **SIDES, **beside})


@pytest.mark.parametrize("nobody", [float("nan"), "", None])
def test_who_is_not_known_is_not_one_person(nobody):
    row = {"prompt": QUESTION, "first": GOOD, "second": BAD, "preference": 1}
    assert read_judgement({**row, "annotator": nobody}).annotator is None
    assert read_judgement({**row, "annotator": nobody, "worker": 7.0}).annotator == "7"


# Before a prompt that both sides share


def test_what_came_before_a_shared_prompt_is_read_too():
    system, row = Message("system", "Be brief."), DIALOGUES
    assert read_judgement({**row, "system": "Be brief."}).prompt == (system, ASKED)
    assert read_judgement({**row, "history": [["Hi.", "Hello."]]}).prompt == (*EARLIER, ASKED)
    both = {name: [{"role": "system", "content": "Be brief."}, *side] for name, side in row.items()}
    assert read_judgement({**both, "system": "Be brief."}).prompt == (system, ASKED)
    assert "one system message" in refusal({**both, "system": "Be long."})
    assert refusal({**row, "history": 5}).startswith("history: expected")


# Cells as CSV has them


def test_lists_in_cells_are_read_as_json_and_refused_as_python_writes_them():
    row = {"prompt": QUESTION, **SIDES}
    assert read_judgement({**row, "history": "[]", "system": "[]"}).prompt == (ASKED,)
    assert read_judgement({**row, "history": '[["Hi.", "Hello."]]'}).prompt == (*EARLIER, ASKED)
    assert refusal({**row, "history": "[['Hi.', 'Hello.']]"}).startswith("history: expected a list")
    for cell in (str(turns(ASKED)), str(turns(ASKED)).replace("}, {", "}\n {"), str(turns(ASKED)[0])):
        assert "as Python writes them" in refusal({**row, "prompt": cell})
    assert "expected each key once" in refusal({**row, "prompt": '[{"role": "user", "role": "user", "content": "a"}]'})
    said = json.dumps([{"speaker": "a", "text": "Hi."}])
    assert "expected messages as" in refusal({**row, "prompt": said})
    assert read_judgement({**row, "prompt": '[{"name": "a"}]'}).prompt[0].content == '[{"name": "a"}]'


@pytest.mark.parametrize(
    "prompt",
    [
        "<|system|>\nBe brief.<|user|>\nName one.",
        "<s><|im_start|>user\nName one.",
        "Human: What is 2+2?\nAssistant: 4\nHuman: And 3+3?\nAssistant:",
        "USER: Name one.\nASSISTANT:",
    ],
)
def test_dialogues_of_other_templates_are_no_question(prompt):
    assert refusal({"prompt": prompt, **SIDES}).startswith("prompt: ")


def test_what_stands_before_a_transcript_that_goes_on_is_its_system_message():
    row = {"prompt": f"You are helpful.\n\n{HH}", "chosen": " " + GOOD, "rejected": " " + BAD}
    found = read_judgement(row)
    assert (found.prompt, found.first) == ((Message("system", "You are helpful."), *EARLIER, ASKED), GOOD)
    quoted = "Explain this:\n\nHuman: Hi.\n\nAssistant: Hello."
    assert read_judgement({"prompt": quoted, **SIDES}).prompt == (Message("user", quoted),)


PIECES = [
    "\n",
    "\r\n",
    "\r",
    " ",
    "\x1c",
    "Human:",
    "Assistant:",
    "### Human:",
    "###User:",
    "### Response:",
    "a",
    "Human",
    "\n\n",
]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_a_transcript_has_the_turns_between_its_marks(text):
    """As one expression finds them that says where a mark may stand."""
    hh = r"(?:\A\s*|\r?\n\r?\n)(Human|Assistant):"
    hashes = r"(?:\A\s*|\n)### ?(Human|User|Assistant|System|Instruction|Response):"
    for marks in (hh, hashes):
        if re.match(marks, text):
            _, *pieces = re.split(marks, text)
            spoken = [(role.lower(), said.strip()) for role, said in zip(pieces[::2], pieces[1::2], strict=True)]
            if any(role == "assistant" for role, _ in spoken):
                roles = {"response": "assistant", "human": "user"}
                assert list(transcript(text, "a")) == [(roles.get(role, role), said) for role, said in spoken]
            break


def test_a_question_that_begins_with_a_word_like_a_mark_stays_whole():
    for prompt in ("Human: A Brief History is a book by whom?", "Assistant to whom?"):
        assert read_judgement({"prompt": prompt, **SIDES}).prompt[0].content == prompt


def test_code_keeps_its_indentation():
    code = {"chosen": "    return a + b", "rejected": "    return a - b"}
    found = read_judgement({"prompt": "Go on.", **code})
    assert (found.first, found.second) == tuple(code.values())
    begun = "def add(a, b):"
    repeated = read_judgement({"prompt": begun, **{name: f"{begun}\n{text}" for name, text in code.items()}})
    assert (repeated.first, repeated.second) == tuple(code.values())


# Metadata


@pytest.mark.parametrize(
    ("beside", "name"),
    [
        ({"source": "The cat sat on the mat."}, "source"),
        ({"topic": "word " * 20}, "topic"),
        ({"source": [{"role": "user", "content": "Hi."}]}, "source"),
        ({"image_path": "a.png"}, "image_path"),
        ({"shot": {"bytes": b"x", "path": None}}, "shot"),
        ({"label": 0}, "label"),
        ({"winner": "rejected"}, "winner"),
        ({"rank_chosen": 2, "rank_rejected": 1}, "rank_chosen"),
        ({"Context": "France"}, "Context"),
    ],
)
def test_columns_that_matter_are_refused_whatever_they_hold(beside, name):
    assert refusal({"prompt": QUESTION, **SIDES, **beside}).startswith(f"{name}: ")


def test_names_dates_and_numbers_say_where_a_row_comes_from():
    beside = {"source": "a b c", "topic": "love in wartime", "num_images": 0, "": "17", "tags": ["a", "b"]}
    assert read_row({"prompt": QUESTION, **SIDES, **beside}).left_out == ("num_images", "")
    assert read_row({**DIALOGUES, "": "17"}).left_out == ("",)


def test_half_surrogate_pairs_in_a_list_of_responses_are_refused():
    row = {"instruction": "Name one.", "generations": ["a \ud83d", "b"], "ratings": [5, 3]}
    assert "half a surrogate pair" in refusal(row)


# Your own columns


def test_columns_are_read_under_the_names_that_the_recipe_gives():
    config = IngestConfig(
        fields={"prompt": "task.question", "chosen": "good", "rejected": "bad", "annotator": "who"}, ignore=("notes",)
    )
    row = {"task": {"question": QUESTION}, "good": GOOD, "bad": BAD, "who": "a7", "notes": "Read it again, please."}
    found = read_row(row, config.fields, config.ignore).judgements[0]
    assert (found.prompt, found.first, found.second, found.annotator) == ((ASKED,), GOOD, BAD, "a7")
    with pytest.raises(RowError, match=r"^task: text or messages .* got dict"):
        read_row({**row, "task": {"question": QUESTION, "lesson": "Fruit of the south"}}, config.fields, config.ignore)
    with pytest.raises(RowError, match=r"^task\.question: ingest\.fields names it, but the row has no such column"):
        read_row({**row, "task": QUESTION}, config.fields, config.ignore)
    with pytest.raises(
        RowError, match=r"^chosen: ingest\.fields takes it from good, but the row has such a column too"
    ):
        read_row({**row, "chosen": GOOD}, config.fields, config.ignore)


def test_a_field_that_is_not_read_or_read_twice_is_refused():
    row = {"prompt": QUESTION, **SIDES, "heft": 2}
    with pytest.raises(RowError, match=r"weight: ingest\.fields names it, but the format trl does not read it"):
        read_row(row, {"weight": "heft"})
    with pytest.raises(RowError, match="expected a column of its own for each field"):
        read_row({"q": QUESTION, **SIDES}, {"prompt": "q", "input": "q"})
    advice = refusal({"source": "x", "chosen_instruction": "a", "rejected_instruction": "b"})
    assert "{prompt: COLUMN, chosen: chosen_instruction, rejected: rejected_instruction}" in advice


def test_a_column_with_a_point_in_its_name_is_one_column():
    row = {"data.q": QUESTION, **SIDES, "meta.note": "Read it again, please."}
    assert read_row(row, {"prompt": "data.q"}, ("meta.note",)).judgements[0].prompt == (ASKED,)


def test_a_format_can_be_named():
    row = {"prompt": QUESTION, **SIDES, "instruction": "Name one."}
    assert (
        read_row(row, ignored=("prompt",), format_name="llama_factory_alpaca").judgements[0].prompt[0].content
        == "Name one."
    )
    with pytest.raises(RowError, match=r"^instruction: ingest\.format is llama_factory_alpaca"):
        read_row({"prompt": QUESTION, **SIDES}, format_name="llama_factory_alpaca")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({"fields": {"promt": "a"}}, "no field 'promt'"), ({"format": "trll"}, "no format 'trll'")],
)
def test_a_field_or_format_that_does_not_exist_is_named(settings, expected):
    with pytest.raises(ValueError, match=expected):
        IngestConfig(**settings)


# Every format


def test_an_example_has_what_its_format_requires_and_is_read_by_it():
    for format_ in FORMATS:
        found = read_row(dict(format_.example))
        assert found.format is format_ and not found.left_out
        assert format_.required <= format_.columns.keys()


@pytest.mark.parametrize("format_", FORMATS, ids=lambda each: each.name)
def test_every_format_reads_who_judged_when_and_how_likely_the_pair_was_chosen(format_):
    beside = {"worker": "a7", "created_at": "2026-11-01", "sampling_probability": 0.5}
    row = {name: value for name, value in format_.example.items() if name not in ORIGIN} | beside
    for found in read_row(row).judgements:
        assert (found.created_at, found.sampling_probability) == ("2026-11-01", 0.5)
        assert found.annotator is not None


def texts_in(value):
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, inner in value.items() if key not in ("role", "from") for text in texts_in(inner)]
    return [text for inner in value for text in texts_in(inner)] if isinstance(value, list) else []


NAMES = ["note", "persona", "system", "history", "input", "context", "tools", "images", "messages", "extra", "question"]
CELLS = st.sampled_from(
    [
        "You are a cook.",
        "w7",
        [["Hi.", "Hello."]],
        turns(Message("user", "Is it ripe?")),
        ["a.png"],
        {"a": "Is it so?"},
        3,
        None,
    ]
)


def test_an_empty_column_speaks_for_no_format():
    for nothing in (None, "", []):
        found = read_row({"query": QUESTION, **SIDES, "input": nothing, "instruction": nothing, "messages": nothing})
        assert (found.format.name, found.judgements[0].prompt) == ("query", (ASKED,))


@given(st.sampled_from(FORMATS), st.dictionaries(st.sampled_from(NAMES), CELLS, max_size=3))
def test_a_text_beside_is_stored_or_its_column_is_counted_or_named(format_, beside):
    row = {**format_.example, **{name: value for name, value in beside.items() if name not in format_.required}}
    try:
        found = read_row(row)
    except RowError as error:
        own = format_.required - {"prompt", "chosen", "rejected", "first", "second"}
        assert any(name in str(error) for name in {*beside, *own})
        return
    parts = [
        text for each in found.judgements for text in (*(turn.content for turn in each.prompt), each.first, each.second)
    ]
    kept = "\n".join(parts)
    for name in beside:
        if name not in found.left_out and name not in METADATA | found.format.metadata:
            assert all(text in kept for text in texts_in(row[name])), name
    for name in found.left_out:
        assert all(" " not in text or text in kept for text in texts_in(row[name])), name


def test_no_two_formats_read_the_same_columns_alike():
    for one, other in pairwise(sorted(FORMATS, key=lambda format_: sorted(format_.required))):
        assert one.required != other.required or one.fits is not other.fits

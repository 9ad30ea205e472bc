"""Rows that are read by a template, against `read_row` reading each by itself."""

import json
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm.data import plain_rows, sources, staging
from rm.data.config import IngestConfig
from rm.data.formats.catalog import FORMATS, read_row
from rm.data.formats.row import RowError
from rm.data.plain_rows import PlainRows
from rm.data.preferences import Message, problem
from rm.data.template import Template
from tests.rm.data.test_preferences import MIXED

QUESTION = "Name a yellow fruit."
PLAIN = tuple(format_ for format_ in FORMATS if format_.plain)
DIALOGUES = tuple(format_ for format_ in FORMATS if format_.dialogues)
TEXTS = st.sampled_from(
    [
        *("a", " a", "b\n", "c: d", "é", "e\u0301", "", " ", "\x1c", "\0", "\ud83d", "👍", None, 3, ["a"]),
        *(QUESTION, f"{QUESTION} A banana.", f"{QUESTION}\nA plum.", "Assistant: a", "Human: b", "a\n\nAssistant:"),
        *("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant: c", "You are x.\n\nHuman: a\n\nAssistant:"),
        *('{"role": "user", "content": "a"}', "[1]", "{", "[{'role': 'user'}]", "<|im_start|>user\na<|im_end|>\n"),
        *("### Human: a\n### Assistant: b", "<extra_id_1>User", "[INST] a", "USER: a\nASSISTANT:", "\ufdd0", "x\ufdd1"),
        *(
            [{"role": "user", "content": "a"}],
            [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        ),
    ]
)
BESIDE = {
    "id": st.sampled_from([1, 2, "u-1", "", "The cat sat on it.", "\ufdd1", None, float("nan")]),
    "source": st.sampled_from(["a b", "a", 3, None, [{"a": 1}]]),
    "note": st.sampled_from([1, 2.5, "w7", "a", "two words here.", "\ufdd1", "2026-11-01 09:00", None, True]),
    "annotator": st.sampled_from(["ann", "bob", 1, 1.0, True, "", None, "\ud83d"]),
    "created_at": st.sampled_from(["2026-11-01", "2026-11-02", None]),
    "domain": st.sampled_from(["code", "\ufdd2", None]),
    "system": st.sampled_from(["Be brief.", "", None]),
    "history": st.sampled_from(["[]", '[["Hi.", "Hello."]]', "Hi."]),
    "input": st.sampled_from(["b", "", None]),
    "preference": st.sampled_from([0, 0.0, 0.25, 1, 1.5, "1", None]),
    "margin": st.sampled_from([0.0, -0.0, 1, "2", -1]),
    "target_margin": st.sampled_from([0.0, -0.0, 1]),
    "weight": st.sampled_from([1, 2.0, 0]),
    "score_chosen": st.sampled_from([1, 2]),
    "score_rejected": st.sampled_from([1, 2]),
    "sampling_probability": st.sampled_from([None, 0.5, 2]),
    "attributes_chosen": st.sampled_from([{"helpfulness": 1}, None]),
    "winner": st.sampled_from(["model_a"]),
    "images": st.sampled_from(["a.png", 2]),
    "question": st.sampled_from([QUESTION, "", None]),
}


@st.composite
def rows(draw):
    format_ = draw(st.sampled_from(PLAIN))
    beside = draw(st.lists(st.sampled_from(sorted(BESIDE)), max_size=3, unique=True))
    texts = {name: draw(TEXTS) for name in format_.plain}
    return {**format_.example, **texts, **{name: draw(BESIDE[name]) for name in beside if name not in format_.plain}}


USUAL = st.sampled_from(["a", " a", "b\n", "é", "c: d"])
ODD = USUAL | st.sampled_from(["", "x\n\nHuman: y", "\ud83d", "\ufdd0", "x\n\nAssistant:"])
TURNS = st.lists(USUAL, min_size=1, max_size=1) | st.lists(USUAL, min_size=3, max_size=3) | st.lists(ODD, max_size=3)
WRITTEN = {
    "HH": lambda turns: "".join(f"\n\n{('Human', 'Assistant')[place % 2]}: {text}" for place, text in enumerate(turns)),
    "CRLF": lambda turns: WRITTEN["HH"](turns).replace("\n", "\r\n"),
    "stripped": lambda turns: WRITTEN["HH"](turns).strip(),
    "hashes": lambda turns: "".join(f"\n### {('Human', 'Assistant')[p % 2]}: {text}" for p, text in enumerate(turns)),
    "messages": lambda turns: [
        {"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(turns)
    ],
    "sharegpt": lambda turns: [{"from": ("Human", "gpt")[p % 2], "value": text} for p, text in enumerate(turns)],
    "JSON": lambda turns: json.dumps(WRITTEN["messages"](turns)),
    "with more": lambda turns: [
        *WRITTEN["messages"](turns[:-1]),
        {"role": "assistant", "content": turns[-1], "reasoning": turns[0], "index": 1},
    ],
    "with a system message": lambda turns: [{"role": "system", "content": turns[0]}, *WRITTEN["messages"](turns)],
}


@st.composite
def dialogues(draw):
    """Two dialogues that share their beginning, mostly, behind a prompt that may be their first question."""
    format_ = draw(st.sampled_from(DIALOGUES))
    beside = draw(st.lists(st.sampled_from(sorted(BESIDE)), max_size=2, unique=True))
    shared = draw(TURNS) or ["a"]
    write = WRITTEN[draw(st.sampled_from(sorted(WRITTEN)))]
    other = draw(st.sampled_from([write] * 5 + [WRITTEN["HH"], WRITTEN["messages"]]))
    sides = [write([*shared, draw(ODD)]), other([*draw(st.sampled_from([shared] * 5 + [["e"]])), "f"])]
    row = {**format_.example, **dict(zip(format_.dialogues, sides, strict=True))}
    if format_.plain:
        row[format_.plain[0]] = draw(st.sampled_from([shared[0], shared[-1], QUESTION, "", " ", None, sides[0]]))
    own = {*format_.dialogues, *(format_.plain or ())}
    return {**row, **{name: draw(BESIDE[name]) for name in beside if name not in own}}


def exchanged(template, texts):
    """The judgement of a template with other texts, and the id that it has."""
    asked, first, second = texts
    prompt = (*template.prompt[:-1], Message(template.prompt[-1].role, asked))
    return replace(template.judgement, prompt=prompt, first=first, second=second), template.judgement_id(*texts)


def alone(row, config):
    """What `read_row` reads of a row by itself."""
    try:
        found = read_row(row, config.fields, config.ignore, config.format)
    except RowError as error:
        return str(error)
    return found.format.name, [(each, each.judgement_id) for each in found.judgements], found.left_out


CONFIGS = st.sampled_from(
    [
        *[IngestConfig()] * 3,
        IngestConfig(ignore=("note", "images")),
        IngestConfig(fields={"prompt": "question"}, ignore=("prompt",)),
        IngestConfig(fields={"annotator": "note"}),
        IngestConfig(fields={"weight": "score_chosen"}),
        IngestConfig(format="trl"),
    ]
)


@given(st.lists(rows() | dialogues(), min_size=1, max_size=6), CONFIGS)
def test_a_template_reads_a_row_as_it_is_read_by_itself(given_rows, config):
    reader = PlainRows(config)
    for row in [*given_rows, *given_rows]:
        if found := reader.find(row):
            reading, texts = found
            read = reading.format.name, [exchanged(reading.template, texts)], reading.left_out
            assert repr(read) == repr(alone(row, config))  # 0.0 and -0.0 are equal


@pytest.mark.parametrize("format_", PLAIN, ids=lambda each: each.name)
def test_rows_of_plain_texts_are_read_once(format_, monkeypatch):
    read = []
    monkeypatch.setattr(plain_rows, "read_row", lambda *given: read.append(given) or read_row(*given))
    reader = PlainRows(IngestConfig())
    for number in range(5):
        texts = dict(zip(format_.plain, (f"Question {number}?", f"é {number}", f" it: {number}\n"), strict=True))
        beside = {"input": None, "id": f"u-{number}", "loss": number / 2}  # an input would end the prompt
        assert reader.find({**format_.example, **beside, **texts})
    assert len(read) == 1


@pytest.mark.parametrize(
    ("format_", "written"),
    [
        (format_, written)
        for format_ in DIALOGUES
        for written in ("messages", "sharegpt", "HH", "CRLF", "stripped", "JSON")[: 2 if format_.plain else None]
    ],
    ids=lambda each: each if isinstance(each, str) else each.name,
)
def test_dialogues_of_any_length_have_one_template(format_, written, monkeypatch):
    read = []
    monkeypatch.setattr(plain_rows, "read_row", lambda *given: read.append(given) or read_row(*given))
    reader = PlainRows(IngestConfig())
    for number in range(5):
        turns = [f"Said {place} in {number}" for place in range(2 * number + 1)]
        sides = [WRITTEN[written]([*turns, answer]) for answer in (f"é {number}", f"e {number}")]
        row = {**format_.example, "input": None, "id": number, **dict(zip(format_.dialogues, sides, strict=True))}
        if format_.plain:
            row[format_.plain[0]] = turns[0]
        reading, texts = reader.find(row)
        assert texts == (turns[-1], f"é {number}", f"e {number}")
        assert [text for role, text in reading.template.prompt if role != "system"] == turns
    assert len(read) == 1


def test_few_templates_are_kept(monkeypatch):
    monkeypatch.setattr(plain_rows, "_MOST_READINGS", 3)
    reader = PlainRows(IngestConfig())
    for number in range(10):
        row = {"prompt": "a", "chosen": "b", "rejected": "c", "annotator": f"w{number}"}
        reading, _ = reader.find(row)
        assert reading.template.judgement.annotator == f"w{number}"
        assert len(reader._readings) <= 3


@given(MIXED.filter(lambda judgement: problem(judgement) is None), st.sampled_from(["é", " x\\ "]))
def test_a_template_gives_the_id_of_the_judgement(judgement, said):
    turns = (Message("system", said), Message("user", said), Message("assistant", '"'), *judgement.prompt)
    for each in (judgement, replace(judgement, prompt=turns)):
        assert Template(each).judgement_id(each.prompt[-1].content, each.first, each.second) == each.judgement_id


@settings(max_examples=15)
@given(st.lists(rows() | dialogues(), max_size=20))
def test_a_source_is_staged_alike_with_and_without_templates(tmp_path_factory, given_rows):
    folder = tmp_path_factory.mktemp("staged")
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*given_rows, [], *given_rows]))
    found = []
    for find in (PlainRows.find, lambda *_: None):
        part = folder / str(len(found))
        part.mkdir()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(PlainRows, "find", find)
            found.append(staging.stage(sources.open_file(path), IngestConfig(), part))
    by_template, by_row = found
    assert by_template[2:] == by_row[2:]
    for name in ("judgements", "quarantine"):
        files = [pa.ipc.open_file(str(getattr(each, name))) for each in found]
        assert files[0].read_all().equals(files[1].read_all())

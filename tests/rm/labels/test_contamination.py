import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm.data import near_duplicates
from rm.data.formats.catalog import read_row
from rm.data.preferences import Message
from rm.errors import DataError
from rm.labels import contamination
from rm.labels.pairs import Prompts
from tests.rm.labels import world

RNG = np.random.default_rng(0)
QUESTIONS = [world.text(RNG, 12, 16) for _ in range(40)]


def prompts(texts):
    """Prompts by (text, split), each a conversation of one turn or a tuple of messages."""
    messages = [text if isinstance(text, tuple) else (Message("user", text),) for text, _ in texts]
    return Prompts(
        texts={str(number): each for number, each in enumerate(messages)},
        split={str(number): split for number, (_, split) in enumerate(texts)},
        cluster={str(number): number for number in range(len(texts))},
        num_alone=0,
    )


def benchmark(tmp_path, texts, key="prompt"):
    path = tmp_path / "benchmark.jsonl"
    path.write_text("".join(json.dumps({key: text}) + "\n" for text in texts), encoding="utf-8")
    return {"riddles": str(path)}


def row(tmp_path, asked, texts):
    (found,) = contamination.benchmarks(benchmark(tmp_path, texts), prompts(asked))
    return found


def test_near_duplicates_across_the_split_are_found_and_no_others(tmp_path):
    """Each of the first prompts has a twin in capitals; some twins fall on both sides of the split."""
    twins = 60

    def doubled(number, text):
        return f"{texts[number - twins].upper()}?" if twins <= number < 2 * twins else texts.setdefault(number, text)

    texts = {}
    table = world.ingested(tmp_path, world.rows(200, 1, votes=1, prompt=doubled))
    dataset = world.snapshot(table, tmp_path / "dataset")
    read = Prompts.read(dataset)
    found, num_heldout, examples = contamination.near_duplicates(read)
    side = {each[0].content: read.split[one] for one, each in read.texts.items()}
    expected = 0
    for number in range(twins):
        both = side[texts[number]], side[f"{texts[number].upper()}?"]
        expected += both in (("train", "heldout"), ("heldout", "train"))
    assert found == expected > 5
    assert num_heldout == sum(split == "heldout" for split in side.values())
    assert all(one.lower().removesuffix("?") == other.lower().removesuffix("?") for one, other in examples)


def clustered(texts):
    """Prompts by (messages, split), whose near-duplicates are known as in a snapshot."""
    found = prompts(texts)
    numbers = near_duplicates.clusters(list(found.texts.values())).tolist()
    return replace(found, cluster=dict(zip(found.texts, numbers, strict=True)))


def asked(system, text="Begin with the next one, please, and say why.", role="system"):
    return Message(role, system), Message("user", text)


RULES = (
    "You answer in the voice of a harbour master. You never say more than you were asked for, and you name no ships."
)


@pytest.mark.parametrize("role", ["system", "tools"])
@pytest.mark.parametrize(
    ("system", "expected"), [(RULES, 1), (f"{RULES}  ".upper(), 1), (QUESTIONS[1], 0), ("", 0), ("Be brief.", 0)]
)
def test_prompts_whose_systems_differ_are_no_duplicates(system, expected, role):
    texts = [(asked(RULES, role=role), "heldout"), (asked(system, role=role), "train")]
    assert contamination.near_duplicates(clustered(texts))[:2] == (expected, 1)


def test_the_training_prompt_of_an_example_has_the_system_of_the_held_out_one():
    texts = [(asked(QUESTIONS[1]), "train"), (asked(RULES), "heldout"), (asked(RULES.lower()), "train")]
    (example,) = contamination.near_duplicates(clustered(texts))[2]
    assert RULES.lower() in example[1]


def test_tasks_that_stand_in_the_system_message_are_different():
    """A template with a word of its own in each of 60 system messages, and the same words by all users."""
    texts = [
        (asked(f"Write a letter about {word} that is short, friendly and easy to read for everyone."), split)
        for word, split in zip(world.WORDS[:60], ["train", "train", "heldout"] * 20, strict=True)
    ]
    assert contamination.near_duplicates(clustered(texts))[:2] == (0, 20)


def test_ids_of_calls_tell_no_prompts_apart():
    texts = [
        ((*asked(RULES), Message("result_of", f"call-{number}"), Message("tool", "7")), split)
        for number, split in enumerate(["train", "heldout"])
    ]
    assert contamination.near_duplicates(clustered(texts))[0] == 1


def test_no_near_duplicates_are_found_among_different_prompts(tmp_path):
    table = world.ingested(tmp_path, world.rows(200, 2, votes=1))
    assert contamination.near_duplicates(Prompts.read(world.snapshot(table, tmp_path / "dataset")))[0] == 0


def test_prompts_of_a_benchmark_are_found_where_they_are(tmp_path):
    asked = [(QUESTIONS[0], "train"), (QUESTIONS[1], "heldout"), (QUESTIONS[2].upper() + "!", "train")]
    asked += [(f"Answer carefully. {QUESTIONS[3]} Thank you.", "train"), (QUESTIONS[20], "train")]
    found = row(tmp_path, asked, QUESTIONS[:10])
    assert (found.num_prompts, found.num_train, found.num_heldout) == (10, 3, 1)
    assert set(found.examples) == {QUESTIONS[0], QUESTIONS[2], QUESTIONS[3]}


def test_a_question_within_a_conversation_is_found_but_not_in_a_system_message(tmp_path):
    turns = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", QUESTIONS[0]))
    system = (Message("system", QUESTIONS[1]), Message("user", "Go on"))
    assert row(tmp_path, [(turns, "train"), (system, "train")], QUESTIONS[:2]).num_train == 1


def test_half_of_a_question_is_another_one(tmp_path):
    words = QUESTIONS[0].split()
    half = " ".join(words[: len(words) * 2 // 3])
    assert row(tmp_path, [(half, "train")], QUESTIONS[:1]).num_train == 0


def test_a_template_that_many_prompts_of_the_benchmark_share_is_not_looked_for(tmp_path):
    template = "you are given a text below and have to say what it is about"
    sought = [f"{template} {text}" for text in QUESTIONS]
    assert row(tmp_path, [(f"{template} {world.text(RNG, 12, 16)}", "train")], sought).num_train == 0
    assert row(tmp_path, [(f"Say it. {QUESTIONS[5]}", "train")], sought).num_train == 0
    assert row(tmp_path, [(sought[5], "train")], sought).num_train == 1


def test_short_prompts_are_counted_and_not_looked_for(tmp_path):
    found = row(
        tmp_path, [("Hi there", "train"), ("write me a short poem", "train")], ["hi there", "Write me a short poem!"]
    )
    assert (found.num_skipped, found.num_train) == (1, 1)


def test_prompts_that_are_nothing_but_a_template_do_not_count(tmp_path):
    """Its runs of words are those of more than twenty others, so it is not looked for and not found clean."""
    template = "you are given a text below and have to say what it is about"
    sought = [template, *(f"{template} {text}" for text in QUESTIONS)]
    found = row(tmp_path, [(template, "train"), (sought[5], "train")], sought)
    assert (found.num_prompts, found.num_skipped, found.num_train) == (41, 1, 1)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 39), min_size=1, max_size=15, unique=True), st.integers(0, 39))
def test_exact_copies_are_always_found(tmp_path_factory, inside, start):
    folder = tmp_path_factory.mktemp("benchmark")
    sought = QUESTIONS[start:] or QUESTIONS
    found = row(folder, [(QUESTIONS[number], "train") for number in inside], sought)
    assert found.num_train == sum(number >= start for number in inside)


@pytest.mark.parametrize("key", ["prompt", "question", "instruction"])
def test_prompts_are_read_of_any_usual_column(tmp_path, key):
    path = Path(benchmark(tmp_path, QUESTIONS[:3], key)["riddles"])
    assert [each[0].content for each in contamination.read_prompts(path)] == QUESTIONS[:3]


def test_an_instruction_and_its_input_are_one_prompt(tmp_path):
    """Three tasks with one instruction; of a training prompt with that instruction and another input none is known."""
    rows = [{"instruction": QUESTIONS[0], "input": text, "output": "x"} for text in QUESTIONS[1:4]]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    (found,) = contamination.benchmarks({"one": str(path)}, prompts([(f"{QUESTIONS[0]}\n\n{QUESTIONS[5]}", "train")]))
    assert (found.num_prompts, found.num_train) == (3, 0)
    asked = read_row(
        {"instruction": QUESTIONS[0], "input": QUESTIONS[2], "output_1": "a", "output_2": "b", "preference": 1}
    )
    (found,) = contamination.benchmarks({"one": str(path)}, prompts([(asked.judgements[0].prompt, "train")]))
    assert found.num_train == 1


@pytest.mark.parametrize(
    "row",
    [
        {"input": QUESTIONS[0], "output_1": "a", "output_2": "b", "label": 1},
        {
            "chosen": [{"role": "user", "content": QUESTIONS[0]}, {"role": "assistant", "content": "a"}],
            "rejected": [{"role": "user", "content": QUESTIONS[0]}, {"role": "assistant", "content": "b"}],
        },
    ],
    ids=["a published benchmark", "annotations"],
)
def test_files_of_known_formats_are_read(tmp_path, row):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert [each[-1].content for each in contamination.read_prompts(path)] == [QUESTIONS[0]]


def test_a_row_without_a_prompt_is_named(tmp_path):
    path = tmp_path / "odd.jsonl"
    path.write_text('{"prompt": "What is this?"}\n{"answer": "?"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"odd\.jsonl: row 2: "):
        contamination.read_prompts(path)
    path.write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="odd"):
        contamination.read_prompts(path)

"""Rows of published benchmarks as training data, with values written by hand."""

import pytest

from rm.benchmarks import judgebench, llmbar, reward_bench_2, rm_bench
from rm.data.formats.catalog import read_judgement, read_row
from rm.data.formats.row import RowError
from rm.data.preferences import Message
from tests.rm.data.test_formats import refusal

QUESTION, GOOD, BAD = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think."
ASKED = Message("user", QUESTION)

REWARD_BENCH = {
    "prompt": QUESTION,
    "chosen": GOOD,
    "chosen_model": "a",
    "rejected": BAD,
    "rejected_model": "b",
    "subset": "hep-go",
    "id": 7,
}
REWARD_BENCH_2 = {
    "id": "tied:7",
    "prompt": QUESTION,
    "chosen": [GOOD, "A lemon."],
    "rejected": [BAD, "A cherry."],
    "num_correct": 2,
    "num_incorrect": 2,
    "total_completions": 4,
    "models": ["a model", "b"],
    "subset": "Ties",
    "additional_metadata": {"category": None, "method": "by hand"},
}
RM_BENCH = {
    "id": "8",
    "prompt": QUESTION,
    "chosen": ["A banana.", GOOD, "**A banana** is yellow."],
    "rejected": ["A plum.", BAD, "**A plum**, I think."],
    "error_key": "a plum",
    "error": "A plum is not yellow.",
    "domain": "chat",
}
LLMBAR = {"input": QUESTION, "output_1": BAD, "output_2": GOOD, "label": 2}
JUDGEBENCH = {
    "pair_id": "81ec57f2",
    "original_id": "10646",
    "source": "mmlu-pro-biology",
    "question": QUESTION,
    "response_model": "gpt-4o",
    "response_A": BAD,
    "response_B": GOOD,
    "label": "B>A",
}


def compared(row):
    return [(vote.first, vote.second) for vote in read_row(row).judgements]


def test_reward_bench_is_a_chosen_and_a_rejected_response():
    found = read_row(REWARD_BENCH)
    assert (found.format.name, found.left_out, compared(REWARD_BENCH)) == ("trl", (), [(GOOD, BAD)])


@pytest.mark.parametrize("row", [REWARD_BENCH_2, RM_BENCH])
def test_every_right_response_is_compared_with_every_wrong_one(row):
    found = read_row(row)
    assert compared(row) == [(right, wrong) for right in row["chosen"] for wrong in row["rejected"]]
    assert {(vote.prompt, vote.preference) for vote in found.judgements} == {((ASKED,), 1.0)}
    assert {vote.domain for vote in found.judgements} == {row.get("domain") or row["subset"]}
    assert found.format.name == "chosen_rejected_lists" and not found.left_out


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**REWARD_BENCH_2, "num_correct": 1}, "num_correct: expected 2, as many as chosen, got 1"),
        ({**REWARD_BENCH_2, "rejected": [BAD, GOOD]}, "both responses are the same text"),
        ({**REWARD_BENCH_2, "rejected": []}, "expected"),
        ({**REWARD_BENCH_2, "notes": "Read it again, please."}, "notes: text or messages"),
        ({"instruction": QUESTION, "chosen": [GOOD], "rejected": [BAD]}, "chosen[0]: expected {role, content}"),
    ],
)
def test_lists_that_are_wrong_are_refused(row, message):
    with pytest.raises(RowError) as caught:
        read_row(row)
    assert message in str(caught.value)


def test_lists_of_messages_are_dialogues_and_no_lists_of_responses():
    row = {"prompt": QUESTION} | {
        side: [{"role": "assistant", "content": text}] for side, text in (("chosen", GOOD), ("rejected", BAD))
    }
    assert read_row(row).format.name == "trl" and compared(row) == [(GOOD, BAD)]


@pytest.mark.parametrize(("label", "preference"), [(1, 1.0), (2, 0.0), ("2", 0.0)])
def test_labels_of_llmbar(label, preference):
    found = read_row({**LLMBAR, "label": label})
    (vote,) = found.judgements
    assert (vote.prompt, vote.first, vote.second, vote.preference) == ((ASKED,), BAD, GOOD, preference)
    assert found.format.name == "llmbar" and not found.left_out


@pytest.mark.parametrize(("label", "preference"), [("A>B", 1.0), ("B>A", 0.0)])
def test_labels_of_judgebench(label, preference):
    found = read_row({**JUDGEBENCH, "label": label})
    (vote,) = found.judgements
    assert (vote.prompt, vote.first, vote.second, vote.preference) == ((ASKED,), BAD, GOOD, preference)
    assert (vote.domain, found.format.name, found.left_out) == ("mmlu-pro-biology", "judgebench", ())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**LLMBAR, "label": 0}, "label: expected 1 or 2, got int 0"),
        ({**LLMBAR, "label": None}, "label: expected 1 or 2, got none: there is no verdict"),
        ({**JUDGEBENCH, "label": "A=B"}, "label: expected A>B or B>A, got str 'A=B'"),
        ({**JUDGEBENCH, "label": 1}, "label: expected A>B or B>A, got int 1"),
        ({**JUDGEBENCH, "label": None}, "label: expected A>B or B>A, got none: there is no verdict"),
        ({**JUDGEBENCH, "response_A": None}, "response_A: expected text, got NoneType None"),
    ],
)
def test_labels_that_are_wrong_are_refused(row, message):
    assert message in refusal(row)


@pytest.mark.parametrize(
    ("benchmark", "row"),
    [(reward_bench_2, REWARD_BENCH_2), (rm_bench, RM_BENCH), (llmbar, LLMBAR), (judgebench, JUDGEBENCH)],
)
def test_an_audit_and_a_training_set_read_a_row_alike(benchmark, row):
    entry = benchmark.read(row, "chat")
    votes = [
        (vote.first, vote.second) if vote.preference == 1 else (vote.second, vote.first)
        for vote in read_row(row).judgements
    ]
    assert votes == [(right, wrong) for right in entry.chosen for wrong in entry.rejected]
    assert {vote.prompt for vote in read_row(row).judgements} == {entry.prompt}


@pytest.mark.parametrize("name", ["instruction", "question"])
def test_published_pairs_under_other_names_of_the_prompt_are_read(name):
    row = {name: QUESTION, "chosen": GOOD, "rejected": BAD, "subset": "chat-easy", "id": 3}
    vote = read_judgement(row)
    assert (vote.prompt, vote.first, vote.second, vote.preference) == ((ASKED,), GOOD, BAD, 1.0)

import json

from rm.data import explanation, sources
from rm.data.config import IngestConfig

ROW = {
    "task": {"question": "Name it."},
    "good": "A banana.",
    "bad": "A plum.",
    "id": 7,
    "loss": 0.5,
    "notes": "Read again.",
}
CONFIG = IngestConfig(fields={"prompt": "task.question", "chosen": "good", "rejected": "bad"}, ignore="notes")


def explained(folder, rows, config=CONFIG):
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return explanation.explain(sources.open_source(str(path)), config)


def test_every_column_has_what_becomes_of_it(tmp_path):
    found = explained(tmp_path, [ROW])
    assert found.columns == {
        "task": "prompt: text, messages, or a text with marks of turns",
        "good": "the preferred response, alone or after the prompt",
        "bad": "the other response, alone or after the prompt",
        "id": "metadata",
        "loss": "left out: not known",
        "notes": "left out: ingest.ignore",
    }
    assert (found.num_rows, found.formats, found.left_out) == (1, {"trl": 1}, {"loss": 1})


def test_a_name_that_is_no_unicode_can_be_shown(tmp_path):
    found = explained(tmp_path, [{**ROW, "\ud800": 5}])
    assert found.columns["\\ud800"] == "left out: not known" and found.left_out["\\ud800"] == 1


def test_problems_are_counted_and_the_first_judgements_kept(tmp_path):
    broken = {**ROW, "bad": 3}
    found = explained(tmp_path, [broken, *({**ROW, "good": f"A banana {place}."} for place in range(5)), broken])
    assert found.first_problem.startswith("line 1: rejected: expected text")
    assert list(found.problems.values()) == [2]
    assert [each.first for (each,) in found.first_rows] == [f"A banana {place}." for place in range(3)]


def test_rows_are_shown_and_not_the_many_judgements_of_the_first(tmp_path):
    rows = [{"instruction": f"Name {n}.", "generations": ["a", "b", "c"], "ratings": [3, 2, 1]} for n in range(5)]
    found = explained(tmp_path, rows, IngestConfig())
    assert [[each.prompt[0].content for each in row] for row in found.first_rows] == [
        [f"Name {n}."] * 3 for n in range(3)
    ]


def test_a_source_of_which_nothing_can_be_read_has_no_columns(tmp_path):
    found = explained(tmp_path, [{"a": 1}], IngestConfig())
    assert (found.columns, found.first_rows, found.formats) == ({}, (), {})

import errno

import pyarrow as pa
import pytest
from rich.table import Table

from flows.cli import screen


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.json"), "[Errno 28] No space left on device: 'a.json'"),
        (MemoryError(), "there is not enough memory"),
        (pa.ArrowInvalid("Not Arrow\nand more"), "Not Arrow"),
        (BrokenPipeError(), "BrokenPipeError"),
        (ValueError("External: no room (os error 28)"), "External: no room (os error 28)"),
    ],
)
def test_an_error_of_the_machine_is_one_sentence_that_says_how_to_see_more(monkeypatch, error, sentence):
    assert screen.explain(error) == f"{sentence}; RMFLOW_TRACEBACK=1 shows where"
    monkeypatch.setenv("RMFLOW_TRACEBACK", "1")
    assert screen.explain(error) is None


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), AssertionError()])
def test_an_error_of_the_program_keeps_its_traceback(error):
    assert screen.explain(error) is None


@pytest.mark.parametrize(("number", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1000, "1,000 rows")])
def test_one_row_is_no_rows(number, text):
    assert screen.counted(number, "row") == text


def test_a_text_of_a_file_becomes_no_picture(capsys):
    console = screen.Screen()
    table = Table("key:question:")
    table.add_row(":warning: row")
    console.print("fields.prompt:question: expected text")
    console.print(table)
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("prompt:question: expected", "key:question:", ":warning: row"))

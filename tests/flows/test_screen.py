import pytest
from rich.table import Table

from flows.cli import screen


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

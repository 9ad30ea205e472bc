"""What texts of other people do to a terminal, and what a disk refuses."""

import errno
import logging
import os
import unicodedata

import pyarrow as pa
import pytest

from rm.errors import DataError, GateRejected, StorageError, printable, writing

STEERING = "\x1b[31m\x1b]0;title\x07\x9b2J\r\x08\x7f\u202e\u2066\ud800"


def steers(text):
    return any(unicodedata.category(each) in ("Cc", "Cs") and each not in "\n\t" for each in text) or "\u202e" in text


def test_control_characters_become_escapes_and_all_other_text_stays():
    assert printable("\x1b[31mred\x07\u202e\x9b") == "\\x1b[31mred\\x07\\u202e\\x9b"
    plain = "caf\xe9 \U0001f468\u200d\U0001f469 \u05e9\u05dc\u05d5\u05dd\n\t\\x1b"
    assert printable(plain) == plain
    assert steers(STEERING)
    assert not steers(printable(STEERING))


def test_logins_in_urls_are_left_out_of_what_is_printed():
    told = "no answer of postgresql+psycopg2://u:p%40ss@host/db and http://token@host; see https://a.b/@c, d@e.f"
    shown = "no answer of postgresql+psycopg2://...@host/db and http://...@host; see https://a.b/@c, d@e.f"
    assert printable(told) == shown == str(DataError(told))


@pytest.mark.parametrize("error", [DataError(STEERING), GateRejected(STEERING, [STEERING], None)])
def test_an_error_is_safe_to_print(error):
    assert not steers(str(error))
    assert not steers(f"{error}")


def test_a_message_of_any_logger_is_safe_to_print(caplog):
    import tasks.environment  # noqa: F401 - its package sets how messages are made

    logging.getLogger("rm.anything").warning("columns %s", STEERING)
    assert not steers(caplog.text.strip())
    assert "\\x1b[31m" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        pa.ArrowException("Generic LocalFileSystem error: No space left on device (os error 28)"),
        Exception("External: Unable to copy data to file (os error 28)"),
        Exception("Could not create local directory: x\nError: Os { code: 28, kind: StorageFull }"),
    ],
)
def test_what_a_disk_refuses_is_one_sentence_with_the_place(error):
    with pytest.raises(StorageError) as caught, writing("var/annotations"):
        raise error
    assert str(caught.value) == f"var/annotations: cannot be written: {os.strerror(errno.ENOSPC)}"


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "gone"), ValueError("no"), DataError("a row")])
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as caught, writing("var"):
        raise error
    assert caught.value is error

"""Files that name judgements, one id a line: what a person, or the search for the origin of a bias, wants left out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from rm.errors import DataError
from rm.files import replace_text

_ID = re.compile(r"[0-9a-f]{64}")


def read(path: Path) -> frozenset[str]:
    """The ids in a file; blank lines and what follows a ``#`` count for nothing.

    Raises
    ------
    DataError
        If there is no such file, it names no judgement, or a line is no id.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # some editors begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise DataError(f"{path}: expected a file with a judgement_id a line: {reason}") from None
    found = set()
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if text and not _ID.fullmatch(text):
            raise DataError(f"{path}: line {number}: expected a judgement_id, 64 hexadecimal digits, got {text:.80}")
        found.add(text)
    if not (ids := frozenset(found - {""})):
        raise DataError(f"{path}: expected a judgement_id a line, the file names none")
    return ids


def write(path: Path, ids: Iterable[str], about: Iterable[str] = ()) -> None:
    """Write ids in their order, below lines that say what they are."""
    replace_text(path, "".join(f"{line}\n" for line in (*(f"# {each}" for each in about), *ids)))

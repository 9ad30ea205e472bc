"""Messages from training processes to the process that started them: one line of JSON each, on standard output.

Kinds: ``step`` (a step's metrics), ``log`` (level and text), ``error`` (the text of an error of `rm.errors`) and
``failure`` (rank and exit code of the process that failed first).
"""

from __future__ import annotations

import json
import sys
from typing import Any


def send(kind: str, value: Any) -> None:
    """Write a message as one line in one call, since several processes share the pipe."""
    sys.stdout.write(json.dumps({kind: value}) + "\n")
    sys.stdout.flush()


def receive(line: str) -> dict[str, Any]:
    """Kind and value of the message in a line; empty if the line is other output, such as a library's."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}

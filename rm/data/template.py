"""A judgement whose texts are exchanged for those of other rows, with their ids."""

from __future__ import annotations

import hashlib
import json

import orjson

from rm.data.preferences import Judgement, normalised


class Template:
    """A judgement of which others differ in the prompt's last message and in both responses alone.

    Parameters
    ----------
    judgement : Judgement
        Its prompt has at least one message.
    """

    def __init__(self, judgement: Judgement) -> None:
        self.judgement = judgement
        *before, (self._role, _) = judgement.prompt
        self._before = [[role, normalised(content)] for role, content in before]
        self._end, self._swapped_end = _end(judgement, judgement.preference), _end(judgement, 1 - judgement.preference)

    def judgement_id(self, asked: str, first: str, second: str) -> str:
        """As `Judgement.judgement_id` of `rm.data.preferences`, in a fifth of the time: orjson writes the same bytes.

        Parameters
        ----------
        asked, first, second : str
            The prompt's last message and the two different responses.
        """
        prompt = hashlib.sha256(orjson.dumps([*self._before, [self._role, normalised(asked)]])).hexdigest()[:32]
        one, other, end = (first, second, self._end) if first < second else (second, first, self._swapped_end)
        return hashlib.sha256(orjson.dumps([prompt, one, other])[:-1] + end).hexdigest()


_ENCODED = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def _end(judgement: Judgement, preference: float) -> bytes:
    """What follows the texts in the JSON that the id is a digest of."""
    values = round(preference, 12), judgement.target_margin, judgement.annotator, judgement.created_at
    return b"," + _ENCODED(values)[1:].encode()

"""A judgement whose texts are exchanged for those of other rows, with their ids."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property

import orjson

from rm.data.preferences import Judgement, Message, normalised


class Template:
    """A judgement of which others differ in the prompt's last message and in both responses alone.

    Parameters
    ----------
    judgement : Judgement
        Its prompt has at least one message.
    prompt : tuple of Message, optional
        In place of the judgement's.
    """

    def __init__(self, judgement: Judgement, prompt: tuple[Message, ...] | None = None) -> None:
        self.judgement = judgement
        self.prompt = judgement.prompt if prompt is None else prompt
        *before, (self._role, _) = self.prompt
        self._before = [[role, normalised(content)] for role, content in before]

    def judgement_id(self, asked: str, first: str, second: str) -> str:
        """As `Judgement.judgement_id` of `rm.data.preferences`, in a fifth of the time: orjson writes the same bytes.

        Parameters
        ----------
        asked, first, second : str
            The prompt's last message and the two different responses.
        """
        prompt = hashlib.sha256(orjson.dumps([*self._before, [self._role, normalised(asked)]])).hexdigest()[:32]
        pair, end = ([first, second], self._end) if first < second else ([second, first], self._swapped_end)
        return hashlib.sha256(orjson.dumps([prompt, *pair])[:-1] + end).hexdigest()

    def after(self, prompt: tuple[Message, ...]) -> Template:
        """The same after another prompt."""
        other = Template(self.judgement, prompt)
        other._end, other._swapped_end = self._end, self._swapped_end  # which take as long as all else
        return other

    @cached_property
    def _end(self) -> bytes:
        return _end(self.judgement, self.judgement.preference)

    @cached_property
    def _swapped_end(self) -> bytes:
        return _end(self.judgement, 1 - self.judgement.preference)


_ENCODED = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def _end(judgement: Judgement, preference: float) -> bytes:
    """What follows the texts in the JSON that the id is a digest of."""
    values = round(preference, 12), judgement.target_margin, judgement.annotator, judgement.created_at
    return b"," + _ENCODED(values)[1:].encode()

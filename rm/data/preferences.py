"""Judgements, and the comparisons that several of them amount to.

A judgement is what one annotator said of two responses to a prompt. Ids are digests of normalised content and do not
depend on which response stood first, so that swapped duplicates and contradicting votes meet.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from rm.files import sha256_json, sha256_text

ROLES = ("system", "user", "assistant")

Split = Literal["train", "validation", "heldout"]
SPLITS: tuple[Split, ...] = get_args(Split)

_HALF_SURROGATE = re.compile("[\ud800-\udfff]")


class Message(NamedTuple):
    """One turn of a conversation; role is one of `ROLES`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one annotator said of two responses to a prompt."""

    prompt: tuple[Message, ...]
    first: str
    second: str
    preference: float
    """Share for the first response, in [0, 1]; 0.5 is a tie."""
    target_margin: float = 0.0
    """Strength of the label: by how much the better reward should exceed the other, in reward units."""
    weight: float = 1.0
    attributes_first: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Values of the first response by name, such as helpfulness; a name that is absent has no value."""
    attributes_second: Mapping[str, float] = field(default_factory=dict, hash=False)
    annotator: str | None = None
    created_at: str | None = None
    domain: str | None = None

    @property
    def prompt_id(self) -> str:
        """Digest of the prompt; the unit of the split."""
        return prompt_id(self.prompt)

    @property
    def judgement_id(self) -> str:
        """Digest of all that makes this judgement the same as another, whichever response stood first.

        Votes that say the same of the same pair are told apart by annotator or time only; without either they are one.
        Weight, domain and attributes have no part in it, or a vote read again with a corrected value would count twice.
        So the values read first stay: a row that corrects them, or adds attributes to a vote that had none, is a
        duplicate, and needs a table of its own. With another time it is one more judgement, and values are averaged.
        """
        (one, share), (other, _) = sorted([(self.first, self.preference), (self.second, 1 - self.preference)])
        share = round(share, 12)  # 1 - 0.7 is 0.30000000000000004, and must meet a 0.3
        return sha256_json([self.prompt_id, one, other, share, self.target_margin, self.annotator, self.created_at])


def prompt_id(prompt: Sequence[Message]) -> str:
    """Digest of a prompt after Unicode NFC and trimming, 32 hex digits."""
    return sha256_json([[role, _normal(content)] for role, content in prompt])[:32]


def response_id(response: str) -> str:
    """Digest of a response after Unicode NFC and trimming, 32 hex digits."""
    return sha256_text(_normal(response))[:32]


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def problem(judgement: Judgement) -> str | None:
    """Why a judgement cannot be used, or None if it can."""
    return _text_problem(judgement) or _label_problem(judgement)


def _text_problem(judgement: Judgement) -> str | None:
    responses = {"first response": judgement.first, "second response": judgement.second}
    others = [(name, getattr(judgement, name) or "") for name in ("annotator", "created_at", "domain")]
    others += [(f"{key} name", name) for key, names in _attributes(judgement) for name in names]
    if reason := conversation_problem(judgement.prompt, responses) or _broken_problem(others):
        return reason
    if _normal(judgement.first) == _normal(judgement.second):
        return "both responses are the same text"
    return None


def conversation_problem(prompt: Sequence[Message], responses: Mapping[str, str]) -> str | None:
    """Why a prompt or its responses (by what to call them) cannot be used, or None if they can."""
    last = prompt[-1].role if prompt else "nothing"
    if last != "user":
        return f"the prompt must end with a user message, it ends with {last}"
    unknown = [role for role, _ in prompt if role not in ROLES]
    if unknown:
        return f"role {unknown[0]!r} in the prompt; expected one of {', '.join(ROLES)}"
    texts = [(f"{role} message in the prompt", content) for role, content in prompt]
    texts += responses.items()
    empty = next((name for name, text in texts if not text.strip()), None)
    return f"the {empty} is empty" if empty else _broken_problem(texts)


def _broken_problem(texts: Sequence[tuple[str, str]]) -> str | None:
    broken = next((name for name, text in texts if _HALF_SURROGATE.search(text)), None)
    return f"the {broken} holds half a surrogate pair, which is not Unicode" if broken else None


def _label_problem(judgement: Judgement) -> str | None:
    if not 0 <= judgement.preference <= 1:  # written so that NaN is a problem
        return f"preference {judgement.preference} is not in [0, 1]"
    if not (math.isfinite(judgement.target_margin) and judgement.target_margin >= 0):
        return f"target_margin {judgement.target_margin} is not a finite number >= 0"
    if not (math.isfinite(judgement.weight) and judgement.weight > 0):
        return f"weight {judgement.weight} is not a finite number > 0"
    for key, values in _attributes(judgement):
        for name, value in values.items():
            if not name.strip():
                return f"{key}: expected a name for each value, got {name!r}"
            if not math.isfinite(value):
                return f"{key}.{name}: {value} is not a finite number"
    return None


def _attributes(judgement: Judgement) -> tuple[tuple[str, Mapping[str, float]], ...]:
    return ("attributes_first", judgement.attributes_first), ("attributes_second", judgement.attributes_second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All judgements of one pair of a prompt's responses, merged."""

    first: int
    second: int
    """Places of the two responses in the group."""
    preference: float
    target_margin: float
    weight: float
    num_judgements: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptGroup:
    """A prompt, its K distinct responses and the comparisons among them: the unit of training."""

    prompt_id: str
    prompt: tuple[Message, ...]
    responses: tuple[str, ...]
    response_attributes: tuple[Mapping[str, float], ...]
    """Of each response, by name: the mean over the judgements that give a value; a name that none gives is absent."""
    comparisons: tuple[Comparison, ...]
    domain: str | None
    source: str | None = None
    """Where the prompt comes from, as a file of scores or a benchmark says; annotations and snapshots do not."""


def group(judgements: Iterable[Judgement]) -> list[PromptGroup]:
    """Merge judgements into one group a prompt, in order of prompt id.

    The result does not depend on the order of the judgements.
    """
    by_prompt: dict[str, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        by_prompt[judgement.prompt_id].append(judgement)
    return [_merge_prompt(key, by_prompt[key]) for key in sorted(by_prompt)]


def _merge_prompt(key: str, judgements: list[Judgement]) -> PromptGroup:
    texts: dict[str, str] = {}
    ratings: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    by_pair: dict[tuple[str, str], list[tuple[Judgement, float]]] = defaultdict(list)
    for judgement in judgements:
        first, second = response_id(judgement.first), response_id(judgement.second)
        # Of spellings that differ only in normalisation the smallest is kept, whatever came first.
        texts[first] = min(judgement.first, texts.get(first, judgement.first))
        texts[second] = min(judgement.second, texts.get(second, judgement.second))
        ratings[first].append(judgement.attributes_first)
        ratings[second].append(judgement.attributes_second)
        share = judgement.preference if first < second else 1 - judgement.preference
        by_pair[min(first, second), max(first, second)].append((judgement, share))
    order = {response: place for place, response in enumerate(sorted(texts))}
    return PromptGroup(
        prompt_id=key,
        prompt=min(judgement.prompt for judgement in judgements),
        responses=tuple(texts[response] for response in order),
        response_attributes=tuple(_mean_attributes(ratings[response]) for response in order),
        comparisons=tuple(_merge_pair(order[a], order[b], votes) for (a, b), votes in sorted(by_pair.items())),
        domain=min((judgement.domain for judgement in judgements if judgement.domain), default=None),
    )


def _mean_attributes(ratings: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Name to the mean of the values given for it; in order, so that equal attributes are written alike."""
    names = sorted({name for rating in ratings for name in rating})
    return {name: _mean([rating[name] for rating in ratings if name in rating]) for name in names}


def _merge_pair(first: int, second: int, votes: list[tuple[Judgement, float]]) -> Comparison:
    """One comparison; an annotator who came back to a pair has one vote, the mean of what they said."""
    by_annotator: dict[str, list[float]] = defaultdict(list)
    for place, (judgement, share) in enumerate(votes):
        by_annotator[judgement.annotator or f"\0{place}"].append(share)
    shares = [_mean(said) for said in by_annotator.values()]
    return Comparison(
        first=first,
        second=second,
        preference=_mean(shares),
        target_margin=_mean([judgement.target_margin for judgement, _ in votes]),
        weight=_mean([judgement.weight for judgement, _ in votes]),
        num_judgements=len(votes),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)  # fsum: the same to the last bit in any order


def split_of(prompt_id: str, heldout_share: float, salt: str = "", validation_share: float = 0.0) -> Split:
    """The side that a prompt belongs to, decided by its id alone, so that it never changes when data is added.

    Validation prompts are the slice after the held-out ones, which are the same whatever `validation_share` is.
    """
    draw = int(sha256_text(salt + prompt_id)[:13], 16) / 16**13  # 52 bits: exact in a float
    if draw < heldout_share:
        return "heldout"
    return "validation" if draw < heldout_share + validation_share else "train"


def prompt_text(prompt: Sequence[Message]) -> str:
    """A prompt as people read it: its text alone if it is one message, else each turn under its role."""
    if len(prompt) == 1:
        return prompt[0].content
    return "\n\n".join(f"{role}: {content}" for role, content in prompt)

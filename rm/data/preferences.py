"""Judgements, and the comparisons that they are merged into.

A judgement is one annotator's preference between two responses to a prompt. Ids are digests of normalised content and
do not depend on the order of the responses, so that swapped duplicates and contradicting votes find each other.
"""

from __future__ import annotations

import math
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

from rm.files import sha256_json, sha256_text

ROLES: Mapping[str, str] = MappingProxyType(
    {
        "tools": "the tools that the assistant may call: a JSON list of their definitions; first in a prompt",
        "system": "the system's message",
        "user": "what the user said",
        "reasoning": "what the assistant thought before the text or the calls that follow",
        "assistant": "what the assistant said",
        "tool_calls": "the calls that end the assistant's turn: a JSON list of `{type, function: {name, arguments}}`",
        "result_of": "which call the result that follows answers: a JSON object with `tool_call_id` or `name`",
        "tool": "a tool's result",
    }
)
"""Role of a message to what its content is. JSON has its keys in the order in which they came, in which templates
write them: sorted, a prompt would be read in training in another form than in serving."""
_SPOKEN = frozenset({"system", "user", "assistant"})

Split = Literal["train", "validation", "heldout"]
SPLITS: tuple[Split, ...] = get_args(Split)

BOUNDS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "target_margin": (0.0, 1e3),
        "weight": (1e-6, 1e6),
        "sampling_probability": (1e-9, 1.0),
        "attributes": (1e-100, 1e6),
    }
)
"""Smallest and largest value of each number of a judgement but the preference; for attributes those of the size of a
value that is not 0. Beyond them float32 overflows, an attribute's spread vanishes, or one row outweighs all others."""


class Message(NamedTuple):
    """One turn of a conversation; role is one of `ROLES`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One annotator's preference between two responses to a prompt."""

    prompt: tuple[Message, ...]
    first: str
    second: str
    preference: float
    """Preference for the first response, in [0, 1]; 0.5 is a tie."""
    target_margin: float = 0.0
    """Strength of the label: by how much the better reward should exceed the other, in reward units."""
    weight: float = 1.0
    """How much the judgement counts in training."""
    sampling_probability: float | None = None
    """Probability with which the pair was chosen to be annotated, in (0, 1]; None: not known. The audit counts a pair
    one over it; training does not look at it."""
    attributes_first: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Name of an attribute, such as helpfulness, to its value for the first response; values may be missing."""
    attributes_second: Mapping[str, float] = field(default_factory=dict, hash=False)
    annotator: str | None = None
    created_at: str | None = None
    domain: str | None = None

    @property
    def prompt_id(self) -> str:
        """Digest of the prompt. All judgements of one prompt are in the same split."""
        return prompt_id(self.prompt)

    @property
    def judgement_id(self) -> str:
        """Digest that identifies the judgement; it does not depend on the order of the responses.

        Two equal votes on the same pair count twice only if their annotator or time differs. Weight, sampling
        probability, domain and attributes are not part of the id: otherwise a vote that is read again with a corrected
        value would count twice. So the values that were read first stay. A row that corrects them, or adds attributes,
        is a duplicate; it needs another table. A row with another time is a further judgement, and values are averaged.
        """
        (one, preference), (other, _) = sorted([(self.first, self.preference), (self.second, 1 - self.preference)])
        preference = round(preference, 12)  # 1 - 0.7 is 0.30000000000000004, and must equal 0.3
        return sha256_json(
            [self.prompt_id, one, other, preference, self.target_margin, self.annotator, self.created_at]
        )


def prompt_id(prompt: Sequence[Message]) -> str:
    """Digest of a prompt after Unicode NFC and trimming, 32 hex digits."""
    return sha256_json([[role, normalised(content)] for role, content in prompt])[:32]


def response_id(response: str) -> str:
    """Digest of a response after Unicode NFC and trimming, 32 hex digits."""
    return sha256_text(normalised(response))[:32]


def normalised(text: str) -> str:
    """A text as ids see it: after Unicode NFC and trimming."""
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).strip()


def problem(judgement: Judgement) -> str | None:
    """Why a judgement cannot be used, or None if it can."""
    return _text_problem(judgement) or _label_problem(judgement) or _attribute_problem(judgement)


def _text_problem(judgement: Judgement) -> str | None:
    responses = {"first response": judgement.first, "second response": judgement.second}
    others = [(name, getattr(judgement, name) or "") for name in ("annotator", "created_at", "domain")]
    others += [(f"{key} name", name) for key, names in _attributes(judgement) for name in names]
    if reason := conversation_problem(judgement.prompt, responses) or _broken_problem(others):
        return reason
    if normalised(judgement.first) == normalised(judgement.second):
        return "both responses are the same text"
    return None


def conversation_problem(prompt: Sequence[Message], responses: Mapping[str, str]) -> str | None:
    """Why a prompt or its responses cannot be used, or None if they can.

    Parameters
    ----------
    prompt : sequence of Message
    responses : mapping of name to text
        The names are used in the reason, such as ``first response``.
    """
    roles = [role for role, _ in prompt]
    last = roles[-1] if roles else "nothing"
    if last not in ("user", "tool"):
        return f"the prompt must end with a user message or a tool's result, it ends with {last}"
    if not _SPOKEN.issuperset(roles) and (reason := _role_problem(roles)):
        return reason
    contents = [*(content for _, content in prompt), *responses.values()]
    if all(map(str.strip, contents)) and is_unicode("".join(contents)):
        return None  # as nearly always, without a name for each text
    texts = [(f"{role} message in the prompt", content) for role, content in prompt]
    texts += responses.items()
    empty = next((name for name, text in texts if not text.strip()), None)
    return f"the {empty} is empty" if empty else _broken_problem(texts)


def _role_problem(roles: Sequence[str]) -> str | None:
    if unknown := [role for role in roles if role not in ROLES]:
        return f"role {unknown[0]!r} in the prompt; expected one of {', '.join(ROLES)}"
    if "tools" in roles[1:]:
        return "expected tools once, at the beginning of the prompt"
    if "user" not in roles:
        return "expected a user message in the prompt, got none"
    for one, after in pairwise(roles):
        if one == "reasoning" and after not in ("assistant", "tool_calls"):
            return f"expected the assistant's text or calls after its reasoning in the prompt, got {after}"
        if one == "result_of" and after != "tool":
            return f"expected a tool's result after result_of in the prompt, got {after}"
    return None


def _broken_problem(texts: Sequence[tuple[str, str]]) -> str | None:
    broken = next((name for name, text in texts if not is_unicode(text)), None)
    return f"the {broken} holds half a surrogate pair, which is not valid Unicode" if broken else None


def is_unicode(text: str) -> bool:
    """Whether a text has no half surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _label_problem(judgement: Judgement) -> str | None:
    if not 0 <= judgement.preference <= 1:  # written so that NaN is a problem
        return f"preference {judgement.preference} is not in [0, 1]"
    for name in ("target_margin", "weight", "sampling_probability"):
        value = getattr(judgement, name)
        if value is not None and (reason := bounds_problem(name, name, value)):
            return reason
    return None


def bounds_problem(field_name: str, key: str, value: float) -> str | None:
    """Why a number of a judgement cannot be used, or None if it can.

    Parameters
    ----------
    field_name : str
        A key of `BOUNDS`.
    key : str
        What the reason calls it.
    value : float
    """
    least, most = BOUNDS[field_name]
    return None if least <= value <= most else f"{key}: expected a number from {least:g} to {most:g}, got {value:g}"


def _attribute_problem(judgement: Judgement) -> str | None:
    least, most = BOUNDS["attributes"]
    for key, values in _attributes(judgement):
        for name, value in values.items():
            if not name.strip():
                return f"{key}: expected a name for each value, got {name!r}"
            if not (value == 0 or least <= abs(value) <= most):
                return f"{key}.{name}: expected 0 or a number of size {least:g} to {most:g}, got {value:g}"
    return None


def _attributes(judgement: Judgement) -> tuple[tuple[str, Mapping[str, float]], ...]:
    return ("attributes_first", judgement.attributes_first), ("attributes_second", judgement.attributes_second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All judgements of one pair of a prompt's responses, merged."""

    first: int
    second: int
    """Indices of the two responses in the group."""
    preference: float
    """Mean preference for the first response, in [0, 1]."""
    target_margin: float
    weight: float
    num_judgements: int
    num_undecided: int = 0
    """Annotators' votes that are for neither response alone: ties, and shares such as 0.7."""
    sampling_probability: float | None = None
    """Mean over the judgements that give one; None: none does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptGroup:
    """A prompt, its K distinct responses and the comparisons among them: the unit of training."""

    prompt_id: str
    prompt: tuple[Message, ...]
    responses: tuple[str, ...]
    response_attributes: tuple[Mapping[str, float], ...]
    """For each response: name of an attribute to its mean over the judgements that give a value."""
    comparisons: tuple[Comparison, ...]
    domain: str | None
    source: str | None = None
    """Where the prompt comes from, if a file of scores or a benchmark says so; None for annotations."""


def group(judgements: Iterable[Judgement]) -> list[PromptGroup]:
    """Merge judgements into one group per prompt, in order of prompt id.

    The result does not depend on the order of the judgements.
    """
    return group_by_id((judgement.prompt_id, judgement) for judgement in judgements)


def group_by_id(judgements: Iterable[tuple[str, Judgement]]) -> list[PromptGroup]:
    """The same for judgements whose prompts' ids are known."""
    by_prompt: dict[str, list[Judgement]] = defaultdict(list)
    for identifier, judgement in judgements:
        by_prompt[identifier].append(judgement)
    return [_merge_prompt(key, by_prompt[key]) for key in sorted(by_prompt)]


def _merge_prompt(key: str, judgements: list[Judgement]) -> PromptGroup:
    texts: dict[str, str] = {}
    ratings: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    by_pair: dict[tuple[str, str], list[tuple[Judgement, float]]] = defaultdict(list)
    for judgement in judgements:
        first, second = response_id(judgement.first), response_id(judgement.second)
        # Of spellings that differ only in normalisation the smallest is kept, so that the order does not matter.
        texts[first] = min(judgement.first, texts.get(first, judgement.first))
        texts[second] = min(judgement.second, texts.get(second, judgement.second))
        ratings[first].append(judgement.attributes_first)
        ratings[second].append(judgement.attributes_second)
        preference = judgement.preference if first < second else 1 - judgement.preference
        by_pair[min(first, second), max(first, second)].append((judgement, preference))
    indices = {response: index for index, response in enumerate(sorted(texts))}
    return PromptGroup(
        prompt_id=key,
        prompt=min(judgement.prompt for judgement in judgements),
        responses=tuple(texts[response] for response in indices),
        response_attributes=tuple(_mean_attributes(ratings[response]) for response in indices),
        comparisons=tuple(_merge_pair(indices[a], indices[b], votes) for (a, b), votes in sorted(by_pair.items())),
        domain=min((judgement.domain for judgement in judgements if judgement.domain), default=None),
    )


def _mean_attributes(ratings: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Name to the mean of its values; in order of the names, so that equal attributes give equal files."""
    names = sorted({name for rating in ratings for name in rating})
    return {name: _mean([rating[name] for rating in ratings if name in rating]) for name in names}


def _merge_pair(first: int, second: int, votes: list[tuple[Judgement, float]]) -> Comparison:
    """One comparison; an annotator with several judgements of a pair has one vote, their mean."""
    by_annotator: dict[str, list[float]] = defaultdict(list)
    for index, (judgement, preference) in enumerate(votes):
        by_annotator[judgement.annotator or f"\0{index}"].append(preference)
    shares = [_mean(preferences) for preferences in by_annotator.values()]
    known = [each for judgement, _ in votes if (each := judgement.sampling_probability) is not None]
    return Comparison(
        first=first,
        second=second,
        preference=_mean(shares),
        target_margin=_mean([judgement.target_margin for judgement, _ in votes]),
        weight=_mean([judgement.weight for judgement, _ in votes]),
        num_judgements=len(votes),
        num_undecided=sum(0 < share < 1 for share in shares),
        sampling_probability=_mean(known) if known else None,
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)  # fsum: the same to the last bit in any order


def split_of(prompt_id: str, heldout_share: float, salt: str = "", validation_share: float = 0.0) -> Split:
    """The split of a prompt. Its id alone decides, so that the split never changes when data is added.

    Validation prompts follow the held-out ones in the order of the hash, so that ``validation_share`` does not change
    which prompts are held out.
    """
    draw = int(sha256_text(salt + prompt_id)[:13], 16) / 16**13  # 52 bits: exact in a float
    if draw < heldout_share:
        return "heldout"
    return "validation" if draw < heldout_share + validation_share else "train"


def prompt_text(prompt: Sequence[Message]) -> str:
    """A prompt as one text: a single message without its role, several messages each with its role."""
    if len(prompt) == 1:
        return prompt[0].content
    return "\n\n".join(f"{role}: {content}" for role, content in prompt)

"""The search for the judgements that taught a model to pay for a feature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rm.data import prompt_groups, snapshots
from rm.data.annotation_table import TableVersion
from rm.data.manifests import DatasetManifest
from rm.data.preferences import PromptGroup, Split, prompt_text
from rm.errors import AuditError
from rm.features import battery
from rm.features.battery import BATTERY
from rm.features.responses import Responses
from rm.model.manifests import CheckpointManifest
from rm.model.token_ids import TokenGroup
from rm.origins.head import Head
from rm.origins.judgements import TrainedJudgement, trained_on
from rm.origins.payment import Payment
from rm.origins.records import By, Origin, Origins, Row, Without
from rm.origins.states import states
from rm.score.scorer import Scorer
from rm.stats.clustered import Floats, Ints, win_indicator
from rm.tokens.manifests import TokenizedManifest
from rm.tokens.tokenization import read_tokens

MIN_JUDGEMENTS = 20
"""Fewer of a source or an annotator say too little."""
MOST_GROUPS = 50
"""Sources, and annotators, for which a head is fitted; the largest ones."""


class Read(NamedTuple):
    """What the search works on."""

    judgements: list[TrainedJudgement]
    head: Head
    taught: Payment
    """The judged pairs themselves: what a judgement adds is asked of these, never of the held-out pairs."""
    payment: Payment
    """The held-out pairs."""
    own: Floats
    """Weights of the model's own head, shape (H,)."""


def search(
    checkpoint: CheckpointManifest,
    dataset: DatasetManifest,
    tokenized: TokenizedManifest,
    tokens_per_batch: int,
    feature: str,
    share: float,
) -> Origins:
    """Find what taught a model to pay for a feature.

    Parameters
    ----------
    checkpoint, dataset, tokenized : manifests
        A trained model and its data.
    tokens_per_batch : int
        Of a forward pass.
    feature : str
        Name of a feature of the battery.
    share : float
        Of the judgements: so many rows are named, at most.

    Returns
    -------
    Origins

    Raises
    ------
    AuditError
        If the battery has no such feature, no pair differs in it, or the model was trained on some of the pairs only.

    Notes
    -----
    The hidden states of the trained model stay as they are, and a head is fitted to them anew, once with all judgements
    and once without each source and each annotator. What a judgement adds is found by one Newton step, to what is paid
    on the training pairs: a list that was fitted to the held-out pairs would hide the bias from the audit on them and
    leave it elsewhere. The held-out pairs only tell how large the bias is.
    """
    judgements, head, taught, payment, own = read(checkpoint, dataset, tokenized, tokens_per_batch, feature)
    sign = 1.0 if taught.paid(head) >= 0 else -1.0
    adds = -sign * head.without_each(taught.direction(head))
    origins = [origin for by in ("source", "annotator") for origin in origins_by(by, judgements, head, payment, adds)]
    order = np.argsort(-adds, kind="stable")[: int(share * len(judgements))]
    named = order[adds[order] > 0]
    kept = np.ones(len(judgements), dtype=bool)
    kept[named] = False
    return Origins(
        feature=feature,
        num_judgements=len(judgements),
        num_pairs=len(payment.feature),
        model_accuracy=float(win_indicator(payment.states @ own).mean()),
        whole=_without(head, payment, head.weights),
        origins=tuple(sorted(origins, key=lambda each: sign * each.without.paid)),
        rows=tuple(
            Row(
                judgement_id=judgements[index].judgement_id,
                source=judgements[index].source,
                annotator=judgements[index].annotator,
                adds=float(adds[index]),
            )
            for index in named.tolist()
        ),
        without_rows=_without(head, payment, head.fitted(kept)),
    )


def read(
    checkpoint: CheckpointManifest,
    dataset: DatasetManifest,
    tokenized: TokenizedManifest,
    tokens_per_batch: int,
    feature: str,
) -> Read:
    """Read judgements and states, and fit the head; see `search`."""
    if feature not in (names := {each.name for each in BATTERY}):
        close = ", ".join(sorted(name for name in names if feature.lower() in name)) or "docs/audit.md lists them"
        raise AuditError(f"expected a feature of the battery, got {feature!r}; {close}")
    if checkpoint.num_train_pairs != (count := tokenized.num_pairs["train"]):
        raise AuditError(
            f"{checkpoint.path}: expected a model that was trained on all {count:,} pairs, got one of "
            f"{checkpoint.num_train_pairs:,}; see train.max_pairs"
        )
    scorer = Scorer(checkpoint.path, tokens_per_batch)
    train, train_states = _states(scorer, dataset, tokenized, "train")
    table = TableVersion(
        path=dataset.inputs[0].path,
        version=dataset.table_version,
        digest=dataset.inputs[0].digest,
        num_judgements=dataset.num_judgements,
        num_retracted=dataset.num_retracted,
        retractions=dataset.retractions,
    )
    judgements = [
        each
        for each in trained_on(table, train, snapshots.read_excluded(dataset))
        if {(each.prompt, each.first), (each.prompt, each.second)} <= train_states.row.keys()
    ]
    compared = [(each.prompt, each.first, each.second) for each in judgements]
    differences = np.array([train_states.difference(*each) for each in compared])
    head = Head(
        differences,
        np.array([each.preference for each in judgements]),
        np.array([each.weight for each in judgements]),
        np.array([each.prompt for each in judgements], dtype=np.int64),
    )
    taught = Payment.of(differences, _differences(train, compared, feature))
    payment, own = heldout_payment(scorer, dataset, tokenized, feature)
    return Read(judgements, head, taught, payment, own)


def heldout_payment(
    scorer: Scorer, dataset: DatasetManifest, tokenized: TokenizedManifest, feature: str
) -> tuple[Payment, Floats]:
    """The held-out pairs as a model reads them, and the weights of its own head, shape (H,)."""
    groups, known = _states(scorer, dataset, tokenized, "heldout")
    pairs = _decided(groups, known)
    payment = Payment.of(np.array([known.difference(*pair) for pair in pairs]), _differences(groups, pairs, feature))
    head: Any = scorer.model.score
    return payment, head.weight[: scorer.model.config.num_heads].detach().float().mean(dim=0).cpu().numpy()


class _States(NamedTuple):
    row: dict[tuple[int, int], int]
    """Number of a prompt and a response, to its row."""
    values: Floats

    def difference(self, prompt: int, first: int, second: int) -> Floats:
        """State of one response minus that of another."""
        found: Floats = self.values[self.row[prompt, first]] - self.values[self.row[prompt, second]]
        return found


def _states(
    scorer: Scorer, dataset: DatasetManifest, tokenized: TokenizedManifest, split: Split
) -> tuple[list[PromptGroup], _States]:
    """The prompts of a split, and the states of their responses that have room in the model."""
    groups = prompt_groups.read_groups(dataset, split)
    number = {group.prompt_id: index for index, group in enumerate(groups)}
    prompts = list(read_tokens(tokenized, split))
    found = states(scorer, [TokenGroup(each.prompt_ids, each.response_ids) for each in prompts])
    places = [(number[each.prompt_id], index) for each in prompts for index in each.response_indices]
    return groups, _States({place: row for row, place in enumerate(places)}, found)


def _decided(groups: Sequence[PromptGroup], known: _States) -> list[tuple[int, int, int]]:
    """Number of the prompt, chosen and rejected response of each pair with a majority."""
    pairs = []
    for number, group in enumerate(groups):
        for pair in group.comparisons:
            if pair.preference != 0.5:
                chosen, rejected = (pair.first, pair.second) if pair.preference > 0.5 else (pair.second, pair.first)
                pairs.append((number, chosen, rejected))
    return [pair for pair in pairs if {(pair[0], pair[1]), (pair[0], pair[2])} <= known.row.keys()]


def _differences(groups: Sequence[PromptGroup], pairs: Sequence[tuple[int, int, int]], feature: str) -> Floats:
    """The feature of the first response minus that of the second, shape (B,), of pairs as (prompt, first, second)."""
    prompts = [prompt_text(groups[number].prompt) for number, _, _ in pairs]
    texts = [groups[number].responses[index] for side in (1, 2) for number, index in ((p[0], p[side]) for p in pairs)]
    asked = next(each for each in BATTERY if each.name == feature)
    values = battery.read((asked,), Responses(texts, [*prompts, *prompts]))[:, 0]
    differences: Floats = values[: len(pairs)] - values[len(pairs) :]
    if not differences.any():
        raise AuditError(f"no pair differs in {feature!r}: nothing can be paid for it")
    return differences


def origins_by(
    by: By, judgements: Sequence[TrainedJudgement], head: Head, payment: Payment, adds: Floats
) -> list[Origin]:
    """The largest sources or annotators, unless one has all judgements."""
    names = np.array([getattr(each, by) or "" for each in judgements])
    prompt = np.array([each.prompt for each in judgements], dtype=np.int64)
    counts = Counter(names[names != ""].tolist())
    found = []
    for name, count in counts.most_common(MOST_GROUPS):
        if count < MIN_JUDGEMENTS or count == len(names):
            break
        inside: NDArray[np.bool_] = names == name
        without = _without(head, payment, head.fitted(~inside))
        z = _apart(adds, inside, prompt)
        found.append(Origin(by=by, name=name, num_judgements=count, without=without, z=z))
    return found


def _apart(adds: Floats, inside: NDArray[np.bool_], prompt: Ints) -> float:
    """Standard errors between the sum over some judgements and that over their share of all.

    With ``e = (i - mean i) (a - mean a)`` of each judgement, which adds a and has i = 1 inside and 0 outside, it is
    ``sum e / sqrt(sum (sum e within a prompt)^2)``: several votes on a pair, and the pairs of a ranking, are not
    independent.
    """
    by_prompt = np.bincount(prompt, (inside - inside.mean()) * (adds - adds.mean()))
    spread = float(np.sqrt(by_prompt @ by_prompt))
    return float(by_prompt.sum()) / spread if spread > 0 else 0.0


def _without(head: Head, payment: Payment, weights: Floats) -> Without:
    return Without(
        paid=payment.paid(head, weights), asked=payment.asked(head, weights), accuracy=payment.accuracy(head, weights)
    )

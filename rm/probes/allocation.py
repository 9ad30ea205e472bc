"""Which responses each probe edits, so that all edits together stay within a budget of text to be read.

Every probe on every response would read far more than the responses themselves. So each probe gets a share of them,
drawn by a hash: larger for the cheaper ones, and for those that the gate asks for.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rm.files import sha256_json
from rm.probes.catalog import MIN_EDITS, Probe
from rm.probes.config import ProbeConfig
from rm.probes.context import Parent, Prompt
from rm.probes.variants import Variant, variants

_CHARACTERS_A_RESPONSE = 60
"""What a response costs beside its text: about fifteen tokens, for its end, its view of the prompt and the work around
it, and because edited text is more tokens a character. With it the budget holds in time (`bench/probes.py`)."""
_SPARE_RANK = 3
"""How much later an edit comes that the gate does not ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Responses, and the edits that are to be made of them."""

    parents: list[Parent]
    variants: list[Variant]
    """Also those that do not apply, of the parents that a probe was tried on."""
    cost: float
    """Of reading parents and edits, in multiples of reading the parents alone."""


def allocate(candidates: Sequence[Parent], probes: Sequence[Probe], config: ProbeConfig) -> Allocation:
    """Share responses out among probes.

    Parameters
    ----------
    candidates : sequence of Parent
        One a prompt is taken, by a hash: as many as it needs for `ProbeConfig.num_parents` edited ones of every probe
        within the budget, or all.
    probes : sequence of Probe
    config : ProbeConfig

    Returns
    -------
    Allotment

    Notes
    -----
    Costs are characters that a decoder has to read, which reads a prompt once and of an edited response what comes
    after the first change. The number n of a probe's edits is in proportion to ``1 / sqrt(c)``, with c their mean cost:
    intervals narrow with ``1 / sqrt(n)``, and so the sum of all squared widths is least (Neyman's allocation with equal
    variances). What the gate does not ask for, edits beyond `rm.probes.catalog.MIN_EDITS` and of probes without limits,
    gets a third of that. Which parents a probe gets follows from hashes alone, and how many from mean costs, so that
    none prefers short or long ones.
    """
    ordered = _one_a_prompt(candidates)
    num_parents = config.num_parents
    while True:
        shares = _Shares(ordered[:num_parents], probes, config)
        wanted = shares.num_parents_wanted()
        if num_parents >= min(wanted, len(ordered)):
            return shares.allotment()
        num_parents = wanted


def _one_a_prompt(candidates: Sequence[Parent]) -> list[Parent]:
    """In the order of a hash, so that more candidates change some of the first ones, never all."""
    keyed = {sha256_json([parent.prompt_id, parent.response]): parent for parent in candidates}
    first: dict[str, Parent] = {}
    for _, parent in sorted(keyed.items()):
        first.setdefault(parent.prompt_id, parent)
    return list(first.values())


class _Shares:
    """All edits of some parents, what they cost, and whose turn it is."""

    def __init__(self, parents: list[Parent], probes: Sequence[Probe], config: ProbeConfig) -> None:
        self.parents, self.config = parents, config
        self.probes = {probe.name: probe for probe in probes}
        self.sizes = [_size(parent.prompt, parent.response) for parent in parents]
        self.made: dict[str, dict[int, list[Variant]]] = {probe.name: defaultdict(list) for probe in probes}
        for variant in variants(parents, probes, config):
            self.made[variant.probe][variant.parent].append(variant)
        self.orders = {probe.name: list(self._order(probe)) for probe in probes}
        """Of each probe the parents to which it applies, in the order in which it gets them, with the cost."""
        self.allowance = (config.budget - 1) * sum(self.sizes)

    def _order(self, probe: Probe) -> Iterator[tuple[int, int]]:
        cost = 0  # with what weaker doses cost at the parents before
        for at, made in sorted(self.made[probe.name].items(), key=lambda each: self._lot(probe.name, each[0])):
            cost += _cost(self.parents[at], made)
            if _applies(probe, made):
                yield at, cost
                cost = 0

    def _lot(self, probe: str, at: int) -> str:
        parent = self.parents[at]
        return sha256_json(["share", probe, parent.prompt_id, parent.response])

    def _mean_costs(self) -> dict[str, float]:
        return {probe: sum(cost for _, cost in order) / len(order) for probe, order in self.orders.items() if order}

    def num_parents_wanted(self) -> int:
        """How many parents would let every probe edit as many as it may."""
        if not self.allowance:
            return 0
        all_edits = self.config.num_parents * sum(self._mean_costs().values())
        return math.ceil(all_edits * len(self.parents) / self.allowance)

    def _turns(self) -> Iterator[tuple[str, int]]:
        """A probe and the cost of its next edit, as long as the budget holds."""
        turns = sorted(
            ((place + 1) * math.sqrt(mean) * (_SPARE_RANK if self._is_spare(probe, place) else 1), probe, cost)
            for probe, mean in self._mean_costs().items()
            for place, (_, cost) in enumerate(self.orders[probe][: self.config.num_parents])
        )
        left, full = self.allowance, set()
        for _, probe, cost in turns:
            if cost > left:
                full.add(probe)
            if probe not in full:
                left -= cost
                yield probe, cost

    def _is_spare(self, probe: str, place: int) -> bool:
        """Whether the gate does not ask for a probe's edit number so and so, from 0."""
        return place >= MIN_EDITS or not self.probes[probe].has_limits

    def allotment(self) -> Allocation:
        spent: dict[str, list[int]] = {probe: [] for probe in self.orders}
        for probe, cost in self._turns():
            spent[probe].append(cost)
        asked = [made for probe, costs in spent.items() for made in self._tried(probe, len(costs))]
        size, edits = sum(self.sizes), sum(map(sum, spent.values()))
        order = {probe: place for place, probe in enumerate(self.probes)}
        return Allocation(
            parents=self.parents,
            variants=sorted(asked, key=lambda variant: (variant.parent, order[variant.probe])),
            cost=1 + edits / size if size else 1.0,
        )

    def _tried(self, probe: str, count: int) -> Iterator[Variant]:
        """Variants of parents in a probe's order until it applied so often, so that applicability can be told."""
        order = self.orders[probe]
        last = self._lot(probe, order[count - 1][0]) if count else ""
        is_rare = len(order) < min(len(self.parents), self.config.num_parents)
        for at, made in self.made[probe].items():
            nowhere = all(variant.response is None for variant in made)
            if self._lot(probe, at) <= last or (is_rare and count == len(order) and nowhere):
                yield from made


def _applies(probe: Probe, made: Sequence[Variant]) -> bool:
    """Whether the strongest dose does, or any of those that have no order."""
    edits = [variant.response is not None for variant in made if variant.arm == "edit"]
    return any(edits) if isinstance(probe.doses, str) else edits[-1]


def _size(prompt: Prompt, response: str) -> int:
    return sum(len(turn.content) for turn in prompt) + len(response) + _CHARACTERS_A_RESPONSE


def _cost(parent: Parent, made: Sequence[Variant]) -> int:
    """Characters to be read for one probe's edits of a parent."""
    applying = [variant for variant in made if variant.response is not None]
    bases = {variant.base_prompt for variant in applying if variant.base_prompt}
    edits = sum(_edit_cost(parent, variant) for variant in applying)
    return edits + sum(_size(prompt, parent.response) for prompt in bases)


def _edit_cost(parent: Parent, variant: Variant) -> int:
    response = variant.response or ""
    if variant.prompt is not None:
        return _size(variant.prompt, response)
    return len(response) - _num_equal(parent.response, response) + _CHARACTERS_A_RESPONSE


def _num_equal(one: str, other: str) -> int:
    """Characters from the beginning to the first difference."""
    lengths = range(1, min(len(one), len(other)) + 1)
    return bisect_left(lengths, True, key=lambda length: one[:length] != other[:length])

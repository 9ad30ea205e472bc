"""Choosing the responses that each probe edits, so that all edits together stay within a budget of text.

If every probe edited every response, scoring would read far more text than the responses themselves. So each probe
edits a sample of the responses, drawn by a hash. The sample is larger for probes with cheap edits, and for probes that
the gate's default checks use.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rm.files import sha256_json
from rm.probes.catalog import HARD_PROBES, MIN_EDITS, Probe
from rm.probes.config import ProbeConfig
from rm.probes.context import Parent, Prompt
from rm.probes.variants import Variant, variants

_CHARACTERS_PER_RESPONSE = 60
"""Cost of a response in addition to its text, about fifteen tokens: for its end, its attention to the prompt, overhead,
and the additional tokens of edited text. With it the budget also holds for the time (`bench/probes.py`)."""
_SPARE_FACTOR = 3
"""Edits that the gate does not need come later by this factor."""
_HARD_FACTOR = 0.1
"""Edits without which the gate stays undecided come earlier by this factor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Responses, and the edits of them that are scored."""

    parents: list[Parent]
    variants: list[Variant]
    """The edits, including those that do not apply to a parent on which the probe was tried."""
    cost: float
    """Cost of reading parents and edits, in multiples of the cost of the parents alone."""


def allocate(candidates: Sequence[Parent], probes: Sequence[Probe], config: ProbeConfig) -> Allocation:
    """Choose the parents, and the probes that edit each of them.

    Parameters
    ----------
    candidates : sequence of Parent
        One per prompt is used, chosen by a hash. As many are used as are needed for every probe to have
        `ProbeConfig.num_parents` edits within the budget, or all.
    probes : sequence of Probe
    config : ProbeConfig

    Returns
    -------
    Allocation

    Notes
    -----
    The cost of an edit is the number of characters that a decoder reads for it: the prompt is read once, and an edited
    response from its first change on. A probe with mean cost c gets a number of edits n in proportion to
    ``1 / sqrt(c)``. The width of an interval falls with ``1 / sqrt(n)``, so this minimises the sum of all squared
    widths (Neyman's allocation with equal variances). Edits that the gate does not need, those beyond
    `rm.probes.catalog.MIN_EDITS` and those of probes without limits, get a third of that number; the first edits of the
    hard probes come before nearly all others, since the gate stays undecided without them. Which parents a probe
    edits depends only on hashes, and their number only on mean costs, so that no probe prefers short or long parents.
    """
    ordered = _one_per_prompt(candidates)
    num_parents = config.num_parents
    while True:
        allocator = _Allocator(ordered[:num_parents], probes, config)
        wanted = allocator.num_parents_wanted()
        if num_parents >= min(wanted, len(ordered)):
            return allocator.allocation()
        num_parents = wanted


def _one_per_prompt(candidates: Sequence[Parent]) -> list[Parent]:
    """One candidate per prompt, in the order of a hash, so that new candidates replace only some of the first ones."""
    keyed = {sha256_json([parent.prompt_id, parent.response]): parent for parent in candidates}
    first: dict[str, Parent] = {}
    for _, parent in sorted(keyed.items()):
        first.setdefault(parent.prompt_id, parent)
    return list(first.values())


class _Allocator:
    """All edits of some parents, their costs, and the order in which they are made."""

    def __init__(self, parents: list[Parent], probes: Sequence[Probe], config: ProbeConfig) -> None:
        self.parents, self.config = parents, config
        self.probes = {probe.name: probe for probe in probes}
        self.sizes = [_size(parent.prompt, parent.response) for parent in parents]
        self.made: dict[str, dict[int, list[Variant]]] = {probe.name: defaultdict(list) for probe in probes}
        for variant in variants(parents, probes, config):
            self.made[variant.probe][variant.parent].append(variant)
        self.orders = {probe.name: list(self._order(probe)) for probe in probes}
        """For each probe the parents that it applies to, in the order in which it edits them: index and cost."""
        self.allowance = (config.budget - 1) * sum(self.sizes)

    def _order(self, probe: Probe) -> Iterator[tuple[int, int]]:
        cost = 0  # includes earlier parents to which only weaker doses apply
        for index, made in sorted(self.made[probe.name].items(), key=lambda each: self._hash(probe.name, each[0])):
            cost += _cost(self.parents[index], made)
            if _applies(probe, made):
                yield index, cost
                cost = 0

    def _hash(self, probe: str, index: int) -> str:
        parent = self.parents[index]
        return sha256_json(["share", probe, parent.prompt_id, parent.response])

    def _mean_costs(self) -> dict[str, float]:
        return {probe: sum(cost for _, cost in order) / len(order) for probe, order in self.orders.items() if order}

    def num_parents_wanted(self) -> int:
        """Number of parents with which every probe can edit as many parents as it may."""
        if not self.allowance:
            return 0
        all_edits = self.config.num_parents * sum(self._mean_costs().values())
        return math.ceil(all_edits * len(self.parents) / self.allowance)

    def _affordable(self) -> Iterator[tuple[str, int]]:
        """The edits within the budget, in their order: the probe and the cost of its next edit."""
        ranked = sorted(
            ((index + 1) * math.sqrt(mean) * self._factor(probe, index), probe, cost)
            for probe, mean in self._mean_costs().items()
            for index, (_, cost) in enumerate(self.orders[probe][: self.config.num_parents])
        )
        left, full = self.allowance, set()
        for _, probe, cost in ranked:
            if cost > left:
                full.add(probe)
            if probe not in full:
                left -= cost
                yield probe, cost

    def _factor(self, probe: str, index: int) -> float:
        """How much later a probe's edit with this index comes than its cost says."""
        if index >= MIN_EDITS or not self.probes[probe].has_limits:
            return _SPARE_FACTOR
        return _HARD_FACTOR if probe in HARD_PROBES else 1

    def allocation(self) -> Allocation:
        spent: dict[str, list[int]] = {probe: [] for probe in self.orders}
        for probe, cost in self._affordable():
            spent[probe].append(cost)
        tried = [made for probe, costs in spent.items() for made in self._tried(probe, len(costs))]
        size, edits = sum(self.sizes), sum(map(sum, spent.values()))
        order = {probe: index for index, probe in enumerate(self.probes)}
        return Allocation(
            parents=self.parents,
            variants=sorted(tried, key=lambda variant: (variant.parent, order[variant.probe])),
            cost=1 + edits / size if size else 1.0,
        )

    def _tried(self, probe: str, count: int) -> Iterator[Variant]:
        """Variants of the parents in a probe's order, up to the one where it applies for the count-th time.

        Those that do not apply are included, so that the share of parents that a probe applies to can be computed.
        """
        order = self.orders[probe]
        last = self._hash(probe, order[count - 1][0]) if count else ""
        is_rare = len(order) < min(len(self.parents), self.config.num_parents)
        for index, made in self.made[probe].items():
            no_edit = all(variant.response is None for variant in made)
            if self._hash(probe, index) <= last or (is_rare and count == len(order) and no_edit):
                yield from made


def _applies(probe: Probe, made: Sequence[Variant]) -> bool:
    """Whether the strongest dose applies; for doses without an order, whether any dose applies."""
    edits = [variant.response is not None for variant in made if variant.arm == "edit"]
    return any(edits) if isinstance(probe.doses, str) else edits[-1]


def _size(prompt: Prompt, response: str) -> int:
    return sum(len(turn.content) for turn in prompt) + len(response) + _CHARACTERS_PER_RESPONSE


def _cost(parent: Parent, made: Sequence[Variant]) -> int:
    """Number of characters to read for one probe's edits of a parent."""
    applying = [variant for variant in made if variant.response is not None]
    bases = {variant.base_prompt for variant in applying if variant.base_prompt}
    edits = sum(_edit_cost(parent, variant) for variant in applying)
    return edits + sum(_size(prompt, parent.response) for prompt in bases)


def _edit_cost(parent: Parent, variant: Variant) -> int:
    response = variant.response or ""
    if variant.prompt is not None:
        return _size(variant.prompt, response)
    return len(response) - _num_equal(parent.response, response) + _CHARACTERS_PER_RESPONSE


def _num_equal(one: str, other: str) -> int:
    """Length of the common beginning of two texts."""
    # By bisection over slices: ten times as fast as character by character, since edits often change only the end.
    lengths = range(1, min(len(one), len(other)) + 1)
    return bisect_left(lengths, True, key=lambda length: one[:length] != other[:length])

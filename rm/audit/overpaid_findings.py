"""What the gate and the report read of the table of overpaid features: a number per family, and every row."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rm.audit.overpaid import Row, Table
from rm.audit.records import OverpaidRow, OverpaidTable
from rm.audit.sizes import seen_from
from rm.features.battery import LOG_LENGTH, Feature
from rm.stats.clustered import Interval
from rm.stats.finding import Finding, key
from rm.stats.measurements import finding
from rm.stats.sufficiency import MIN_CLUSTERS, Account

STRUCTURE = "structure"
"""The family that has a stricter limit than the others."""
OTHERS = "others"
"""Label of all families but those of length and structure."""
UNIT = "win probability per usual difference"
_METHOD = (
    "what the model pays beyond what the labels support (above 0), or punishes (below 0); of the features of the "
    "family that are named, the one with the largest simultaneous lower bound"
)
_NOTHING_FOLLOWS = "rewards go with the labels no better than chance, or without a single error"
_NOT_JOINTLY = f"{_NOTHING_FOLLOWS}, or nothing is left to predict"
_VISIBLE = "smallest excess that four of five audits of this size would have shown"


def findings(table: Table, num_pairs: int) -> tuple[Finding, ...]:
    """``overpaid`` by family, and ``visible`` for length, for structure and for the other families together.

    Parameters
    ----------
    table : Table
    num_pairs : int

    Notes
    -----
    The interval of ``overpaid`` has 95 % for all features together. It is 0 to something where no feature of the family
    is overpaid, with the label ``family``; undefined where rewards do not follow the labels beyond chance.
    """
    families = dict.fromkeys(row.column.feature.family for row in table.rows)
    return (
        *(_overpaid(table, family, num_pairs) for family in families),
        _visible_length(table, num_pairs),
        *_visible_families(table, num_pairs),
    )


def signed(account: Account, critical: float) -> Interval:
    """An account's excess with its bounds, above 0 if overpaid and below 0 if over-punished."""
    if not account.measurable:
        return Interval(math.nan, math.nan, math.nan)
    sign = math.copysign(1.0, account.paid)
    asked, paid = -sign * account.asked, abs(account.paid)
    high = min(asked + critical * account.asked_error, paid + critical * account.paid_error)
    bounds = sign * max(account.bound(critical), 0.0), sign * max(high, abs(account.excess))
    return Interval(account.excess, min(bounds), max(bounds))


def _overpaid(table: Table, family: str, num_pairs: int) -> Finding:
    rows = [row for row in table.rows if row.column.feature.family == family]
    tested = [row for row in rows if row.account.measurable]
    name = key("overpaid", family=family)
    if not table.follows_labels:
        undefined = finding(name, Interval(math.nan, math.nan, math.nan), num_pairs, UNIT, _METHOD)
        return undefined.model_copy(update={"detail": _NOTHING_FOLLOWS})
    if not tested and any(row.account.num_clusters >= MIN_CLUSTERS for row in rows):
        undefined = finding(name, Interval(math.nan, math.nan, math.nan), num_pairs, UNIT, _METHOD)
        return undefined.model_copy(update={"detail": "reward and length explain all labels: nothing is left to test"})
    if not tested:
        nothing = finding(name, Interval(0.0, 0.0, 1.0), num_pairs, UNIT, _METHOD)
        return nothing.model_copy(update={"detail": "no feature of it differs in prompts enough"})
    worst = max(tested, key=lambda row: (row.verdict == "named", row.bound))
    interval = signed(worst.account, table.critical)
    if worst.verdict != "named":  # it goes along with a feature of another family, which is named there
        interval = Interval(interval.estimate, min(interval.low, 0.0), max(interval.high, 0.0))
    found = finding(name, interval, worst.account.num_pairs, UNIT, _METHOD)
    return found.model_copy(update={"detail": label(worst)})


def label(row: Row) -> str:
    """A row's feature in words, with the kind of prompt if it is within one."""
    return titled(row.column.feature, row.column.within)


def titled(feature: Feature, within: str | None) -> str:
    """A feature in words, with the kind of prompt if it is within one."""
    return feature.name if within is None else f"{feature.name} (prompts: {within})"


def _visible_length(table: Table, num_pairs: int) -> Finding:
    row = next(row for row in table.rows if row.column.feature.name == LOG_LENGTH and row.column.within is None)
    points = min(row.visible, 1.0)
    method = f"{_VISIBLE}, in {LOG_LENGTH}"
    found = finding(key("visible", family="length"), Interval(points, points, points), num_pairs, UNIT, method)
    return found if row.account.measurable else found.model_copy(update={"detail": _why_untestable(table)})


def _why_untestable(table: Table) -> str:
    return "it differs in too few prompts" if table.follows_labels else _NOTHING_FOLLOWS


def _visible_families(table: Table, num_pairs: int) -> tuple[Finding, ...]:
    """Of structure, if it has common features, and of the other families together."""
    seen = seen_from(record(table).rows, num_pairs)
    structure = seen.pop(STRUCTURE, None)
    by_family = {family: points for family, points in seen.items() if family != "length" and points is not None}
    worst = sorted(by_family, key=lambda family: -by_family[family])
    named = ", ".join(f"{each} {100 * by_family[each]:.0f}" for each in worst)
    points = max(by_family.values(), default=1.0)
    method = f"{_VISIBLE}, in half of a family's common features"
    others = finding(
        key("visible", family=OTHERS),
        Interval(points, points, points),
        num_pairs,
        UNIT,
        f"{method}; the family with the largest value",
    )
    others = others.model_copy(update={"detail": named or "no feature differs in 5 % of the pairs"})
    if structure is None:
        return (others,)
    found = finding(
        key("visible", family=STRUCTURE), Interval(structure, structure, structure), num_pairs, UNIT, method
    )
    return found, others


def joint_finding(account: Account, over: str, critical: float, parts: Sequence[str]) -> Finding:
    """The joint test of everything that surface predicts of the reward: ``joint_overpaid`` with the label ``over``.

    Parameters
    ----------
    account : Account
        From `rm.audit.surface.joint`.
    over : str
        What predicted the reward.
    critical : float
        How many standard errors the bound lies below the estimate.
    parts : sequence of str
        The largest parts of the prediction.
    """
    method = "what is predictable of the reward from these, labels unused, against what the labels still ask of it"
    num_pairs = account.num_pairs
    found = finding(key("joint_overpaid", over=over), signed(account, critical), num_pairs, UNIT, method)
    return found.model_copy(update={"detail": ", ".join(parts) if account.measurable else _why_not_jointly(account)})


def _why_not_jointly(account: Account) -> str:
    if 0 < account.num_clusters < MIN_CLUSTERS:
        prompts = "1 prompt" if account.num_clusters == 1 else f"{account.num_clusters} prompts"
        return f"what is predicted differs in {prompts}; fewer than {MIN_CLUSTERS} show nothing"
    return _NOT_JOINTLY


def record(table: Table) -> OverpaidTable:
    """The table as a record, the rows with the largest bound first."""
    rows = sorted(table.rows, key=lambda row: -row.bound if math.isfinite(row.bound) else math.inf)
    return OverpaidTable(
        critical_value=table.critical,
        follows_labels=table.follows_labels,
        never_wrong=table.never_wrong,
        rows=tuple(_record(row) for row in rows),
    )


def _record(row: Row) -> OverpaidRow:
    account = row.account
    return OverpaidRow(
        feature=row.column.feature.name,
        family=row.column.feature.family,
        within=row.column.within,
        about=row.column.feature.about,
        source=row.column.feature.source,
        num_pairs=account.num_pairs,
        num_clusters=account.num_clusters,
        asked=account.asked,
        asked_error=account.asked_error,
        paid=account.paid,
        paid_error=account.paid_error,
        excess=account.excess,
        bound=row.bound,
        visible=row.visible,
        verdict=row.verdict,
        along=None if row.along is None else row.along.feature.name,
    )

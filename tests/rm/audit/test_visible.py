import math
from dataclasses import replace

import numpy as np
import pytest

from rm.audit import overpaid, visible
from rm.selftest import run
from rm.stats.sufficiency import Sufficiency, ranked, usual
from tests.rm import toy_world

NUM_PAIRS = 500


@pytest.fixture(scope="module")
def trial():
    return run._Trial(toy_world.heldout(toy_world.generate(NUM_PAIRS, 1, seed=3), toy_world.constant))


@pytest.fixture(scope="module")
def pairs(trial):
    return trial.with_margin(trial.sound(0))


@pytest.fixture(scope="module")
def table(trial, pairs):
    return overpaid.table(pairs, trial.columns, trial.values)


@pytest.fixture(scope="module")
def planted(trial, pairs, table):
    return visible.planted(table, pairs, trial.values)


def typical(table):
    """By family, the place of the feature that is planted."""
    least = [row.account.visible(table.critical) for row in table.rows]
    families = dict.fromkeys(row.column.feature.family for row in table.rows)
    found = {family: visible._typical(table.rows, least, family, NUM_PAIRS) for family in families}
    return {family: index for family, index in found.items() if index is not None}


def test_no_size_is_smaller_than_the_errors_say_and_that_of_length_is_larger(table, planted):
    least = np.array([row.account.visible(table.critical) for row in table.rows])
    found = np.array([row.visible for row in planted.rows])
    assert (found >= least).all()
    index = typical(table)["length"]
    assert table.rows[index].column.feature.name == "log characters"
    assert 1.2 < found[index] / least[index] < 1.6
    assert replace(planted, rows=()) == replace(table, rows=())


def test_rewards_in_another_unit_show_the_same(trial, pairs, table, planted):
    for margin in (1e6 * pairs.margin, np.tanh(pairs.margin / 2)):
        again = visible.planted(table, replace(pairs, margin=margin), trial.values)
        assert [row.visible for row in again.rows] == pytest.approx([row.visible for row in planted.rows])


def test_more_power_needs_more(trial, pairs, table, planted):
    surer = visible.planted(table, pairs, trial.values, power=1.645)
    for index in typical(table).values():
        assert surer.rows[index].visible > planted.rows[index].visible


def test_errors_that_are_small_are_taken_as_they_are(table, pairs, trial, monkeypatch):
    monkeypatch.setattr(visible, "_SMALL", math.inf)
    least = [row.account.visible(table.critical) for row in table.rows]
    assert [row.visible for row in visible.planted(table, pairs, trial.values).rows] == least


def test_with_few_pairs_no_size_is_visible():
    trial = run._Trial(toy_world.heldout(toy_world.generate(60, 1, seed=3), toy_world.constant))
    pairs = trial.with_margin(trial.sound(0))
    table = overpaid.table(pairs, trial.columns, trial.values)
    row = next(row for row in table.rows if row.column.feature.name == "log characters")
    assert row.account.visible(table.critical) < 0.2
    index = table.rows.index(row)
    assert visible.planted(table, pairs, trial.values).rows[index].visible == math.inf


def test_a_bias_that_is_there_is_visible(trial):
    index = [column.feature.name for column in trial.columns].index("log characters")
    biased = trial.with_margin(trial.sound(0) + 2 * usual(trial.values[:, index]))
    table = overpaid.table(biased, trial.columns, trial.values)
    row = visible.planted(table, biased, trial.values).rows[index]
    assert row.bound > 0
    assert row.visible == row.account.visible(table.critical) < row.account.excess


@pytest.mark.slow
def test_a_bias_of_that_size_is_found_in_about_four_of_five_audits(trial, table, planted):
    for family, index in typical(table).items():
        row, term = table.rows[index], usual(trial.values[:, index])
        sign = math.copysign(1.0, row.account.asked + row.account.paid)

        def rates(strength, num=60, index=index, row=row, term=term, sign=sign):
            accounts = []
            for each in range(100, 100 + num):
                pairs = trial.with_margin(ranked(trial.sound(each)) + sign * strength * term)
                accounts += Sufficiency(pairs).accounts(trial.values[:, [index]], [row.column.is_length])[0]
            excess = np.mean([min(-sign * account.asked, sign * account.paid) for account in accounts])
            return excess, np.mean([account.bound(table.critical) > 0 for account in accounts])

        measured = [rates(strength) for strength in 0.1 * 1.4 ** np.arange(0, 12, 0.75)]
        rising = measured[: 1 + int(np.argmax([excess for excess, _ in measured]))]
        rate = float(np.interp(planted.rows[index].visible, *zip(*rising, strict=True)))
        assert 0.7 <= rate <= 0.99, (family, rate)

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse

from rm.stats.cross_fit import boosted, cross_fit, ridge

FOLD = np.arange(600) % 5


def pairs(seed=0):
    random = np.random.default_rng(seed)
    differences = random.normal(size=(600, 6))
    return random, differences


def test_ridge_finds_a_linear_target_and_its_noise_stays():
    random, differences = pairs()
    signal = differences @ [1.0, -2.0, 0, 0, 0.5, 0]
    found = cross_fit(ridge, differences, signal + random.normal(size=600), FOLD)
    assert np.corrcoef(found, signal)[0, 1] > 0.99


@pytest.mark.parametrize("matrix", [np.asarray, scipy.sparse.csr_array])
def test_without_a_column_nothing_is_predicted(matrix):
    assert not cross_fit(ridge, matrix(np.zeros((600, 0))), np.ones(600), FOLD).any()


def test_chance_is_not_predicted():
    random, differences = pairs()
    target = random.normal(size=600)
    for learner in (ridge, boosted):
        found = cross_fit(learner, differences, target, FOLD)
        assert 1 - ((target - found) ** 2).sum() / (target**2).sum() < 0.01


def test_trees_find_what_no_line_follows():
    random, differences = pairs()
    signal = np.sign(differences[:, 0]) * np.where(np.abs(differences[:, 0]) < 1, 1.0, -1.0)
    target = signal + 0.3 * random.normal(size=600)
    assert np.corrcoef(cross_fit(boosted, differences, target, FOLD), signal)[0, 1] > 0.9
    assert np.corrcoef(cross_fit(ridge, differences, target, FOLD), signal)[0, 1] < 0.4


@pytest.mark.parametrize("learner", [ridge, boosted])
def test_swapping_the_sides_of_pairs_swaps_their_predictions_alone(learner):
    random, differences = pairs()
    target = differences[:, 0] ** 3 + random.normal(size=600)
    flip = np.where(random.random(600) < 0.5, -1.0, 1.0)
    one = cross_fit(learner, differences, target, FOLD)
    other = cross_fit(learner, flip[:, None] * differences, flip * target, FOLD)
    np.testing.assert_allclose(other, flip * one, rtol=1e-6, atol=1e-9)


def test_a_pair_is_predicted_from_other_folds_only():
    _, differences = pairs()
    target = differences[:, 0].copy()
    before = cross_fit(ridge, differences, target, FOLD)
    target[FOLD == 2] += 100
    after = cross_fit(ridge, differences, target, FOLD)
    np.testing.assert_array_equal(before[FOLD == 2], after[FOLD == 2])
    assert not np.allclose(before[FOLD != 2], after[FOLD != 2])
    assert not cross_fit(ridge, differences, target, np.zeros(600, dtype=int)).any()


@pytest.mark.parametrize("matrix", [np.asarray, scipy.sparse.csr_array])
def test_a_row_of_weight_k_is_worth_k_equal_rows(matrix):
    random, differences = pairs()
    target = differences[:, 0] ** 3 + random.normal(size=600)
    times = random.integers(1, 4, 600)
    several = cross_fit(
        ridge, matrix(np.repeat(differences, times, axis=0)), np.repeat(target, times), np.repeat(FOLD, times)
    )
    weighted = cross_fit(ridge, matrix(differences), target, FOLD, times.astype(float))
    # The penalty is chosen by leaving out a row, and not all its copies.
    np.testing.assert_allclose(np.repeat(weighted, times), several, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("learner", [ridge, boosted])
def test_pairs_of_hardly_any_weight_are_not_learnt(learner):
    _, differences = pairs()
    first = np.arange(600) % 2 == 0
    target = np.where(first, differences[:, 0], -differences[:, 0])
    weighted = cross_fit(learner, differences, target, np.arange(600) // 300, np.where(first, 1.0, 1e-4))
    assert np.corrcoef(weighted, differences[:, 0])[0, 1] > 0.9


def test_a_sparse_matrix_gives_what_a_dense_one_gives():
    random, differences = pairs()
    differences[np.abs(differences) < 1] = 0
    target = differences[:, 1] + random.normal(size=600)
    np.testing.assert_allclose(
        cross_fit(ridge, scipy.sparse.csr_array(differences), target, FOLD),
        cross_fit(ridge, differences, target, FOLD),
        rtol=1e-3,
        atol=1e-3,
    )


def test_with_many_rows_the_penalty_chosen_on_some_serves_all():
    random = np.random.default_rng(0)
    differences = random.normal(size=(8000, 6))
    target = differences @ [1.0, -2.0, 0, 0, 0.5, 0] + random.normal(size=8000)
    predict = ridge(differences, target, np.ones(8000))
    np.testing.assert_allclose(predict(np.eye(6)), np.linalg.lstsq(differences, target, rcond=None)[0], atol=0.01)


def test_columns_that_never_differ_change_nothing():
    random, differences = pairs()
    target = np.sin(2 * differences[:, 0]) + 0.1 * random.normal(size=600)
    wider = np.insert(differences, [0, 3, 6], 0.0, axis=1)
    np.testing.assert_array_equal(
        cross_fit(boosted, wider, target, FOLD), cross_fit(boosted, differences, target, FOLD)
    )
    assert not cross_fit(boosted, np.zeros((600, 3)), target, FOLD).any()


AT_ONCE = """
import sys, warnings
import numpy as np
from rm.stats import cross_fit
from rm.stats.threads import in_parallel

sys.setswitchinterval(1e-6)  # threads take turns all the time
cross_fit._NUM_TREES = 1
differences = np.random.default_rng(0).normal(size=(60, 6))
warnings.simplefilter("always")
in_parallel(lambda _: cross_fit.boosted(differences, differences[:, 0], np.ones(60))(differences), range(100))
print("done")
"""


def test_trees_that_grow_at_once_do_not_warn():
    """In a process of its own: scikit-learn warns too where a thread of another test has its warnings in hand."""
    ended = subprocess.run([sys.executable, "-c", AT_ONCE], capture_output=True, text=True, check=False)
    assert (ended.stdout, [line for line in ended.stderr.splitlines() if "sklearn" in line]) == ("done\n", [])

import math
from dataclasses import astuple

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from rm.stats import clustered as stats_clustered
from rm.stats.correlation import pearson, spearman
from rm.stats.logistic import logistic


def value(statistic, weights):
    return float(statistic(np.atleast_2d(np.asarray(weights, dtype=np.float64)))[0])


@st.composite
def clustered(draw):
    """Two variables with ties in both, their clusters, and how often a resample holds each cluster."""
    num_clusters = draw(st.integers(1, 6))
    size = draw(st.integers(1, 25))
    columns = [draw(st.lists(st.integers(-4, 4), min_size=size, max_size=size)) for _ in range(2)]
    clusters = draw(st.lists(st.integers(0, num_clusters - 1), min_size=size, max_size=size))
    counts = draw(st.lists(st.integers(0, 3), min_size=num_clusters, max_size=num_clusters))
    scale = draw(st.sampled_from([1.0, 0.1, 1e-6, 1e6]))
    x, y = np.array(columns[0]) * scale + draw(st.sampled_from([0.0, 1e3])) * scale, np.array(columns[1], dtype=float)
    return x, y, np.array(clusters), num_clusters, np.array(counts)


@given(data=clustered(), seed=st.integers(0, 99))
def test_a_pair_of_weight_k_counts_as_k_pairs_of_its_cluster(data, seed):
    x, y, clusters, num_clusters, counts = data
    times = np.random.default_rng(seed).integers(1, 4, len(x))
    weight = times.astype(float)

    def both(statistic, *columns):
        once = statistic(*columns, clusters, num_clusters, weight=weight)
        several = (np.repeat(each, times, axis=0) for each in (*columns, clusters))
        return once, statistic(*several, num_clusters)

    statistics = (
        both(stats_clustered.mean, x),
        both(pearson, x, y),
        both(logistic, np.column_stack([y, np.ones(len(y))]), (x > 0).astype(float)),
    )
    for weights in (np.ones((1, num_clusters)), counts[None].astype(float)):
        for once, several in statistics:
            np.testing.assert_allclose(once(weights), several(weights), rtol=1e-6, atol=1e-6)


def test_a_mean_of_some_values_is_of_their_weights():
    values, weight, where = np.array([0.0, 1.0, 1.0]), np.array([1.0, 3.0, 5.0]), np.array([True, True, False])
    assert value(stats_clustered.mean(values, np.arange(3), 3, where, weight), np.ones(3)) == 0.75


CORRELATIONS = {
    "pearson": (pearson, scipy.stats.pearsonr),
    "spearman": (spearman, scipy.stats.spearmanr),
}


@pytest.mark.parametrize("kind", CORRELATIONS)
@given(data=clustered())
def test_correlations_match_scipy_on_the_rows_of_a_resample(kind, data):
    ours, oracle = CORRELATIONS[kind]
    x, y, clusters, num_clusters, counts = data
    for weights in (np.ones(num_clusters, dtype=int), counts):
        rows = np.repeat(np.arange(len(x)), weights[clusters])
        found = value(ours(x, y, clusters, num_clusters), weights)
        if len(rows) and np.ptp(x[rows]) > 0 and np.ptp(y[rows]) > 0:
            assert found == pytest.approx(oracle(x[rows], y[rows]).statistic, abs=1e-10)
        else:
            assert math.isnan(found)


@pytest.mark.parametrize("kind", CORRELATIONS)
def test_correlations_of_continuous_values_match_scipy(kind):
    ours, oracle = CORRELATIONS[kind]
    generator = np.random.default_rng(0)
    x = generator.normal(size=500)
    y = 0.5 * x + generator.normal(size=500)
    found = value(ours(x, y, np.arange(500), 500), np.ones(500))
    assert found == pytest.approx(oracle(x, y).statistic, abs=1e-10)


def test_many_resamples_at_once_are_as_one_by_one():
    generator = np.random.default_rng(1)
    x, y, clusters = generator.normal(size=40), generator.integers(3, size=40) * 1.0, generator.integers(9, size=40)
    weights = generator.integers(4, size=(7, 9)).astype(float)
    statistics = [
        pearson(x, y, clusters, 9),
        spearman(x, y, clusters, 9),
        stats_clustered.mean(x, clusters, 9, y > 0),
    ]
    for statistic in statistics:
        together = statistic(weights)
        assert together.shape == (7,)
        np.testing.assert_allclose(together, [value(statistic, row) for row in weights], rtol=1e-12)


def test_a_large_offset_does_not_change_a_correlation():
    generator = np.random.default_rng(2)
    x, y = generator.normal(size=60), generator.normal(size=60)
    near, far = (value(pearson(x + offset, y, np.arange(60), 60), np.ones(60)) for offset in (0.0, 1e8))
    assert far == pytest.approx(near, abs=1e-6)


@given(clustered(), st.data())
def test_a_mean_is_that_of_the_rows_of_a_resample(data, drawn):
    x, _, clusters, num_clusters, counts = data
    where = np.array(drawn.draw(st.lists(st.booleans(), min_size=len(x), max_size=len(x))))
    rows = np.repeat(np.arange(len(x)), counts[clusters])
    assume(len(rows))
    whole = value(stats_clustered.mean(x, clusters, num_clusters), counts)
    assert whole == pytest.approx(x[rows].mean(), rel=1e-10, abs=1e-12)
    some = value(stats_clustered.mean(x, clusters, num_clusters, where), counts)
    kept = rows[where[rows]]
    assert some == pytest.approx(x[kept].mean(), rel=1e-10, abs=1e-12) if len(kept) else math.isnan(some)


def test_a_mean_is_over_rows_and_not_over_clusters():
    clusters = np.array([0, 0, 0, 1])
    assert value(stats_clustered.mean(np.array([1.0, 1, 1, 0]), clusters, 2), [1, 1]) == 0.75


def test_a_difference_is_taken_on_the_same_resample():
    clusters, num_clusters = np.arange(10), 10
    x = np.arange(10.0)
    gap = stats_clustered.difference(
        stats_clustered.mean(x + 3, clusters, num_clusters), stats_clustered.mean(x, clusters, num_clusters)
    )
    [interval] = stats_clustered.bootstrap({"gap": gap}, num_clusters, 100, seed=0).values()
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((3, 3, 3))


@given(clustered())
def test_within_leaves_what_differs_inside_a_cluster(data):
    x, _, clusters, num_clusters, _ = data
    found = stats_clustered.demean(x, clusters, num_clusters)
    for cluster in set(clusters.tolist()):
        inside = clusters == cluster
        np.testing.assert_allclose(found[inside], x[inside] - x[inside].mean(), atol=1e-9 * np.abs(x).max() + 1e-15)
        if np.ptp(x[inside]) == 0:
            assert not found[inside].any()  # rounding would look like a difference


def test_within_does_not_see_differences_between_clusters():
    generator = np.random.default_rng(3)
    x, clusters = generator.normal(size=30), np.repeat(np.arange(10), 3)
    shifted = stats_clustered.demean(x + 100 * clusters, clusters, 10)
    np.testing.assert_allclose(shifted, stats_clustered.demean(x, clusters, 10), atol=1e-10)


@pytest.mark.parametrize("level", [0.0, 0.1, 1000.3])
def test_within_has_the_same_ties_in_any_order_and_at_any_level(level):
    rewards = [np.roll([1.0, 0.0, 0.0], place % 3) + level * place for place in range(300)]
    rewards += [np.array([0.3, 0.1]), np.array([0.2, 0.0]), np.array([1e12, 0.0, 0.05])]
    clusters = np.repeat(np.arange(303), [len(each) for each in rewards])
    found = stats_clustered.demean(np.concatenate(rewards), clusters, 303)
    assert len(set(found[:900].tolist())) == 2
    assert found[:900].max() == pytest.approx(2 / 3, rel=1e-9)
    assert found[900] == found[902] == pytest.approx(0.1)
    assert found[901] == found[903]


def undefined(x, y):
    clusters = np.arange(len(x))
    return {
        "pearson": pearson(x, y, clusters, len(x)),
        "spearman": spearman(x, y, clusters, len(x)),
        "mean of none": stats_clustered.mean(x, clusters, len(x), np.zeros(len(x), dtype=bool)),
        "difference to none": stats_clustered.difference(
            stats_clustered.mean(x, clusters, len(x)),
            stats_clustered.mean(x, clusters, len(x), np.zeros(len(x), dtype=bool)),
        ),
    }


@pytest.mark.parametrize("constant", [0.0, 0.1, -7e5])
def test_what_is_undefined_is_nan_with_a_nan_interval(constant):
    x, y = np.full(30, constant), np.random.default_rng(0).normal(size=30)
    for statistics in (undefined(x, y), undefined(y, x)):
        for interval in stats_clustered.bootstrap(statistics, 30, 100, seed=0).values():
            assert all(math.isnan(number) for number in (interval.estimate, interval.low, interval.high))


def test_constant_values_within_clusters_of_any_size_have_no_correlation():
    clusters = np.repeat(np.arange(6), [1, 2, 3, 4, 5, 6])
    reward = stats_clustered.demean(np.full(21, 0.1), clusters, 6)
    length = stats_clustered.demean(np.arange(21.0), clusters, 6)
    for correlate in (pearson, spearman):
        assert math.isnan(value(correlate(reward, length, clusters, 6), np.ones(6)))


def test_without_clusters_everything_is_undefined():
    empty = stats_clustered.mean(np.array([]), np.array([], dtype=np.int64), 0)
    [interval] = stats_clustered.bootstrap({"mean": empty}, 0, 100, seed=0).values()
    assert math.isnan(interval.estimate)
    assert math.isnan(interval.low)


def test_an_interval_is_undefined_if_too_many_resamples_are():
    clusters = np.arange(40)
    few, many = np.arange(40) < 1, np.arange(40) < 20
    statistics = {
        name: stats_clustered.mean(clusters * 1.0, clusters, 40, where)
        for name, where in [("few", few), ("many", many)]
    }
    found = stats_clustered.bootstrap(
        statistics, 40, 200, seed=0
    )  # one cluster of 40 is missing in 36 % of the resamples
    assert math.isfinite(found["few"].estimate)
    assert math.isnan(found["few"].low)
    assert math.isnan(found["few"].high)
    assert found["many"].low < found["many"].estimate < found["many"].high


@pytest.mark.parametrize("correlate", [pearson, spearman])
def test_clusters_without_data_may_fill_a_whole_resample(correlate):
    x, y, clusters = np.array([1.0, 2, 3]), np.array([1.0, 3, 2]), np.array([0, 0, 0])
    assert math.isnan(value(correlate(x, y, clusters, 4), [0, 2, 1, 1]))
    assert value(correlate(x, y, clusters, 4), [1, 1, 1, 1]) == pytest.approx(0.5)


def test_the_bootstrap_depends_on_its_seed_alone():
    x = np.random.default_rng(0).normal(size=30)
    statistics = {"mean": stats_clustered.mean(x, np.arange(30), 30)}
    np.random.seed(1)
    one = stats_clustered.bootstrap(statistics, 30, 100, seed=5)
    assert stats_clustered.bootstrap(statistics, 30, 100, seed=5) == one
    other = stats_clustered.bootstrap(statistics, 30, 100, seed=6)["mean"]
    assert other.estimate == one["mean"].estimate == pytest.approx(x.mean())
    assert (other.low, other.high) != (one["mean"].low, one["mean"].high)


def test_a_statistic_has_the_same_interval_whatever_stands_beside_it():
    x = np.random.default_rng(0).normal(size=30)
    mean, other = stats_clustered.mean(x, np.arange(30), 30), stats_clustered.mean(x**2, np.arange(30), 30)
    alone = stats_clustered.bootstrap({"mean": mean}, 30, 100, seed=5)["mean"]
    beside = stats_clustered.bootstrap({"other": other, "mean": mean}, 30, 100, seed=5)["mean"]
    assert astuple(beside) == pytest.approx(astuple(alone), rel=1e-12)


def test_the_interval_matches_a_slow_bootstrap_of_whole_clusters():
    generator = np.random.default_rng(4)
    clusters = np.sort(generator.integers(20, size=90))
    x = generator.normal(size=90) + clusters
    interval = stats_clustered.bootstrap({"mean": stats_clustered.mean(x, clusters, 20)}, 20, 1000, seed=0)["mean"]
    slow = []
    for _ in range(4000):
        drawn = np.concatenate([x[clusters == cluster] for cluster in generator.integers(20, size=20)])
        slow.append(drawn.mean())
    low, high = np.quantile(slow, [0.025, 0.975])
    width = high - low
    assert interval.low == pytest.approx(low, abs=0.1 * width)
    assert interval.high == pytest.approx(high, abs=0.1 * width)


def test_intervals_of_clustered_data_cover_and_those_that_ignore_clusters_do_not():
    generator = np.random.default_rng(11)
    num_clusters, size, num_simulations = 30, 5, 300
    clusters = np.repeat(np.arange(num_clusters), size)
    single = np.arange(len(clusters))
    covered = {"prompts": 0, "pairs": 0}
    for seed in range(num_simulations):
        x = np.repeat(generator.normal(size=num_clusters), size) + generator.normal(size=len(clusters))
        cases = {"prompts": (clusters, num_clusters), "pairs": (single, len(single))}
        for name, (unit, count) in cases.items():
            interval = stats_clustered.bootstrap({"mean": stats_clustered.mean(x, unit, count)}, count, 200, seed)[
                "mean"
            ]
            covered[name] += interval.low <= 0 <= interval.high
    assert 0.90 <= covered["prompts"] / num_simulations <= 0.985
    assert covered["pairs"] / num_simulations < 0.8


@given(st.integers(1, 500), st.data())
def test_wilson_interval_matches_scipy(num_trials, data):
    num_successes = data.draw(st.integers(0, num_trials))
    expected = scipy.stats.binomtest(num_successes, num_trials).proportion_ci(method="wilson")
    found = stats_clustered.wilson_interval(num_successes, num_trials)
    assert found.estimate == num_successes / num_trials
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-12)


@given(st.integers(1, 200), st.data())
def test_half_a_success_lies_between_its_neighbours(num_trials, data):
    half = data.draw(st.integers(0, num_trials - 1)) + 0.5
    below, found, above = (stats_clustered.wilson_interval(half + step, num_trials) for step in (-0.5, 0, 0.5))
    assert below.low <= found.low <= above.low
    assert below.high <= found.high <= above.high
    assert 0 <= found.low < found.estimate < found.high <= 1


def test_no_trials_give_no_proportion():
    assert all(
        math.isnan(number)
        for number in (stats_clustered.wilson_interval(0, 0).low, stats_clustered.wilson_interval(0, 0).estimate)
    )


def slow_logistic(inputs, targets, each):
    """Coefficients by a general solver of equations."""

    def slope(coefficients):
        return (each * (targets - scipy.special.expit(inputs @ coefficients))) @ inputs - coefficients

    return scipy.optimize.root(slope, np.zeros(inputs.shape[1]), tol=1e-14).x


def test_logistic_coefficients_are_those_of_another_solver_on_the_resampled_rows():
    generator = np.random.default_rng(0)
    inputs, clusters = generator.normal(size=(300, 3)), generator.integers(40, size=300)
    targets = (generator.random(300) < 1 / (1 + np.exp(-inputs @ [1.0, -0.5, 0.0]))).astype(float)
    weights = np.stack([np.ones(40), generator.multinomial(40, np.full(40, 1 / 40))]).astype(float)
    values = logistic(inputs, targets, clusters, 40)(weights)
    for row, each in zip(values, weights[:, clusters], strict=True):
        np.testing.assert_allclose(row, slow_logistic(inputs, targets, each), atol=1e-10)


def test_logistic_coefficients_stay_finite_where_one_input_tells_all_and_mirror_with_the_pairs():
    inputs = np.linspace(-1, 1, 50)[:, None]
    targets, clusters = (inputs[:, 0] > 0).astype(float), np.arange(50)
    everything = np.ones((1, 50))
    (value,) = logistic(inputs, targets, clusters, 50)(everything)
    assert np.isfinite(value).all() and value > 1
    np.testing.assert_allclose(logistic(-inputs, 1 - targets, clusters, 50)(everything), [value])


def test_values_that_are_computed_together_are_resampled_with_the_others():
    generator = np.random.default_rng(1)
    one, other, clusters = generator.normal(size=60), generator.normal(size=60), np.arange(60)
    means = [stats_clustered.mean(values, clusters, 60) for values in (one, other)]
    together = stats_clustered.bootstrap(
        {("a", "b"): stats_clustered.combined(lambda *both: np.stack(both, axis=1), *means)}, 60, 100, 3
    )
    apart = stats_clustered.bootstrap({"a": means[0], "b": means[1]}, 60, 100, 3)
    for name, interval in apart.items():
        assert astuple(together[name]) == pytest.approx(astuple(interval), rel=1e-12)


def test_a_regression_on_nothing_has_no_coefficients():
    statistic = logistic(np.empty((5, 0)), np.ones(5), np.arange(5), 5)
    assert statistic(np.ones((3, 5))).shape == (3, 0)


def test_a_regression_on_rare_marks_converges_where_whole_newton_steps_do_not():
    generator = np.random.default_rng(17)
    rare = (generator.random((3000, 6)) < 0.004) * generator.choice([-1.0, 1.0], (3000, 6)) * 16.0
    inputs = np.column_stack([np.ones(3000), rare])
    targets = (generator.random(3000) < 1 / (1 + np.exp(-(1.2 + rare @ [0.3, -0.2, 0, 0, 0.4, 0])))).astype(float)
    weights = np.stack([np.ones(3000), generator.multinomial(3000, np.full(3000, 1 / 3000))]).astype(float)
    values = logistic(inputs, targets, np.arange(3000), 3000)(weights)
    for row, of_rows in zip(values, weights, strict=True):
        model = LogisticRegression(fit_intercept=False, C=1.0, tol=1e-10, max_iter=10_000)
        model.fit(inputs, targets, sample_weight=of_rows)
        np.testing.assert_allclose(row, model.coef_[0], atol=1e-4)

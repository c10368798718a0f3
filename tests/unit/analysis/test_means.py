"""Means and their intervals, against SciPy's own tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from distill.analysis.means import difference, mean


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("n", [2, 3, 7])
def test_the_interval_of_a_mean_is_students(rng, n):
    values = rng.normal(40, 3, n)
    found, known = mean(values), stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), rel=1e-12)
    assert (found.value, found.deviation) == pytest.approx((np.mean(values), np.std(values, ddof=1)), rel=1e-12)
    assert (found.n, found.independent) == (n, n)


def test_repeats_are_what_is_independent(rng):
    """Models of one repeat share teacher and structures: the interval is that of the repeats' means."""
    values, repeats = rng.normal(40, 3, 9) + np.repeat([0, 5, 9], 3), np.repeat([0, 1, 2], 3)
    found, known = mean(values, repeats), mean([values[repeats == r].mean() for r in range(3)])
    assert (found.value, found.low, found.high) == pytest.approx((known.value, known.low, known.high), rel=1e-12)
    assert (found.n, found.independent) == (9, 3)
    assert found.high - found.low > mean(values).high - mean(values).low
    assert mean(values, np.zeros(9)) == mean(values)


def test_one_number_cannot_tell():
    one, none = mean([3.0]), mean([])
    assert (one.value, one.n) == (3.0, 1) and math.isnan(one.low) and math.isnan(one.deviation)
    assert math.isnan(none.value) and none.n == 0


def test_the_interval_of_a_difference_is_welchs(rng):
    first, second = rng.normal(40, 3, 3), rng.normal(30, 8, 4)
    found = difference(first, second)
    known = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), rel=1e-10)
    assert found.value == pytest.approx(first.mean() - second.mean(), rel=1e-12)
    assert math.isnan(difference(first, [1.0]).low)
    assert math.isnan(difference([], [1.0]).value)


def test_intervals_hold_the_truth_as_often_as_they_say(rng):
    """Of 2000 intervals of three seeds each, 95 % hold the true mean, within four standard errors of that share."""
    found = [mean(rng.normal(40, 3, 3)) for _ in range(2000)]
    share = np.mean([one.low <= 40 <= one.high for one in found])
    assert share == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 2000))

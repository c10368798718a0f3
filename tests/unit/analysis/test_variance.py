"""Components of variance, against SciPy's analysis of variance and against known scatter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from distill.analysis.variance import components

REPEATS = np.repeat(np.arange(4), 3)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_components_are_those_of_the_analysis_of_variance(rng):
    """F = MS(between) / MS(within) = 1 + n chain² / fit² for equally many seeds."""
    values = rng.normal(0, 1, 12) + np.repeat(rng.normal(0, 5, 4), 3)
    found = components(values, REPEATS)
    known = stats.f_oneway(*[values[one == REPEATS] for one in range(4)]).statistic
    assert 1 + 3 * found.chain**2 / found.fit**2 == pytest.approx(known, rel=1e-10)
    assert found.share == pytest.approx(found.chain**2 / (found.chain**2 + found.fit**2), rel=1e-12)


def test_a_change_of_whole_repeats_is_of_the_chain_alone(rng):
    values = rng.normal(0, 1, 12)
    shifted = components(values + np.repeat([0, 10, 20, 30], 3), REPEATS)
    assert shifted.fit == pytest.approx(components(values, REPEATS).fit, rel=1e-9)
    assert shifted.chain > 10


@pytest.mark.parametrize("sizes", [(3, 3), (2, 5)])
def test_known_scatter_is_found_on_average(rng, sizes):
    """Variances are unbiased: 400 repeats give both within five standard errors, for unequal numbers of seeds too."""
    repeats = np.repeat(np.arange(400), np.tile(sizes, 200))
    values = rng.normal(0, 2, len(repeats)) + rng.normal(0, 3, 400)[repeats]
    found = components(values, repeats)
    assert found.fit**2 == pytest.approx(4, abs=5 * 4 * math.sqrt(2 / (len(repeats) - 400)))
    assert found.chain**2 == pytest.approx(9, abs=5 * (9 + 4 / 3) * math.sqrt(2 / 400))


def test_what_cannot_be_told_is_not_a_number(rng):
    values = rng.normal(0, 1, 3)
    once, single = components(values, [0, 0, 0]), components(values, [0, 1, 2])
    assert once.fit == pytest.approx(values.std(ddof=1), rel=1e-12) and math.isnan(once.chain)
    assert math.isnan(single.fit) and math.isnan(single.chain) and math.isnan(single.share)
    assert components([1.0, 2.0, 1.0, 2.0], [0, 0, 1, 1]).chain == 0

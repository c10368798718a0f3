"""Power laws, against laws that are known and against SciPy's regression."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from distill.analysis.power_law import fit_power_law

SIZES = np.repeat([30, 100, 300, 1000], 3)


def test_a_law_is_found_again():
    law = fit_power_law(SIZES, 500 * SIZES**-0.3)
    assert law is not None
    assert (law.amplitude, law.exponent) == pytest.approx((500, 0.3), rel=1e-9)
    assert (law.low, law.high) == pytest.approx((0.3, 0.3), abs=1e-6)
    assert law.at([30, 90]) == pytest.approx(500 * np.array([30, 90]) ** -0.3, rel=1e-9)
    assert (law.n, law.sizes) == (12, 4)


def test_the_interval_is_that_of_a_line_through_logarithms():
    errors = 500 * SIZES**-0.3 * np.exp(np.random.default_rng(0).normal(0, 0.05, 12))
    law, line = fit_power_law(SIZES, errors), stats.linregress(np.log(SIZES), np.log(errors))
    half = stats.t.ppf(0.975, 10) * line.stderr
    assert law is not None
    assert (law.exponent, law.low, law.high) == pytest.approx((-line.slope, -line.slope - half, -line.slope + half))


def test_two_sizes_cannot_tell_and_one_is_no_law():
    law = fit_power_law([30, 300, 300], [100, 50, 52])
    assert law is not None and math.isnan(law.low)
    assert fit_power_law([30, 30], [100, 90]) is None

"""How much labels count that teachers disagree about, worked out by hand."""

from __future__ import annotations

import numpy as np

from distill.training.disagreement import unknown_to_all, weights_by_spread


def test_weights_by_hand() -> None:
    """Spreads 1, 2 and 3: the median is 2, inverse variances with that floor 1/5, 1/8 and 1/13, their mean 0.1339."""
    found = weights_by_spread(np.array([1.0, 2.0, 9.0, 3.0]), np.array([True, True, False, True]))
    mean = (1 / 5 + 1 / 8 + 1 / 13) / 3
    np.testing.assert_allclose(found, [1 / 5 / mean, 1 / 8 / mean, 1.0, 1 / 13 / mean], rtol=1e-14)


def test_no_label_counts_more_than_twice_a_median_one() -> None:
    spread = np.array([0.0, 1.0, 1.0, 1.0, 1e6])
    weights = weights_by_spread(spread, np.ones(5, dtype=bool))
    assert weights[0] / weights[1] == 2.0 and 0 < weights[4] < 1e-11


def test_equal_spreads_and_none_weigh_alike() -> None:
    for value in (0.0, 0.3, 1e-9):
        np.testing.assert_allclose(weights_by_spread(np.full(7, value), np.ones(7, dtype=bool)), 1.0, rtol=1e-15)
    np.testing.assert_array_equal(weights_by_spread(np.array([1.0, 2.0]), np.zeros(2, dtype=bool)), [1, 1])


def test_the_limit_follows_the_distribution_of_what_is_judged() -> None:
    spread, judged = np.array([1.0, 2.0, 3.0, 11.0, 50.0]), np.array([True, True, True, True, False])
    unknown, most = unknown_to_all(spread, judged, 4.0)
    assert most == 10.0 and unknown.tolist() == [False, False, False, True, False]
    scaled, _ = unknown_to_all(100 * spread, judged, 4.0)
    assert scaled.tolist() == unknown.tolist()  # in whatever unit
    assert not unknown_to_all(spread, judged, None)[0].any()

"""Verdicts over replicas: false alarms, power and coverage on curves and scalars whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distill.analysis.replicas import judge_curves, judge_scalars, permutation_test, squared_distance
from distill.base.errors import UserError

PLACES = np.arange(60)
SMOOTH = np.linalg.cholesky(np.exp(-(((PLACES[:, None] - PLACES) / 3) ** 2) / 2) + 1e-6 * np.eye(60))
"""Noise of neighbouring bins goes together."""
BUMP = np.exp(-(((PLACES - 20) / 5) ** 2) / 2)
NOISE = 0.03


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def curves(rng, replicas: int, height: float = 0.0):
    return height * BUMP + NOISE * rng.normal(size=(replicas, 60)) @ SMOOTH.T


@pytest.mark.parametrize(("first", "second"), [(3, 4), (4, 4)])
def test_equal_models_are_told_apart_as_rarely_as_is_said(rng, first, second):
    """At most 5 % of 300, within three standard errors of that share."""
    alarms = [permutation_test(curves(rng, first), curves(rng, second)) <= 0.05 for _ in range(300)]
    assert np.mean(alarms) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


def test_different_models_are_told_apart(rng):
    found = [permutation_test(curves(rng, 4), curves(rng, 4, 0.2)) <= 0.05 for _ in range(50)]
    assert np.mean(found) > 0.95


def test_two_and_four_replicas_never_tell(rng):
    assert permutation_test(curves(rng, 2), 100 + curves(rng, 4)) == pytest.approx(1 / 15)
    assert permutation_test(curves(rng, 3), 100 + curves(rng, 4)) == pytest.approx(1 / 35)
    assert permutation_test(curves(rng, 12), 100 + curves(rng, 12)) < 0.001  # relabellings are drawn


@pytest.mark.parametrize("height", [0.0, 0.05, 0.3])
def test_the_squared_distance_is_unbiased_and_its_interval_holds_the_truth(rng, height):
    truth = height**2 * (BUMP**2).mean()
    found = [squared_distance(curves(rng, 4, height), curves(rng, 4)) for _ in range(400)]
    values = np.array([one.value for one in found])
    assert values.mean() == pytest.approx(truth, abs=4 * values.std() / 20)
    assert np.mean([one.low < truth < one.high for one in found]) > 0.89


def test_verdicts_on_curves(rng):
    """A root mean square distance of 0.03 is asked about: 0 passes, 0.12 fails, and neither errs in more than 5 %."""
    scale = 1 / math.sqrt((BUMP**2).mean())
    equal = [judge_curves(curves(rng, 4), curves(rng, 4), 0.03) for _ in range(100)]
    other = [judge_curves(curves(rng, 4, 0.12 * scale), curves(rng, 4), 0.03) for _ in range(100)]
    bound = [judge_curves(curves(rng, 4, 0.03 * scale), curves(rng, 4), 0.03) for _ in range(200)]
    assert np.mean([one.outcome == "pass" for one in equal]) > 0.8
    assert np.mean([one.outcome == "fail" for one in other]) > 0.95
    assert np.mean([one.outcome == "cannot tell" for one in bound]) > 0.85
    assert np.mean([one.indistinguishable for one in equal]) > 0.7
    assert not any(one.indistinguishable for one in other)


def test_the_time_that_is_named_decides(rng):
    """New replicas twice as long as named, so with less noise, decide most of what was not decided."""
    height, tolerance = 0.08, 0.04  # the distance is 0.03
    first = [judge_curves(curves(rng, 4, height), curves(rng, 4), tolerance) for _ in range(60)]
    open_ones = [one for one in first if one.outcome == "cannot tell"]
    assert len(open_ones) > 20 and all(one.longer > 1 for one in open_ones)
    decided = []
    for one in open_ones:
        model, reference = curves(rng, 4) / math.sqrt(2 * one.longer), curves(rng, 4) / math.sqrt(2 * one.longer)
        decided.append(judge_curves(model + height * BUMP, reference, tolerance).outcome != "cannot tell")
    assert np.mean(decided) > 0.7


def test_verdicts_on_scalars(rng):
    equal = [judge_scalars(rng.normal(3, 0.1, 4), rng.normal(3, 0.1, 4), 0.5) for _ in range(200)]
    other = [judge_scalars(rng.normal(4, 0.1, 4), rng.normal(3, 0.1, 4), 0.5) for _ in range(200)]
    bound = [judge_scalars(rng.normal(2.5, 0.1, 4), rng.normal(3, 0.1, 4), 0.5) for _ in range(400)]
    assert np.mean([one.outcome == "pass" for one in equal]) > 0.95
    assert np.mean([one.outcome == "fail" for one in other]) > 0.95
    assert np.mean([one.outcome == "cannot tell" for one in bound]) > 0.91


def test_half_an_interval_falls_with_the_root_of_time():
    found = judge_scalars([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 1.0)
    assert found.value == 0 and found.outcome == "cannot tell"
    assert found.longer == pytest.approx(found.high**2)
    assert judge_scalars([1.0, 2.0], [0.0, 1.0], 1.0).longer == math.inf


def test_a_single_replica_cannot_tell(rng):
    for found in (judge_scalars([1.0], [1.0, 1.1], 5.0), judge_curves(curves(rng, 1), curves(rng, 4), 5.0)):
        assert found.outcome == "cannot tell" and math.isnan(found.longer)


def test_what_cannot_be_compared_is_refused(rng):
    with pytest.raises(UserError, match="are \\(4, 60\\) and \\(4, 59\\)"):
        permutation_test(curves(rng, 4), curves(rng, 4)[:, 1:])
    with pytest.raises(UserError, match="finite"):
        squared_distance(curves(rng, 4), np.full((4, 60), np.nan))
    with pytest.raises(UserError, match="positive"):
        judge_scalars([1.0], [1.0], 0.0)

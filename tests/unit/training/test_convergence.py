"""What is said of the end of a fit is true of curves whose course is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distill.training.convergence import convergence
from distill.training.curve import Point
from distill.training.gradient.schedule import Cosine


def curve(losses: list[float], rates: list[float] | None = None, interval: int = 10) -> list[Point]:
    rates = rates or [1e-3] * len(losses)
    return [
        Point(interval * (k + 1), loss, loss, 0.0, 0.0, 0.0, rate, 0.0)
        for k, (loss, rate) in enumerate(zip(losses, rates, strict=True))
    ]


def noisy(losses: list[float], size: float) -> list[float]:
    rng = np.random.default_rng(0)
    return [loss * math.exp(rng.normal(0, size)) for loss in losses]


def test_a_steady_fall_would_go_on() -> None:
    found = convergence(curve(noisy([math.exp(-0.02 * k) for k in range(30)], 0.005)))
    assert found.state == "improving"
    # ten validations make nine intervals of 2 % each, or ten
    assert found.change == pytest.approx(math.expm1(-0.02 * found.steps / 10), abs=3 * found.error)
    assert f"{found.steps} more steps" in found.text and "of 300 steps" in found.text


def test_noise_around_a_constant_is_convergence() -> None:
    assert convergence(curve(noisy([1.0] * 30, 0.05))).state == "converged"


def test_a_loss_that_rises_again_is_past_its_best() -> None:
    found = convergence(curve([1 - 0.05 * k for k in range(10)] + [0.55 + 0.02 * k for k in range(1, 21)]))
    assert found.state == "worsening"
    assert "step 100 was the best" in found.text


def test_a_rate_that_falls_to_nothing_does_not_hide_that_the_loss_was_falling() -> None:
    """The loss falls with the summed rate; against the steps its last part is flat."""
    schedule, losses, rates, summed = Cosine(300), [], [], 0.0
    for step in range(10, 301, 10):
        rates.append(1e-3 * schedule.rate(step, []))
        summed += 10 * rates[-1]
        losses.append(math.exp(-2 * summed))
    found = convergence(curve(losses, rates))
    assert losses[-1] / losses[-4] > 0.98
    assert found.state == "improving"
    assert found.change == pytest.approx(-1 + math.exp(-2 * summed / 3), abs=0.02)


@pytest.mark.parametrize("losses", [[], [1.0, 0.9, 0.8], [1.0] * 20 + [math.nan], [0.0] * 20])
def test_nothing_is_said_of_what_cannot_be_told(losses: list[float]) -> None:
    found = convergence(curve(losses))
    assert found.state == "unknown" and not found.text
    assert all(isinstance(value, str | int) for value in found.summary().values())

"""The eigenvectors along which AdamW works: every direction has a pace of its own, and flat ones are held back."""

from __future__ import annotations

import numpy as np
import pytest

from distill.training.ace.axes import Axes

RNG = np.random.default_rng(0)
SIZE = 6
ROTATION = np.linalg.qr(RNG.normal(size=(SIZE, SIZE)))[0]
SQUARES = np.array([1e2, 1.0, 1e-1, 1e-2, 1e-3, 1e-4])
MOMENTS = ROTATION @ np.diag(SQUARES) @ ROTATION.T


@pytest.mark.parametrize("direction", range(SIZE))
def test_a_gradient_of_the_usual_size_gives_a_step_of_length_one(direction: int) -> None:
    """However steep the direction is; eigh sorts them, and their sign is arbitrary."""
    gradient = np.sqrt(SQUARES[direction]) * ROTATION[:, direction]
    step = Axes(MOMENTS, 1.0).step(gradient, gradient)
    # what limits steps along flat directions is 1e-4 of the steepest size, 10, against 0.01 here at least
    np.testing.assert_allclose(step, ROTATION[:, direction], atol=0.1)
    assert np.linalg.norm(step) == pytest.approx(1.0, abs=0.1)


def test_it_is_adamw_itself_where_the_axes_are_the_coefficients() -> None:
    gradient = RNG.normal(size=SIZE)
    found = Axes(np.diag(SQUARES), 1.0).step(gradient, gradient)
    squares = Axes.MEMORY * SQUARES + (1 - Axes.MEMORY) * gradient**2
    smallest = Axes.SMALLEST * np.sqrt(squares.max())
    np.testing.assert_allclose(found, gradient / (np.sqrt(squares) + smallest), rtol=1e-10)


def test_a_rotation_of_the_coefficients_rotates_the_step() -> None:
    gradient, mean = RNG.normal(size=(2, SIZE))
    other = np.linalg.qr(RNG.normal(size=(SIZE, SIZE)))[0]
    plain = Axes(MOMENTS, 1.0).step(gradient, mean)
    rotated = Axes(other @ MOMENTS @ other.T, 1.0).step(other @ gradient, other @ mean)
    np.testing.assert_allclose(rotated, other @ plain, rtol=1e-7, atol=1e-9)


def test_the_weight_undoes_the_zeros_that_the_mean_began_with() -> None:
    gradient = RNG.normal(size=SIZE)
    whole = Axes(MOMENTS, 1.0).step(gradient, gradient)
    np.testing.assert_allclose(Axes(0.3 * MOMENTS, 0.3).step(gradient, gradient), whole, rtol=1e-7)


def test_steps_along_what_was_never_steep_are_limited() -> None:
    """A direction without gradients so far is taken as one of 1e-4 of the steepest size, and learns at once."""
    squares = np.diag([1.0, 0.0])
    small = np.array([0.0, 1e-9])
    assert np.abs(Axes(squares, 1.0).step(small, small)).max() < 1e-4
    assert np.isfinite(Axes(np.zeros((2, 2)), 1.0).step(np.zeros(2), np.zeros(2))).all()
    axes = Axes(squares, 1.0)
    assert abs(axes.step(np.array([0.0, 1.0]), np.array([0.0, 1.0]))[1]) < 1 / np.sqrt(1 - Axes.MEMORY)

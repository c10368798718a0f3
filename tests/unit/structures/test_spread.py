"""Means and spreads of several labellings, against cases worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from distill.structures.frames import Frames
from distill.structures.spread import Spread, deviation, mean_of, shares_by_error, spread_of, weighted_mean


def test_shares_are_inverse_squares_of_the_errors() -> None:
    np.testing.assert_allclose(shares_by_error(np.array([1.0, 4.0])), [0.8, 0.2], rtol=1e-15)  # errors of 1 and 2
    np.testing.assert_array_equal(shares_by_error(np.array([2.0, np.nan, 2.0])), [0.5, 0, 0.5])
    np.testing.assert_array_equal(shares_by_error(np.array([0.0, 4.0])), [1, 0])  # a member that makes no error
    with pytest.raises(ValueError, match="no error is finite"):
        shares_by_error(np.array([np.nan, np.inf]))


def test_two_equal_members_deviate_by_their_distance_over_the_root_of_two() -> None:
    """The familiar estimate with n - 1."""
    values = np.array([[1.0, 5.0], [2.0, 5.0]])
    equal = np.array([0.5, 0.5])
    np.testing.assert_array_equal(weighted_mean(values, equal), [1.5, 5.0])
    np.testing.assert_allclose(deviation(values, equal), [1 / np.sqrt(2), 0.0], rtol=1e-15)
    many = np.random.default_rng(0).normal(size=(5, 7))
    np.testing.assert_allclose(deviation(many, np.full(5, 0.2)), many.std(axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_array_equal(deviation(many[:1], np.ones(1)), np.zeros(7))


def test_unequal_weights_by_hand() -> None:
    """Mean 0.75 · 0 + 0.25 · 4 = 1; variance (0.75 · 1 + 0.25 · 9) / (1 − 0.625) = 8."""
    values, shares = np.array([[0.0], [4.0]]), np.array([0.75, 0.25])
    np.testing.assert_allclose(weighted_mean(values, shares), [1.0], rtol=1e-15)
    np.testing.assert_allclose(deviation(values, shares), [np.sqrt(8.0)], rtol=1e-15)


def test_labels_are_joined_and_their_spread_is_per_atom(tmp_path: Path) -> None:
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 1]])
    frames = Frames.from_atoms([atoms, Atoms("H")])
    first = frames.with_labels(np.array([2.0, 1.0]), np.zeros((3, 3)), np.zeros((2, 3, 3)))
    forces = np.array([[3.0, 4.0, 0.0], [0, 0, 0], [0, 0, 2.0]])
    second = frames.with_labels(np.array([4.0, 1.0]), forces, None)
    equal = np.array([0.5, 0.5])
    mean, spread = mean_of([first, second], equal), spread_of([first, second], equal)
    np.testing.assert_array_equal(mean.energy, [3.0, 1.0])
    np.testing.assert_array_equal(mean.forces, forces / 2)
    assert mean.stress is None  # one of them has none
    np.testing.assert_allclose(spread.energy, [1 / np.sqrt(2), 0.0], rtol=1e-15)  # 1 and 2 eV/atom
    np.testing.assert_allclose(spread.forces, np.array([5.0, 0.0, 2.0]) / np.sqrt(2), rtol=1e-15)
    np.testing.assert_allclose(spread.of_structures(frames), [2.5, np.sqrt(2.0)], rtol=1e-15)
    spread.save(tmp_path / "spread.npz")
    again = Spread.load(tmp_path / "spread.npz")
    np.testing.assert_array_equal(again.forces, spread.forces)
    np.testing.assert_array_equal(again.energy, spread.energy)

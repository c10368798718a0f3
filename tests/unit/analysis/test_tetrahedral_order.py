"""Tetrahedral order: lattices of tetrahedra, a square, and directions without order."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from distill.analysis.tetrahedral_order import tetrahedral_order
from distill.structures.frames import Frames


def test_diamond_is_of_tetrahedra():
    frames = Frames.from_atoms([bulk("Si", a=5.43), bulk("Si", a=5.43, cubic=True)])
    assert tetrahedral_order(frames) == pytest.approx(np.ones(10), abs=1e-12)


def test_other_elements_do_not_count():
    """Zinc blende: zinc alone is face-centred cubic, with angles of 60, 90, 120 and 180°."""
    blende = Frames.from_atoms([bulk("ZnS", "zincblende", a=5.41)])
    assert tetrahedral_order(blende) == pytest.approx(np.ones(2), abs=1e-12)
    assert tetrahedral_order(blende, "Zn")[0] < 0.9


def test_a_square_is_none():
    """Four angles of 90° and two of 180°: q = 1 - 3/8 (4/9 + 8/9) = 1/2."""
    square = Atoms("Pt5", [[0, 0, 0], [2, 0, 0], [-2, 0, 0], [0, 2, 0], [0, -2, 0]])
    found = tetrahedral_order(Frames.from_atoms([square]), radius=2.5)
    assert found[0] == pytest.approx(0.5) and np.isnan(found[1:]).all()


def test_directions_without_order_have_none():
    """Mean 0 within five standard errors."""
    directions = np.random.default_rng(0).normal(size=(1000, 4, 3))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    clusters = [Atoms("ArHe4", np.concatenate([np.zeros((1, 3)), 3 * four])) for four in directions]
    found = tetrahedral_order(Frames.from_atoms(clusters), radius=10.0)[::5]
    assert found.mean() == pytest.approx(0, abs=5 * found.std() / np.sqrt(1000))

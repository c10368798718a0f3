"""Anchored positions are the same structure, wherever it is and however its atoms were unwrapped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from distill.structures.frames import Frames
from distill.structures.periodic import anchored, whole_cells

STRUCTURES = {
    "crystal": bulk("Si", cubic=True),
    "primitive": bulk("Si"),
    "hexagonal": bulk("Mg") * (3, 2, 1),
    "layer": fcc111("Al", (2, 2, 3), vacuum=5.0),
    "wire": Atoms("C3", positions=[[0, 0, 0], [0, 1, 1.3], [1, 0, 2.6]], cell=[0, 0, 3.9], pbc=[0, 0, 1]),
    "molecule": molecule("CH3OH"),
    "atom": Atoms("H", positions=[[3.0, 4.0, 5.0]]),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_they_do_not_depend_on_place_and_images(name: str) -> None:
    frames = Frames.from_atoms([STRUCTURES["molecule"], STRUCTURES[name]])
    rng = np.random.default_rng(0)
    of_atom = frames.structure_of_atom
    images = rng.integers(-10_000, 10_001, size=frames.positions.shape) * frames.pbc[of_atom]
    by = np.array([1e5, -2e4, 3e3]) + np.einsum("ni,nij->nj", images, frames.cells[of_atom])
    moved = replace(frames, positions=frames.positions + by)
    (before, taken), (after, taken_after) = anchored(frames), anchored(moved)
    np.testing.assert_allclose(after, before, atol=1e-9, rtol=0)  # 1e5 Å have an ulp of 1.5e-11 Å
    # what was taken off is what was there more, up to the images of the first atom
    extra = images - images[frames.offsets[:-1]][of_atom]
    assert np.array_equal(taken_after - taken, extra)


@pytest.mark.parametrize("name", STRUCTURES)
def test_they_are_the_same_structure(name: str) -> None:
    frames = Frames.from_atoms([STRUCTURES[name]])
    positions, taken = anchored(frames)
    back = positions + taken @ whole_cells(frames.cells, frames.pbc)[0] + frames.positions[0]
    np.testing.assert_allclose(back, frames.positions, atol=1e-12)
    fractional = positions @ np.linalg.inv(whole_cells(frames.cells, frames.pbc)[0])
    assert (np.abs(fractional[:, frames.pbc[0]]) < 0.6).all() and not positions[0].any()


def test_directions_without_a_period_get_vectors_normal_to_the_others() -> None:
    wire = STRUCTURES["wire"]
    whole = whole_cells(np.stack([wire.cell.array, np.zeros((3, 3))]), np.stack([wire.pbc, [False] * 3]))
    np.testing.assert_allclose(whole[0] @ whole[0].T, np.diag([1, 1, 3.9**2]), atol=1e-12)
    assert np.array_equal(whole[1], np.eye(3))

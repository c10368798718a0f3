"""Structures that the tests of this folder share."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from distill.potentials.interface.potential import Potential
from distill.potentials.students.painn import PaiNN
from distill.structures.frames import Frames


def rattled(atoms: Atoms, amplitude: float, seed: int = 0) -> Atoms:
    """Return the structure with its atoms displaced by a normal deviate."""
    atoms.positions += amplitude * np.random.default_rng(seed).normal(size=atoms.positions.shape)
    return atoms


@pytest.fixture
def silicon() -> Atoms:
    """Sixteen atoms of silicon, rattled."""
    return rattled(bulk("Si", cubic=True) * (2, 1, 1), 0.1)


@pytest.fixture
def structures(silicon: Atoms) -> dict[str, Atoms]:
    """Crystals of every awkward kind, periodic in three directions."""
    halide = rattled(bulk("NaCl", "rocksalt", a=5.64, cubic=True), 0.1, 1)
    halide.symbols[0] = "K"
    hexagonal = rattled(bulk("Mg"), 0.1, 2)
    hexagonal.set_cell(hexagonal.cell.array @ (np.eye(3) + np.diag([0.03, 0, -0.02])), scale_atoms=True)
    return {
        "silicon": silicon,
        "fcc, one atom": bulk("Al"),
        "dense, one atom": bulk("Cu", a=3.4),
        "halide": halide,
        "hcp": hexagonal,
        "slab": rattled(fcc111("Al", (2, 2, 3), vacuum=8, periodic=True), 0.1, 3),
    }


@pytest.fixture
def water() -> Atoms:
    """A molecule without a cell."""
    return molecule("H2O")


@pytest.fixture
def painn() -> Potential:
    """A small untrained student."""
    return PaiNN.build(PaiNN.Settings(channels=8, layers=2, radial_features=6, cutoff=4.5), seed=0)


@pytest.fixture
def frames(silicon: Atoms, water: Atoms) -> Frames:
    """Structures of different sizes, the smallest neither first nor last."""
    return Frames.from_atoms([silicon, bulk("Si"), silicon * (1, 2, 1), water])

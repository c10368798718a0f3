"""Phonons of crystals of which they are known."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.data import atomic_masses
from springs import EDGE, LENGTH, STIFFNESS, Springs

from distill.analysis.phonons import density_difference, density_of_states, frequency_difference, frequency_scale
from distill.potentials.workers.calculator_potential import GivenCalculator
from distill.statics.elastic import elastic
from distill.statics.phonons import phonons
from distill.statics.supercell import repetitions

pytest.importorskip("phonopy")
THZ = np.sqrt(units._e * 1e20 / units._amu) / (2 * np.pi * 1e12)
"""sqrt(eV/Å²/amu) in THz."""


def frequencies_of_springs(wave_vectors: np.ndarray) -> np.ndarray:
    """Eigenvalues of k/m Σ n n (1 - cos q·R) over the twelve neighbours, THz; wave vectors in 1/Å, with 2 pi."""
    bonds = np.array([(a, b) for a in (-1, 1) for b in (-1, 1)]) / np.sqrt(2)
    n = np.concatenate([np.insert(bonds, axis, 0, axis=1) for axis in range(3)])
    phases = 1 - np.cos(LENGTH * wave_vectors @ n.T)
    dynamical = np.einsum("qb,bi,bj->qij", phases, n, n) * STIFFNESS / atomic_masses[29]
    return np.sqrt(np.maximum(np.linalg.eigvalsh(dynamical), 0)) * THZ


def test_springs_between_nearest_neighbours() -> None:
    """At all 32 commensurate wave vectors; displacements of 1e-4 Å leave anharmonic errors of 1e-9."""
    crystal = bulk("Cu", "fcc", a=EDGE, cubic=True)
    found = phonons(crystal, GivenCalculator(Springs()), name="fcc Cu", supercell=(2, 2, 2), displacement=1e-4)
    cell, points = np.array(found.arrays["primitive_cell"]), np.array(found.arrays["wave_vectors"])
    expected = frequencies_of_springs(2 * np.pi * points @ np.linalg.inv(cell).T)
    assert len(points) == 32
    assert np.sort(found.arrays["frequencies"], axis=1) == pytest.approx(expected, rel=1e-6, abs=1e-4)
    highest, _, lowest = (one.value for one in found.quantities)
    assert highest == pytest.approx(expected.max(), rel=1e-6)
    assert lowest == pytest.approx(expected[expected > 1e-3].min(), rel=1e-6)
    assert found.sound == "fcc Cu is dynamically stable" and not found.flaws


def test_springs_that_push_make_every_mode_imaginary() -> None:
    """But the three at zero, of eight commensurate wave vectors."""

    class Pushing(Springs):
        def calculate(self, *arguments: object, **options: object) -> None:
            super().calculate(*arguments, **options)
            for what in ("energy", "forces"):
                self.results[what] = -self.results[what]

    found = phonons(bulk("Cu", a=EDGE), GivenCalculator(Pushing()), name="fcc Cu", supercell=(2, 2, 2))
    (flaw,) = found.flaws
    assert flaw.startswith("fcc Cu is dynamically unstable: 21 of 24 frequencies are imaginary, the worst of ")
    assert not found.sound


def test_springs_that_stiffen_near_rest_have_no_harmonic_numbers() -> None:
    """The force constant is twice as large at 0.001 Å as at 0.1 Å, as it is where an energy has a tip."""
    potential = GivenCalculator(Springs(kink=0.005))
    found = phonons(bulk("Cu", a=EDGE), potential, name="fcc Cu", supercell=(1, 1, 1))
    assert all(one.value is None and "no harmonic frequencies: the force" in one.why for one in found.quantities)
    found = elastic(bulk("Cu", a=EDGE), potential, name="fcc Cu")
    assert all(one.value is None and "half the strain changes a constant by" in one.why for one in found.quantities)
    assert not found.flaws and not found.sound


def test_a_density_counts_every_band() -> None:
    frequencies, weights = np.random.default_rng(0).uniform(1, 5, (50, 6)), np.ones(50)
    grid, density = density_of_states(frequencies, weights)
    assert np.sum(density) * (grid[1] - grid[0]) == pytest.approx(6)
    here, there = ({"density_of_states": {"frequencies": grid + by, "values": density}} for by in (0, 20))
    assert density_difference(here, here) == 0 and density_difference(here, there) == pytest.approx(1)
    assert np.sum(grid * density) / np.sum(density) == pytest.approx(frequencies.mean(), abs=1e-3)


def test_supercells_are_as_large_in_every_direction() -> None:
    assert repetitions(bulk("Si", cubic=True), 10) == (2, 2, 2)
    assert repetitions(bulk("Si"), 10) == (4, 4, 4)  # 3.14 Å between its faces
    assert repetitions(bulk("Si", cubic=True) * (1, 2, 3), 10) == (2, 1, 1)


def test_other_wave_vectors_are_not_compared() -> None:
    one = {"wave_vectors": [[0, 0, 0], [0.5, 0, 0]], "frequencies": [[0, 0, 0], [1, 2, 3]]}
    other = {"wave_vectors": one["wave_vectors"], "frequencies": [[0, 0, 0], [3, 2, 2]]}
    assert frequency_difference(one, other) == pytest.approx(np.sqrt(1 / 6))
    assert frequency_scale(one) == pytest.approx(np.sqrt(14 / 6))
    assert frequency_difference(one, {"wave_vectors": [[0, 0, 0]], "frequencies": [[0, 0, 0]]}) is None

"""Distances: against ASE's brute-force minimum images and cells with a known answer."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii

from distill.analysis.geometry import closest_pairs, find_pairs
from distill.structures.frames import Frames

ROUNDING = 1e-10


def test_primitive_silicon_sees_its_images():
    # The two-atom cell: bond length a sqrt(3) / 4, an atom's own images at a / sqrt(2), 4 bonds and 2 x 6 images.
    a = 5.43
    pairs = find_pairs(Frames.from_atoms([bulk("Si", a=a)]), cutoff=a / np.sqrt(2) + 0.01)
    expected = [a * np.sqrt(3) / 4] * 4 + [a / np.sqrt(2)] * 12
    assert np.sort(pairs.distance) == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize("pbc", [True, False, (True, True, False)])
def test_shortest_distance_agrees_with_ase(pbc):
    rng = np.random.default_rng(5)
    structures = [
        Atoms("Si4O6", positions=rng.uniform(0, 7, (10, 3)), cell=rng.normal(0, 0.5, (3, 3)) + 7 * np.eye(3), pbc=pbc)
        for _ in range(4)
    ]
    closest = closest_pairs(Frames.from_atoms(structures), cutoff=6.0)
    for i, atoms in enumerate(structures):
        d = atoms.get_all_distances(mic=True)
        radii = covalent_radii[atoms.numbers]
        upper = np.triu_indices(len(atoms), 1)
        assert closest.distance[i] == pytest.approx(d[upper].min(), abs=ROUNDING)
        assert closest.ratio[i] == pytest.approx((d / np.add.outer(radii, radii))[upper].min(), abs=ROUNDING)


def test_each_pair_of_elements_has_its_own_minimum():
    water = Atoms("OHH", positions=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    pairs = find_pairs(Frames.from_atoms([water, bulk("Si", a=5.43)]), 5.0)
    kinds = [tuple(kind) for kind in pairs.numbers.tolist()]
    shortest = {kind: min(pairs.distance[[k == kind for k in kinds]]) for kind in set(kinds)}
    assert shortest == pytest.approx(
        {(1, 1): np.hypot(1.2, 0.93), (1, 8): 0.96, (14, 14): 5.43 * np.sqrt(3) / 4}, abs=ROUNDING
    )


def test_lonely_atoms_are_infinitely_far_apart():
    closest = closest_pairs(Frames.from_atoms([Atoms("H"), Atoms("H2", positions=[[0, 0, 0], [0, 0, 9]])]))
    assert np.isinf(closest.distance).all()
    assert np.isinf(closest.ratio).all()
    assert find_pairs(Frames.empty(), 5.0).numbers.shape == (0, 2)

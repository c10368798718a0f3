"""Compressed copies: the volumes asked for, molecules whole, and nothing that the teacher errs on for certain."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from distill.sampling.compressions import compressions, repelling
from distill.structures.compression import compressed, lowest_structures, molecule_centres
from distill.structures.frames import Frames


def labelled(structures: list[Atoms], energies: list[float]) -> Frames:
    frames = Frames.from_atoms(structures)
    return frames.with_labels(np.array(energies), np.zeros((len(frames.numbers), 3)), None)


def water_box() -> Atoms:
    """Four molecules of water on a lattice, one of them across the boundary, wrapped atom by atom."""
    box = Atoms(cell=[6.0, 6.2, 6.4], pbc=True)
    for k, place in enumerate(([1.5, 1.5, 1.5], [4.5, 4.5, 1.5], [4.5, 1.5, 4.7], [0.0, 4.6, 6.35])):
        one = molecule("H2O")
        one.rotate(40 * k, "xyz")
        one.positions += np.array(place) - one.positions.mean(axis=0)
        box += one
    box.wrap()
    return box


def test_the_lowest_of_each_composition_is_compressed() -> None:
    crystal, carbon = bulk("Si", cubic=True), bulk("C", cubic=True)
    seeds = labelled(
        [crystal, crystal * (2, 1, 1), bulk("Si"), carbon, molecule("H2O")], [-40.0, -90.0, -10.2, -70.0, -99.0]
    )
    assert lowest_structures(seeds) == [1, 3], "of silicon the one of lowest energy per atom; a molecule has no volume"
    found = compressions(seeds, 6, seed=3)
    assert [info["base"] for info in found.info] == [1] * 6 + [3] * 6
    assert set(found.labels("config_type")) == {"compression"}
    volumes = found.volumes / found.n_atoms
    own = (seeds.volumes / np.maximum(seeds.n_atoms, 1))[[1] * 6 + [3] * 6]
    expected = np.repeat(np.geomspace(0.95, 0.4, 3), 2)
    assert volumes / own == pytest.approx(np.tile(expected, 2), rel=1e-9)
    again = compressions(seeds, 6, seed=3)
    assert np.array_equal(again.positions, found.positions)
    assert not np.allclose(compressions(seeds, 6, seed=4).positions, found.positions)


def test_an_even_copy_is_the_crystal_scaled() -> None:
    crystal = Frames.from_atoms([bulk("NaCl", "rocksalt", a=5.64, cubic=True)])
    found = compressed(crystal, 0.5, None, {})
    assert found.positions == pytest.approx(np.cbrt(0.5) * crystal.positions, abs=1e-12)
    assert found.cells == pytest.approx(np.cbrt(0.5) * crystal.cells, abs=1e-12)


def test_molecules_keep_their_shape() -> None:
    box = water_box()
    found = compressed(Frames.from_atoms([box]), 0.6, None, {}).to_atoms()[0]
    for k in range(4):
        atoms = [3 * k, 3 * k + 1, 3 * k + 2]
        before, after = (a.get_all_distances(mic=True)[np.ix_(atoms, atoms)] for a in (box, found))
        assert after == pytest.approx(before, abs=1e-9)
    between = box.get_distance(0, 3, mic=True), found.get_distance(0, 3, mic=True)
    assert between[1] < 0.9 * between[0]


def test_centres_lie_beside_their_atoms_and_a_network_has_none() -> None:
    box = water_box()
    centres = molecule_centres(Frames.from_atoms([box]))
    assert np.linalg.norm(centres - box.positions, axis=1).max() < 1.0
    crystal = Frames.from_atoms([bulk("Si", cubic=True)])
    assert np.array_equal(molecule_centres(crystal), crystal.positions)


def test_what_a_teacher_errs_on_is_left_out_and_said() -> None:
    """A teacher whose energy rises to half of the volume and falls beyond teaches nothing beyond."""
    copies = compressions(labelled([bulk("Si", cubic=True)], [-40.0]), 12, seed=0)
    relative = np.array([info["relative_volume"] for info in copies.info])
    energy = np.where(relative > 0.5, 10 * (1 - relative), 20 * (relative - 0.5))
    kept, said = repelling(copies.with_labels(energy, np.zeros((96, 3)), None))
    assert np.array_equal(kept, relative > 0.5)
    assert len(said) == 1 and "energy of Si falls when it is compressed to 0.48 of its volume" in said[0]
    kept, said = repelling(copies.with_labels(10 * (1 - relative), np.zeros((96, 3)), None))
    assert kept.all() and not said

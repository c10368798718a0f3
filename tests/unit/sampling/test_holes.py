"""Holes are found where potentials with known walls have them, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.data import covalent_radii

from distill.analysis.geometry import closest_pairs
from distill.analysis.random_cells import APART, CELLS
from distill.base.progress import Progress
from distill.sampling.holes import RATIOS, Ground, Holes, bend_of, compare, cost, find_holes, make_ground
from distill.structures.frames import Frames
from distill.structures.neighbours import NeighbourSearch

BOND = 2 * float(covalent_radii[14])
"""Å; the sum of two covalent radii of silicon."""


def silicon() -> Frames:
    """Close-packed, as Morse pairs want it; neighbours beyond the nearest press them together by a few percent."""
    frames = Frames.from_atoms([bulk("Si", "fcc", a=0.95 * np.sqrt(2) * BOND, cubic=True)])
    return frames.with_labels(np.zeros(1), np.zeros((4, 3)), None)


def predictor(inner: float) -> Callable[[Frames], Frames]:
    """Return what predicts with Morse pairs whose wall becomes a well within ``inner`` Å.

    That is what networks do where they have seen no data.
    """
    depth, stiffness, pull = 2.0, 3.0, 600.0  # eV, 1/Å, eV/Å²
    search = NeighbourSearch(7.0)

    def predict(frames: Frames) -> Frames:
        energies, all_forces, stress = np.zeros(len(frames)), [], np.full((len(frames), 3, 3), np.nan)
        for k, one in enumerate(frames):
            i, j, d, vectors = search.pairs(one.positions, one.cells[0], one.pbc[0], "ijdD")
            swing, depressed = np.exp(-stiffness * (d - BOND)), np.maximum(inner - d, 0.0)
            energies[k] = np.sum(depth * ((1 - swing) ** 2 - 1) - pull * depressed**2)
            slope = 2 * depth * stiffness * swing * (1 - swing) + 2 * pull * depressed
            along = (slope / d)[:, None] * vectors  # the derivative by the vector from i to j
            forces = np.zeros((len(one.numbers), 3))
            np.add.at(forces, i.astype(int), along)
            np.add.at(forces, j.astype(int), -along)
            all_forces.append(forces)
            if one.pbc.all():
                stress[k] = np.einsum("pi,pj->ij", along, vectors) / one.volumes[0]
        return frames.with_labels(energies, np.concatenate(all_forces), stress)

    return predict


def look(inner: float, ground: Ground) -> Holes:
    with Progress().phase("looking for holes", cost(ground), "structure") as phase:
        found = find_holes(predictor(inner), ground, phase)
        assert phase.record.done == phase.record.total, "the cost is what was said"
    return found


@pytest.fixture(scope="module")
def ground() -> Ground:
    return make_ground(silicon(), 0)


def test_the_ground_is_the_same_for_equal_seeds_and_its_atoms_are_apart(ground: Ground) -> None:
    again, other = make_ground(silicon(), 0), make_ground(silicon(), 1)
    assert np.array_equal(ground.cells.positions, again.cells.positions)
    assert not np.array_equal(ground.cells.positions, other.cells.positions)
    assert closest_pairs(ground.cells).ratio.min() >= APART
    assert ground.pressures.tolist() == [0.0] * CELLS + [50.0] * CELLS
    volumes = ground.cells.volumes[:CELLS]
    assert volumes[1::2].max() < volumes[::2].min(), "half of the cells are compressed"


def test_a_wall_without_end_has_no_hole(ground: Ground) -> None:
    found = look(0.0, ground)
    assert not any(found.relaxed) and found.bends == (0.0,) and found.falls == (0.0,)
    unchanged = compare(ground, found, found)
    assert unchanged.gained == () and "random cells 0 and 0 of 8" in unchanged.text


def test_a_well_inside_the_wall_is_found_on_every_ground(ground: Ground) -> None:
    """Atoms attract each other within 0.95 of their bond: nothing that is compressed stops there."""
    sound, soft = look(0.0, ground), look(0.95 * BOND, ground)
    assert sum(soft.relaxed) > CELLS
    assert soft.bends[0] == pytest.approx(0.9, abs=0.051)
    assert soft.falls[0] > 0.4
    found = compare(ground, sound, soft)
    assert len(found.gained) == 3
    assert "random cells fall into one, 0 before" in found.gained[0]
    assert found.gained[1].startswith("two atoms of Si-Si attract each other below 0.9")
    assert found.gained[1].endswith("nowhere before")
    assert "the energy of Si falls when it is compressed to" in found.gained[2]
    assert compare(ground, soft, sound).gained == (), "holes that were there before are not held against it"


def test_a_bend_is_where_the_energy_first_falls_on_shortening() -> None:
    wall = 10 * (1 - RATIOS) ** 2
    assert bend_of(wall) == 0.0
    assert bend_of(np.where(RATIOS < 0.68, 0.0, wall)) == pytest.approx(0.65)
    assert bend_of(10 * (0.7 - RATIOS) ** 2) == 0.0, "the bond may be shorter than the radii say"
    assert bend_of(wall + 0.01 * np.sin(40 * RATIOS)) == 0.0, "rounding is no wall"
    assert bend_of(np.where(RATIOS < 0.68, np.nan, wall)) == pytest.approx(0.65)
    assert bend_of(np.full(len(RATIOS), np.nan)) == 1.5
    assert bend_of(10 * RATIOS) == 0.5, "there is no wall"


def test_molecules_without_cell_give_ground_too() -> None:
    water = Frames.from_atoms([molecule("H2O")] * 2).with_labels(np.zeros(2), np.zeros((6, 3)), None)
    ground = make_ground(water, 0)
    assert ground.pairs == ("H-H", "H-O", "O-O") and ground.crystals == () and len(ground.compressed) == 0
    assert set(ground.cells.elements) <= {1, 8}


def test_without_a_stress_cells_keep_their_shape(ground: Ground) -> None:
    """Pressure alone would press them together without end."""
    seen: list[float] = []

    def predict(frames: Frames) -> Frames:
        seen.extend(frames.volumes[frames.pbc.all(axis=1)])
        labelled = predictor(0.0)(frames)
        return labelled.with_labels(labelled.energy, labelled.forces, None)

    with Progress().phase("looking for holes", cost(ground), "structure") as phase:
        assert not any(find_holes(predict, ground, phase).relaxed)
    known = np.concatenate([ground.cells.volumes, ground.compressed.volumes])
    assert np.abs(np.array(seen)[:, None] - known).min(axis=1).max() < 1e-9


def test_the_cost_is_bounded_however_many_elements_and_compositions_there_are() -> None:
    names = ["Li", "Be", "B", "C", "N", "O", "F", "Na", "Mg", "Al", "Si", "P"]
    many = [bulk(name, "rocksalt", a=5.0) for a in names for b in names if a < b for name in [a + b]]
    frames = Frames.from_atoms(many).with_labels(np.zeros(len(many)), np.zeros((2 * len(many), 3)), None)
    ground = make_ground(frames, 0)
    assert len(ground.pairs) == 45 and len(set(ground.pairs)) == 45 and len(ground.crystals) == 4
    assert cost(ground) < 1500

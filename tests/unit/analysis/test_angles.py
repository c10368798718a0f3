"""Bond angles: lattices with known ones, and directions without order."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from distill.analysis.angles import bond_angles
from distill.base.errors import UserError
from distill.structures.frames import Frames


def test_angles_of_crystals():
    """Diamond has 6 tetrahedral angles an atom; fcc 24 of 60, 12 of 90, 24 of 120 and 6 of 180°."""
    diamond = bond_angles(Frames.from_atoms([bulk("Si", a=5.43)]), radius=2.6)
    assert diamond.per_centre == 6 and diamond.mean == pytest.approx(np.degrees(np.arccos(-1 / 3)))
    assert diamond.deviation == pytest.approx(0, abs=1e-5)
    copper = bond_angles(Frames.from_atoms([bulk("Cu", a=3.6)]), radius=2.8, width=36)
    assert copper.per_centre == 66
    assert copper.values * 66 * 36 == pytest.approx([0, 24, 12, 24, 6], abs=1e-9)


def test_elements_and_radii_choose_the_bonds(quartz, ice_ih):
    silica = Frames.from_atoms([quartz])
    assert bond_angles(silica, "O", "Si", "O", radius=1.8).per_centre == 6
    bridge = bond_angles(silica, "Si", "O", "Si", radius=1.8)
    assert bridge.per_centre == 1 and bridge.mean == pytest.approx(143.7, abs=0.3)  # Lager et al.
    ice = Frames.from_atoms([ice_ih])
    for ends in (("H", "O"), ("O", "H")):  # one hydrogen of a molecule, and an oxygen within 3 Å: 2 times 4 pairs
        radii = tuple({"H": 1.2, "O": 3.0}[end] for end in ends)
        assert bond_angles(ice, ends[0], "O", ends[1], radius=radii).per_centre == 8
    water = bond_angles(Frames.from_atoms([molecule("H2O"), molecule("H2O")]), "H", "O", "H", radius=1.2)
    assert water.per_centre == 1 and water.mean == pytest.approx(molecule("H2O").get_angle(1, 0, 2))


def test_a_cell_gives_what_its_supercell_gives():
    rng = np.random.default_rng(0)
    cell = np.array([[5.0, 0, 0], [1.0, 5.5, 0], [0.5, -1.0, 6.0]])
    small = Atoms("OH4", scaled_positions=rng.random((5, 3)), cell=cell, pbc=True)
    found = [bond_angles(Frames.from_atoms([a]), "H", "O", radius=4, width=5) for a in (small, small * (2, 1, 3))]
    assert found[0].values == pytest.approx(found[1].values, abs=1e-12)
    assert found[0].per_centre == pytest.approx(found[1].per_centre)


def test_directions_without_order_have_half_a_sine():
    """Two independent bonds of each centre, within five standard errors of a bin."""
    directions = np.random.default_rng(0).normal(size=(4000, 2, 3))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    centres = np.stack(np.meshgrid(*3 * [np.arange(16)], indexing="ij"), axis=-1).reshape(-1, 1, 3)[:4000] * 10.0
    atoms = Atoms("Ar4000") + Atoms("He8000")
    atoms.positions = np.concatenate([centres[:, 0], (centres + 2 * directions).reshape(-1, 3)])
    found = bond_angles(Frames.from_atoms([atoms]), "He", "Ar", "He", radius=2.5, width=10)
    edges = np.radians(np.linspace(0, 180, 19))
    known = (np.cos(edges[:-1]) - np.cos(edges[1:])) / 2
    assert (np.abs(found.values * 10 - known) < 5 * np.sqrt(known / 4000)).all()


def test_what_has_no_angle_is_refused():
    silicon = Frames.from_atoms([bulk("Si", a=5.43)])
    with pytest.raises(UserError, match="no Si has two neighbours within 2 Å"):
        bond_angles(silicon, "Si", "Si", "Si", radius=2.0)
    with pytest.raises(UserError, match="positive radii"):
        bond_angles(silicon, radius=0.0)

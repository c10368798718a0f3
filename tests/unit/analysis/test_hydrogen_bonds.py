"""Hydrogen bonds: ice, whatever the order of its atoms, and a dimer at the edges of the criterion."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from distill.analysis.hydrogen_bonds import hydrogen_bonds
from distill.base.errors import UserError
from distill.structures.frames import Frames


def dimer(distance: float, angle: float) -> Atoms:
    """Two molecules: a hydrogen of the first stands off the line between oxygens by an angle, degrees."""
    turned = np.radians([angle, angle + 104.5])
    donor = [[0, 0, 0], *[[0.97 * np.cos(a), 0.97 * np.sin(a), 0] for a in turned]]
    acceptor = [[distance, 0, 0], [distance + 0.59, 0, 0.77], [distance + 0.59, 0, -0.77]]
    return Atoms("OH2OH2", donor + acceptor)


def test_in_ice_every_molecule_accepts_two_and_donates_two(ice_ih, ice_ic):
    rng = np.random.default_rng(0)
    shuffled = ice_ih[rng.permutation(len(ice_ih))]
    shuffled.positions += rng.integers(-1, 2, (len(shuffled), 3)) @ shuffled.cell.array
    for frames in ([ice_ih], [ice_ic, ice_ic], [ice_ih * (2, 1, 1)], [shuffled]):
        found = hydrogen_bonds(Frames.from_atoms(frames))
        assert found.share(2, 2) == 1 and found.per_molecule == 2
        assert found.shares()[2, 2] == 1 and found.shares().sum() == 1


def test_the_criterion_is_of_distance_and_angle():
    for distance, angle, bonds in ((2.8, 0, 1), (3.49, 29, 1), (3.51, 0, 0), (2.8, 31, 0)):
        found = hydrogen_bonds(Frames.from_atoms([dimer(distance, angle)]))
        assert found.donated.tolist() == [bonds, 0] and found.accepted.tolist() == [0, bonds]


def test_molecules_without_bonds_and_frames_without_any_count():
    frames = Frames.from_atoms([dimer(2.8, 10), dimer(4.0, 10), molecule("H2O")])
    shares = hydrogen_bonds(frames).shares()
    assert shares[0, 0] == pytest.approx(3 / 5) and shares[0, 1] == shares[1, 0] == pytest.approx(1 / 5)


def test_hydrogen_belongs_to_the_nearest_and_not_to_the_one_before_it():
    """The proton of the first molecule has gone over to the second, which then donates it."""
    passed = dimer(2.5, 0)
    passed.positions[1] = [1.5, 0, 0]
    found = hydrogen_bonds(Frames.from_atoms([passed]))
    assert found.donated.tolist() == [0, 1] and found.accepted.tolist() == [1, 0]


def test_what_has_no_such_atoms_is_refused():
    with pytest.raises(UserError, match="no structure has an atom of H"):
        hydrogen_bonds(Frames.from_atoms([Atoms("O")]))
    with pytest.raises(UserError, match="cannot be H"):
        hydrogen_bonds(Frames.from_atoms([molecule("H2O")]), "H")
    with pytest.raises(UserError, match="cannot be"):
        hydrogen_bonds(Frames.from_atoms([molecule("H2O")]), widest=0)

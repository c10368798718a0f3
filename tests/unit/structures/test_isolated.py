"""Isolated atoms are told from crystals of one atom, taken out, and give the energies of the elements."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule

from distill.base.errors import UserError
from distill.structures.checks.atoms import check_atoms
from distill.structures.checks.finding import FileFrames
from distill.structures.frames import Frames
from distill.structures.isolated import are_isolated, join_energies, take_isolated


def frames(*atoms: Atoms, energy: list[float] | None = None) -> Frames:
    made = Frames.from_atoms(atoms)
    return made.with_labels(np.array(energy), None, None) if energy else made


def single(symbol: str, cell: object = None, pbc: object = False, **info: str) -> Atoms:
    return Atoms(symbol, cell=cell, pbc=pbc, info=dict(info))


def test_which_are_isolated() -> None:
    slanted = [[30, 0, 0], [29, 3, 0], [0, 0, 30]]  # long vectors, but 3 Å between images
    made = frames(
        single("H"),
        single("H", cell=[12, 12, 12], pbc=True),
        single("Si", cell=[5, 5, 5], pbc=True, config_type="IsolatedAtom"),
        single("Si", cell=[5, 5, 5], pbc=True, config_type="isolated_atom"),
        bulk("Cu"),
        single("H", cell=slanted, pbc=True),
        single("H", cell=[3, 30, 30], pbc=[True, False, False]),
        molecule("H2"),
    )
    assert are_isolated(made).tolist() == [True, True, True, True, False, False, False, False]


def test_taken_out() -> None:
    made = frames(molecule("H2O"), single("H"), bulk("Cu"), single("O"), energy=[-14, -13.6, -3.7, -432])
    rest, energies = take_isolated(FileFrames(made, "x"))
    assert energies == {"H": -13.6, "O": -432.0}
    assert rest.place([0, 1]).tolist() == [0, 2] and rest.frames.energy_per_atom.tolist() == [-14 / 3, -3.7]
    assert take_isolated(rest) == (rest, {})


def test_contradictions() -> None:
    twice = FileFrames(frames(single("H"), single("H"), energy=[-13.6, -12.5]), "x.xyz")
    with pytest.raises(UserError, match=r"x\.xyz: an isolated H atom has the energies -13\.6 and -12\.5 eV"):
        take_isolated(twice)
    assert join_energies([({"H": -13.6}, "a"), ({"H": -13.6003, "O": -432.0}, "b")]) == {"H": -13.6, "O": -432.0}
    with pytest.raises(UserError, match="a and b: an isolated O"):
        join_energies([({"O": -432.0}, "a"), ({"O": -2041.0}, "b")])
    with pytest.raises(UserError, match="'Hy' is not a chemical element"):
        join_energies([({"Hy": -13.6}, "data.isolated_atoms")])


WATER = frames(molecule("H2O"), molecule("H2O"), energy=[-467.9, -466.5])


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        ({"H": -13.6, "O": -2041.84}, "above its isolated atoms (H -13.6 eV, O -2041.84 eV)"),
        ({"H": 13.6, "O": 432.1}, "below its isolated atoms"),
        ({"H": -0.5, "O": -15.88}, "in Hartree"),
        ({"H": -1.0, "O": -31.77}, "in Ry"),
        ({"O": -2041.84}, "above its isolated atoms (O -2041.84 eV)"),
    ],
)
def test_atoms_of_another_code_sign_or_unit(atoms: dict[str, float], words: str) -> None:
    """Right are 13.6 and 432.1 eV below zero; a molecule of water is then bound by 3 eV/atom."""
    (finding,) = check_atoms([FileFrames(WATER, "x.xyz")], atoms)
    assert finding.severity == "error" and "x.xyz, frame 0" in finding.place and "-467.9 eV" in finding.what
    assert words in finding.what + finding.remedy
    for word, factor in (("in Hartree", units.Hartree), ("in Ry", units.Rydberg), ("of the wrong sign", -1)):
        if word in finding.remedy:  # the remedy mends it
            mended = {symbol: factor * energy for symbol, energy in atoms.items()}
            assert check_atoms([FileFrames(WATER, "x.xyz")], mended) == []


@pytest.mark.parametrize("atoms", [{}, {"H": -13.6, "O": -432.1}, {"H": -13.6}, {"O": -432.1}, {"Si": -7900.0}])
def test_atoms_that_go_with_the_structures(atoms: dict[str, float]) -> None:
    assert check_atoms([FileFrames(WATER, "x.xyz")], atoms) == []


def test_weakly_bound_and_unbound_structures_are_right() -> None:
    """Argon's binding is 0.09 eV/atom; of a dissociation curve only the most strongly bound point is asked."""
    dimers = frames(molecule("H2"), molecule("H2"), bulk("Ar"), energy=[-31.7, -5.0, -20.09])
    assert check_atoms([FileFrames(dimers, "x.xyz")], {"H": -13.6, "Ar": -20.0}) == []

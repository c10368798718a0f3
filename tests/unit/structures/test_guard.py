"""What would crash, hang or mislead compiled code is refused with a sentence; matter as it is found is let through."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.data import atomic_numbers, chemical_symbols, reference_states

from distill.analysis.geometry import closest_pairs
from distill.potentials.interface.batch import half_neighbour_list
from distill.sampling.separation import Separation
from distill.structures.checks.geometry import closest_atoms
from distill.structures.duplicates import close_pairs
from distill.structures.fingerprint import fingerprints
from distill.structures.frames import Frames
from distill.structures.guard import CLOSEST, MOST_PAIRS, SMALLEST_VOLUME, UnphysicalStructure, refuse_unphysical
from distill.structures.symmetry import forces_allowed

SILICON = bulk("Si", cubic=True)
KNOWN = ("fcc", "bcc", "diamond", "hcp")


def with_cell(cell: object, pbc: object = True) -> Atoms:
    return Atoms(SILICON.numbers, SILICON.positions, cell=cell, pbc=pbc)


def spoilt(value: float) -> Atoms:
    atoms = SILICON.copy()
    atoms.positions[3, 1] = value
    return atoms


NAN_CELL = SILICON.cell.array + np.diag([np.nan, 0, 0])

REFUSED = {
    "a cell of NaN": (with_cell(NAN_CELL), "the cell is not finite"),
    "an infinite cell": (with_cell(SILICON.cell.array + np.diag([np.inf, 0, 0])), "the cell is not finite"),
    "a huge cell": (with_cell(SILICON.cell.array * 1e200), "the cell is larger than"),
    "a NaN position": (spoilt(np.nan), "position of atom 3 .* is not finite"),
    "an infinite position": (spoilt(-np.inf), "position of atom 3 .* is not finite"),
    "a position beyond all bounds": (spoilt(1e200), "atom 3 .* is farther than"),
    "a collapsed cell": (with_cell(0.05 * SILICON.cell.array), "denser than any matter"),
    "dependent vectors": (with_cell([[5, 0, 0], [0, 5, 0], [5, 5, 1e-9]]), "linearly dependent"),
    "dependent vectors of a layer": (with_cell([[5, 0, 0], [5, 1e-9, 0], [0, 0, 9]], [1, 1, 0]), "linearly dependent"),
    "no vector": (with_cell([[5, 0, 0], [0, 5, 0], [0, 0, 0]]), "no lattice vector"),
    "an atom that flew away": (Atoms("Si2", positions=[[0, 0, 0], [0, 0, 1e7]]), "apart along a direction without"),
    "a thin layer": (with_cell([[1e-4, 0, 0], [0, 1e-4, 0], [0, 0, 9]], [1, 1, 0]), "pairs of atoms are within"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_before_every_list_and_named(name: str) -> None:
    atoms, what = REFUSED[name]
    frames = Frames.from_atoms([SILICON, atoms])
    lists = (
        lambda: half_neighbour_list(frames, 5.0),
        lambda: closest_pairs(frames),
        lambda: fingerprints(frames),
        lambda: Separation(None, (14,)).closest(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc),
    )
    for ask in lists[: 1 if name == "a thin layer" else None]:  # the others do not look as far
        with pytest.raises(UnphysicalStructure, match=what):
            ask()
    with pytest.raises(UnphysicalStructure, match=rf"structure 1 \(counted from 0\), Si[28]: .*{what}"):
        refuse_unphysical(frames, 5.0)
    if name not in ("a thin layer", "an atom that flew away", "a collapsed cell"):  # nobody lists neighbours there
        with pytest.raises(UnphysicalStructure, match=what):
            close_pairs(frames)


def test_files_and_what_is_not_listed() -> None:
    frames = Frames.from_atoms([SILICON, REFUSED["a collapsed cell"][0]])
    with pytest.raises(UnphysicalStructure, match=r"data\.xyz, frame 1 \(counted from 0\): .*denser"):
        refuse_unphysical(frames, np.inf, file="data.xyz")
    refuse_unphysical(frames)  # no list is made: duplicates are looked for at any density
    assert len(close_pairs(frames)[0]) == 0
    lengths, ratios = closest_atoms(frames)
    assert lengths[0] == np.inf and (lengths[1], ratios[1]) == (0.0, 0.0)  # a finding, with its frame
    assert not forces_allowed(frames)[8:].any()


def test_nothing_is_refused_that_exists() -> None:
    """Every element at three tenths of its volume, a layer, a molecule, an atom, and long thin cells."""
    elements = [
        chemical_symbols[z]
        for z, state in enumerate(reference_states)
        if state and "a" in state and "basis" not in state
    ]
    atoms = [bulk(symbol) for symbol in elements if reference_states[atomic_numbers[symbol]]["symmetry"] in KNOWN]
    assert len(atoms) > 50
    for crystal in atoms:
        crystal.set_cell(0.3 ** (1 / 3) * crystal.cell.array, scale_atoms=True)
    skew = bulk("Si", cubic=True)
    skew.set_cell(skew.cell.array @ np.array([[1, 0, 0], [40, 1, 0], [0, 0, 1]]).T)
    atoms += [fcc111("Al", (2, 2, 3)), molecule("H2O"), Atoms("H"), skew, Atoms("H", cell=[1.0] * 3, pbc=True)]
    atoms += [Atoms("H2", positions=[[0, 0, 0], [0, 0, 1e5]]), Atoms("Si", cell=[1e5, 1e5, 1e5], pbc=True)]
    frames = Frames.from_atoms(atoms)
    refuse_unphysical(frames, 6.0)
    half_neighbour_list(frames, 4.0)


def test_the_smallest_volume_is_that_of_closest_packing() -> None:
    packed = bulk("H", "fcc", a=CLOSEST * np.sqrt(2))
    assert packed.get_volume() == pytest.approx(SMALLEST_VOLUME, rel=1e-12)
    twice = Frames.from_atoms([packed.repeat(2)])
    lengths = closest_pairs(replace(twice, cells=1.001 * twice.cells, positions=1.001 * twice.positions), 1.0).distance
    assert lengths[0] == pytest.approx(1.001 * CLOSEST, rel=1e-12)


@pytest.mark.parametrize("cell", [None, 2e3])
def test_many_pairs_are_estimated_not_listed(cell: float | None) -> None:
    """200 000 atoms in a blob of 10 Å are refused at once, in a cell and without; in 200 Å they are liquid matter."""
    places = np.random.default_rng(0).random((200_000, 3))
    box = {} if cell is None else {"cell": [cell] * 3, "pbc": True}
    with pytest.raises(UnphysicalStructure, match="too many for the memory"):
        refuse_unphysical(Frames.from_atoms([Atoms("H200000", 10 * places, **box)]), 5.0)
    refuse_unphysical(Frames.from_atoms([Atoms("H200000", 200 * places, **box)]), 5.0)
    assert len(half_neighbour_list(Frames.from_atoms([SILICON]), 5.0)[1]) < MOST_PAIRS

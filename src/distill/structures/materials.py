"""A few ordinary materials, to see what a foundation model knows besides the material at hand, and to remind it.

They are built here from textbook lattice constants and ASE's molecules, so that nothing is downloaded. The two sets
share no material: what is replayed in fine-tuning must not be what forgetting is measured on.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

import numpy as np

from distill.base.random import stream
from distill.structures.frames import Frames

if TYPE_CHECKING:
    from ase import Atoms

CRYSTALS: dict[str, dict[str, tuple[str, float]]] = {
    "test": {
        "Cu": ("fcc", 3.615),
        "W": ("bcc", 3.165),
        "C": ("diamond", 3.567),
        "Ge": ("diamond", 5.658),
        "GaAs": ("zincblende", 5.653),
        "MgO": ("rocksalt", 4.212),
        "LiF": ("rocksalt", 4.027),
        "CsCl": ("cesiumchloride", 4.123),
        "CaF2": ("fluorite", 5.463),
    },
    "replay": {
        "Al": ("fcc", 4.050),
        "Ag": ("fcc", 4.086),
        "Na": ("bcc", 4.291),
        "Si": ("diamond", 5.431),
        "SiC": ("zincblende", 4.360),
        "ZnS": ("zincblende", 5.409),
        "NaCl": ("rocksalt", 5.640),
        "CaO": ("rocksalt", 4.811),
        "KBr": ("rocksalt", 6.600),
        "BaF2": ("fluorite", 6.200),
    },
}
"""Crystal structure and cubic lattice constant (Å) at room temperature, rounded from the usual tables."""

MOLECULES = {"test": ("CH3OH", "NH3", "C2H4", "HCl"), "replay": ("CH4", "CO2", "CH3CHO", "H2O", "C6H6", "CH3SH")}
"""Molecules from ASE's table."""

AMPLITUDES = (0.03, 0.08, 0.15)
"""Standard deviations of the displacements, Å: one structure of each material for each."""

STRAIN = 0.02
"""Standard deviation of the strain of a cell."""

Purpose = Literal["test", "replay"]


def ordinary_materials(purpose: Purpose, known: Collection[int] | None, apart_from: Collection[int] = ()) -> Frames:
    """Return distorted structures of materials, the same ones at every call.

    Args:
        purpose: which of the two sets.
        known: atomic numbers that the structures may have; None for all.
        apart_from: a material whose elements are all among these is left out: it is the one at hand.

    Returns:
        Structures of at most 16 atoms without labels, with the label ``material``; three of each material.
    """
    built = [_build(name, purpose) for name in (*CRYSTALS[purpose], *MOLECULES[purpose])]
    atoms = [structure for structure in built if _wanted(structure, known, apart_from)]
    return Frames.from_atoms([_distorted(one, amplitude) for one in atoms for amplitude in AMPLITUDES])


def _wanted(atoms: Atoms, known: Collection[int] | None, apart_from: Collection[int]) -> bool:
    elements = set(atoms.numbers.tolist())
    return (known is None or elements <= set(known)) and not elements <= set(apart_from)


def _build(name: str, purpose: Purpose) -> Atoms:
    from ase.build import bulk, molecule

    if name in MOLECULES[purpose]:
        atoms = molecule(name)
    else:
        kind, length = CRYSTALS[purpose][name]
        atoms = bulk(name, kind, a=length, cubic=True)
        if len(atoms) == 2:  # a bcc cell
            atoms = atoms.repeat((2, 2, 1))
    atoms.info["material"] = name
    return atoms


def _distorted(atoms: Atoms, amplitude: float) -> Atoms:
    moved = atoms.copy()
    rng = stream(0, "ordinary materials", atoms.info["material"], str(amplitude))
    if moved.pbc.all():
        strain = rng.normal(0, STRAIN, (3, 3))
        moved.set_cell(moved.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    moved.positions += rng.normal(0, amplitude, moved.positions.shape)
    return moved

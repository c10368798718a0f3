"""Check of isolated atoms' energies against the structures: bound matter lies some eV per atom below its atoms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import units
from ase.data import chemical_symbols

from distill.base.arrays import Array
from distill.structures.checks.finding import FileFrames, Finding
from distill.structures.composition import element_counts
from distill.structures.frames import Frames

LOOSEST = -0.1
"""eV/atom by which the most strongly bound structure may lie above its isolated atoms: errors of both."""
TIGHTEST = 15.0
"""eV/atom; tungsten has 8.9, and free atoms without their magnetic moments are up to 5 eV too high."""

MISTAKES: Mapping[str, float] = {
    "in Hartree": units.Hartree,
    "in Ry": units.Rydberg,
    "of the wrong sign": -1.0,
    "in Hartree and of the wrong sign": -units.Hartree,
    "in Ry and of the wrong sign": -units.Rydberg,
    "in kcal/mol": units.kcal / units.mol,
    "in kJ/mol": units.kJ / units.mol,
}
"""What may be wrong with the energies of atoms, with the factor that mends it."""


def check_atoms(files: Sequence[FileFrames], atoms: Mapping[str, float]) -> list[Finding]:
    """Compare the structures' energies with those of the isolated atoms, eV by symbol, that they consist of.

    Elements without an isolated atom count as nothing. Since energies of atoms are negative, a structure that lies
    above what the others come to is above all of its atoms too; whether it lies too far below is not known then.
    """
    known = [data for data in files if data.frames.energy is not None]
    bound = [_binding(data.frames, atoms) for data in known]
    strongest = [np.nanmax(values, initial=-np.inf) for values, _ in bound]
    if not atoms or not strongest or max(strongest) == -np.inf:
        return []
    place = int(np.argmax(strongest))
    values, complete = bound[place]
    if max(strongest) >= LOOSEST and (not complete.any() or np.nanmax(values[complete], initial=0.0) <= TIGHTEST):
        return []
    worst = int(np.nanargmax(values))
    return [_finding(known[place], worst, float(values[worst]), atoms)]


def _binding(frames: Frames, atoms: Mapping[str, float]) -> tuple[Array, Array]:
    """Return by how much each structure lies below its atoms, ``[B]`` eV/atom, and which structures have them all.

    Atoms that are not given count as nothing. Structures without an energy, or without any atom given, are NaN.
    """
    symbols = [chemical_symbols[z] for z in frames.elements]
    given = np.array([symbol in atoms for symbol in symbols], dtype=np.bool_)
    counts = element_counts(frames)
    energies = np.array([atoms.get(symbol, 0.0) for symbol in symbols])
    binding = (counts @ energies - np.asarray(frames.energy)) / frames.n_atoms
    some = counts[:, given].any(axis=1)
    return np.where(some, binding, np.nan), np.asarray(some & ~counts[:, ~given].any(axis=1))


def _finding(data: FileFrames, frame: int, binding: float, atoms: Mapping[str, float]) -> Finding:
    one = data.frames[frame]
    symbols = [chemical_symbols[z] for z in one.elements if chemical_symbols[z] in atoms]
    named = ", ".join(f"{symbol} {atoms[symbol]:.6g} eV" for symbol in symbols)
    energy = float(np.asarray(one.energy)[0])
    what = (
        f"the most strongly bound structure has {energy:.6g} eV, {abs(binding):.3g} eV/atom "
        f"{'below' if binding > 0 else 'above'} its isolated atoms ({named}); "
        "bound matter lies 0 to 12 eV/atom below them"
    )
    likely = [text for text, factor in MISTAKES.items() if _mended(one, atoms, factor)]
    hint = f"They would fit if they were {' or '.join(likely)}: give them in eV. Otherwise c" if likely else "C"
    remedy = (
        f"{hint}alculate the atoms with the code, functional and pseudopotentials of the structures (all-electron "
        "energies do not go with pseudopotentials), or leave data.isolated_atoms out and remove single atoms"
    )
    return data.finding("error", "isolated-atoms", what, remedy, [frame])


def _mended(one: Frames, atoms: Mapping[str, float], factor: float) -> bool:
    """Return whether a factor on the atoms' energies makes the structure bound as matter is."""
    values, complete = _binding(one, {symbol: factor * energy for symbol, energy in atoms.items()})
    return bool(complete[0] and 0.5 < values[0] < 12)

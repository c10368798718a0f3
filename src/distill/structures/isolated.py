"""Isolated atoms among the structures: their energies are references, and nothing else about them can be learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.structures.checks.finding import FileFrames
from distill.structures.frames import Frames
from distill.structures.symbols import symbol_fault

ROOM = 10.0
"""Å; a single atom whose periodic images are further away is isolated."""
SAME_ENERGY = 1e-3
"""eV; two energies of an isolated atom that differ by more contradict each other."""


def are_isolated(frames: Frames) -> Array:
    """Return which structures ``[B]`` are isolated atoms.

    They have one atom, and a ``config_type`` that says so, no periodic direction, or images more than :data:`ROOM`
    away.
    """
    named = np.array(
        [family.lower().replace("_", "").replace(" ", "") == "isolatedatom" for family in frames.labels("config_type")]
    )
    alone = frames.n_atoms == 1
    far = np.zeros(len(frames), dtype=np.bool_)
    far[alone] = [_least_height(frames.cells[i], frames.pbc[i]) > ROOM for i in np.flatnonzero(alone)]
    return np.asarray(alone & (named | far))


def _least_height(cell: Array, pbc: Array) -> float:
    """Return the least distance in Å between lattice planes along periodic directions; infinite without any."""
    vectors = cell[pbc]
    if not len(vectors):
        return np.inf
    return float(1 / np.linalg.norm(np.linalg.pinv(vectors), axis=0).max())


def take_isolated(data: FileFrames) -> tuple[FileFrames, dict[str, float]]:
    """Return the structures without isolated atoms, and the atoms' energies in eV by symbol.

    Raises:
        UserError: two isolated atoms of one element have different energies.
    """
    alone = are_isolated(data.frames)
    if not alone.any() or data.frames.energy is None:
        return data, {}
    atoms = data.frames[np.flatnonzero(alone)]
    assert atoms.energy is not None  # noqa: S101 - as above
    symbols = [chemical_symbols[z] for z in atoms.numbers]
    pairs = zip(symbols, atoms.energy, strict=True)
    named = [({symbol: float(e)}, data.name) for symbol, e in pairs if np.isfinite(e)]
    return data.without(alone), join_energies(named)


def join_energies(parts: Sequence[tuple[Mapping[str, float], str]]) -> dict[str, float]:
    """Return the isolated atoms' energies of all parts, each of them a mapping and where it is from.

    Raises:
        UserError: a symbol is not an element, or two parts contradict each other.
    """
    joined: dict[str, float] = {}
    origin: dict[str, str] = {}
    for energies, where in parts:
        for symbol, energy in energies.items():
            if atomic_numbers.get(symbol, 0) < 1:
                what, remedy = symbol_fault(symbol)
                raise UserError(what, where=where, remedy=remedy)
            if abs(joined.get(symbol, energy) - energy) > SAME_ENERGY:
                both = where if where == origin[symbol] else f"{origin[symbol]} and {where}"
                what = f"an isolated {symbol} atom has the energies {joined[symbol]:.6g} and {energy:.6g} eV"
                raise UserError(what, where=both, remedy="Keep the one of the structures' level of theory")
            joined.setdefault(symbol, energy)
            origin.setdefault(symbol, where)
    return joined

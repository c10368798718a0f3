"""Rings of a network of bonds: the shortest closed paths that no shorter way cuts across.

A ring is a shortest-path ring of D. S. Franzblau, Phys. Rev. B 44, 4925 (1991); matscipy finds them. A path that
leaves a periodic cell and comes back on the other side is closed in the cell and is no ring: cells are repeated until
all such paths are longer than the longest ring that is looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from distill.analysis import hydrogen_bonds
from distill.analysis.bonds import Bonds, within
from distill.analysis.elements import of_element
from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.structures.frames import Frames
from distill.structures.periodic import whole_cells

SHORTEST = 3
MOST_ATOMS = 20_000
"""Atoms of the repeated cell at most: the distances between all of them along bonds take 1.6 GB."""


@dataclass(frozen=True)
class Rings:
    """How many rings of each size there are.

    Attributes:
        sizes: bonds of a ring, 3 to the longest, ``[R]``.
        per_atom: rings over atoms of the network in each of the frames, ``[B, R]``.
    """

    sizes: Array
    per_atom: Array

    @property
    def mean(self) -> Array:
        """Rings over atoms, the mean over frames, ``[R]``."""
        return np.asarray(self.per_atom.mean(axis=0))


def bond_rings(frames: Frames, element: str | None = None, *, radius: float, longest: int = 12) -> Rings:
    """Return the rings of the network in which atoms within a radius are bonded.

    For silica take Si and a radius between its first and second neighbours, 3.6 Å: oxygen bridges them.

    Args:
        frames: the structures.
        element: of the atoms of the network; None: all atoms.
        radius: Å.
        longest: size of the longest rings.

    Raises:
        UserError: there is no such element, the range is empty or needs too large a cell, or matscipy is missing.
    """
    chosen = of_element(frames, element)
    graphs = (within(frames[k], chosen[frames.offsets[k] : frames.offsets[k + 1]], radius) for k in range(len(frames)))
    return _rings(frames, graphs, longest)


def hydrogen_bond_rings(
    frames: Frames,
    element: str = "O",
    *,
    longest_bond: float = hydrogen_bonds.LONGEST,
    widest: float = hydrogen_bonds.WIDEST,
    longest: int = 12,
) -> Rings:
    """Return the rings of the network of hydrogen bonds, whose directions do not count.

    Args:
        frames: the structures.
        element: of donors and acceptors.
        longest_bond: distance of donor and acceptor, Å.
        widest: angle hydrogen-donor-acceptor, degrees.
        longest: size of the longest rings.

    Raises:
        UserError: as :func:`bond_rings`, or no structure has hydrogen.
    """
    directed = hydrogen_bonds.networks(frames, element, longest=longest_bond, widest=widest)
    return _rings(frames, (_both_ways(one) for one in directed), longest)


def _rings(frames: Frames, graphs: Iterable[Bonds], longest: int) -> Rings:
    """Return the rings of the network of each structure."""
    if longest < SHORTEST:
        raise UserError(f"rings have at least {SHORTEST} bonds, and the longest is to have {longest}")
    find = _finder()
    counts = [_count(frames[k], graph, longest, find) for k, graph in enumerate(graphs)]
    return Rings(np.arange(SHORTEST, longest + 1), np.array(counts).reshape(len(counts), longest - SHORTEST + 1))


def _finder() -> Callable[[Array, Array, Array, int], Array]:
    """Return what counts rings of a graph by their size, as matscipy does it."""
    try:
        from matscipy.ffi import distances_on_graph, find_sp_rings
    except ImportError:
        raise UserError(
            "rings need matscipy, which is not installed", remedy="Install it: pip install 'mlip-distill[physics]'"
        ) from None

    def find(i: Array, j: Array, vectors: Array, longest: int) -> Array:
        first, second = i.astype(np.int32), j.astype(np.int32)
        apart = distances_on_graph(first, second)
        beyond = longest + 1  # with the size itself, rings of an even size are not found
        return np.asarray(find_sp_rings(first, second, vectors, apart, beyond))[:beyond]

    return find


def _count(frame: Frames, bonds: Bonds, longest: int, find: Callable[[Array, Array, Array, int], Array]) -> Array:
    """Return rings over atoms of one structure, ``[R]``."""
    counts = np.zeros(longest + 1)
    if len(bonds.i):
        times = _repetitions(frame, bonds, longest)
        many = bonds.atoms * int(times.prod())
        if many > MOST_ATOMS:
            raise UserError(
                f"rings of {longest} need the cell {' x '.join(map(str, times))} times, with {many} atoms",
                remedy="Look for shorter ones, or take a smaller cell",
            )
        found = find(*_repeated(bonds, times), longest)
        counts[: len(found)] = found / many
    return counts[SHORTEST:]


def _repetitions(frame: Frames, bonds: Bonds, longest: int) -> Array:
    """Return how often the cell is repeated so that ``longest`` bonds do not cross it, ``[3]``."""
    normals = np.linalg.inv(whole_cells(frame.cells, frame.pbc)[0])  # columns: cell vectors along them are 1
    furthest = np.abs(bonds.vectors @ normals).max(axis=0)
    return np.where(frame.pbc[0], np.floor(longest * furthest * (1 + 1e-9)).astype(int) + 1, 1)


def _repeated(bonds: Bonds, times: Array) -> tuple[Array, Array, Array]:
    """Return first and second atoms and vectors of the bonds of a repeated cell, in the order of the first atom."""
    cells = np.stack(np.meshgrid(*map(np.arange, times), indexing="ij"), axis=-1).reshape(-1, 3)
    others = np.ravel_multi_index(tuple(((cells[:, None] + bonds.translations) % times).transpose(2, 0, 1)), times)
    i = np.arange(len(cells))[:, None] * bonds.atoms + bonds.i
    return i.ravel(), (others * bonds.atoms + bonds.j).ravel(), np.tile(bonds.vectors, (len(cells), 1))


def _both_ways(bonds: Bonds) -> Bonds:
    """Return every bond in both directions, each once."""
    i, j = np.append(bonds.i, bonds.j), np.append(bonds.j, bonds.i)
    translations = np.concatenate([bonds.translations, -bonds.translations])
    vectors = np.concatenate([bonds.vectors, -bonds.vectors])
    once = np.unique(np.column_stack([i, j, translations]), axis=0, return_index=True)[1]
    return Bonds(bonds.atoms, i, j, translations, vectors).select(once)

"""Radial distribution functions, partial or total, and the coordination numbers that are their integrals.

Periodic images count as atoms, an atom's own too, so that the range may exceed half of the cell, and a cell gives
what its supercell gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.analysis.elements import of_element
from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.structures.frames import Frames
from distill.structures.neighbours import NeighbourSearch


@dataclass(frozen=True)
class RadialDistribution:
    """A radial distribution function in ``R`` bins, the mean over frames.

    Attributes:
        radius: middle of each bin, ``[R]`` Å.
        values: g(r), ``[R]``.
        outer: outer edge of each bin, ``[R]`` Å.
        coordination: how many atoms of the second element are within ``outer`` of one of the first, ``[R]``.
    """

    radius: Array
    values: Array
    outer: Array
    coordination: Array

    def neighbours(self, radius: float) -> float:
        """Return the coordination number within ``radius`` Å, linear between the edges of bins."""
        return float(np.interp(radius, np.append(0.0, self.outer), np.append(0.0, self.coordination)))


def radial_distribution(
    frames: Frames, first: str | None = None, second: str | None = None, *, longest: float = 6.0, width: float = 0.05
) -> RadialDistribution:
    """Return g(r) of atoms of the second element around those of the first.

    It is the number of pairs over that at the mean density, N_b / V: 1 for independent atoms of two elements and
    1 - 1/N for those of one (M. P. Allen, D. J. Tildesley, Computer Simulation of Liquids, 2nd ed., eq. 8.14).

    Args:
        frames: structures that are periodic in all directions.
        first: chemical symbol; None: all atoms.
        second: chemical symbol; None: all atoms.
        longest: range, Å; it is rounded to a whole number of bins.
        width: of a bin, Å.

    Raises:
        UserError: a structure is not periodic, an element is missing, or the range has no bin.
    """
    if not frames.pbc.all():
        raise UserError("g(r) needs a density: structures must be periodic in all directions")
    if not 0 < width <= longest < np.inf:
        raise UserError(f"bins of {width:g} Å do not divide a range of {longest:g} Å", remedy="Give a wider range")
    edges = width * np.arange(round(longest / width) + 1)
    one, other = of_element(frames, first), of_element(frames, second)
    pairs, expected, centres = np.zeros(len(edges) - 1), 0.0, 0
    for k in range(len(frames)):
        atoms = slice(frames.offsets[k], frames.offsets[k + 1])
        pairs += _count(frames[k], one[atoms], other[atoms], edges)
        here = int(one[atoms].sum())
        centres += here
        expected += here * float(other[atoms].sum()) / abs(float(np.linalg.det(frames.cells[k])))
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    return RadialDistribution(
        (edges[1:] + edges[:-1]) / 2, pairs / (expected * shells), edges[1:], pairs.cumsum() / centres
    )


def relative_difference(values: Array, reference: Array) -> float:
    """Return ∫|g - g_ref| dr / ∫|g_ref - 1| dr of two functions in the same bins: 0 for equal ones.

    Args:
        values: g(r), ``[R]``.
        reference: that of the reference, ``[R]``.
    """
    return float(np.abs(values - reference).sum() / np.abs(reference - 1).sum())


def _count(frame: Frames, one: Array, other: Array, edges: Array) -> Array:
    """Return the pairs in each bin of one structure, from an atom of ``one`` to an atom of ``other``."""
    used = one | other
    one, other = one[used], other[used]
    search = NeighbourSearch(float(edges[-1]))
    i, j, distances = search.pairs(frame.positions[used], frame.cells[0], frame.pbc[0], "ijd")
    i, j = i.astype(np.int64), j.astype(np.int64)
    ways = (one[i] & other[j]).astype(int) + (one[j] & other[i])  # each pair is listed once
    return np.histogram(distances, edges, weights=ways)[0]

"""Static structure factors, partial or total, at the wave vectors that are commensurate with the cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.analysis.elements import of_element
from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.random import stream
from distill.structures.frames import Frames


@dataclass(frozen=True)
class StructureFactor:
    """A structure factor in ``Q`` bins that have wave vectors, the mean over them and over frames.

    Attributes:
        wavenumber: mean of each bin, ``[Q]`` 1/Å.
        values: S(q), ``[Q]``.
        vectors: wave vectors in each bin that were summed over, a vector and its opposite once, ``[Q]``.
    """

    wavenumber: Array
    values: Array
    vectors: Array


def structure_factor(
    frames: Frames,
    first: str | None = None,
    second: str | None = None,
    *,
    largest: float = 10.0,
    width: float = 0.1,
    vectors: int = 100,
) -> StructureFactor:
    """Return S(q) = Re <ρ_a(q) ρ_b(-q)> / sqrt(N_a N_b), after Ashcroft and Langreth.

    N. W. Ashcroft, D. C. Langreth, Phys. Rev. 156, 685 (1967). For one element, and for all atoms together, it is 1
    where atoms are independent; for two different elements, 0.

    Args:
        frames: structures of the same atoms, periodic in all directions; the cell may vary a little, as at constant
            pressure: wave vectors follow it, and are put into bins by their mean length.
        first: chemical symbol; None: all atoms.
        second: chemical symbol; None: the same as the first.
        largest: wavenumber, 1/Å.
        width: of a bin, 1/Å.
        vectors: most wave vectors in a bin; of more, as many are drawn from all directions.

    Raises:
        UserError: structures differ in their atoms or are not periodic, no such element, or no vector is in range.
    """
    _refuse(frames)
    n = int(frames.n_atoms[0])
    one = of_element(frames, first)[:n]
    other = one if second is None else of_element(frames, second)[:n]
    reciprocal = 2 * np.pi * np.linalg.inv(frames.cells).transpose(0, 2, 1)  # (B, 3, 3), vectors as rows
    indices, bins = _choose(frames.cells, reciprocal, largest, width, vectors)
    lengths, found = np.zeros(len(indices)), np.zeros(len(indices))
    for k, positions in enumerate(frames.positions.reshape(len(frames), n, 3)):
        waves = indices @ reciprocal[k]  # (V, 3)
        lengths += np.linalg.norm(waves, axis=1)
        density = np.exp(-1j * positions[one] @ waves.T).sum(axis=0)
        of_other = density if second is None else np.exp(-1j * positions[other] @ waves.T).sum(axis=0)
        found += (density * of_other.conj()).real
    found /= len(frames) * np.sqrt(float(one.sum()) * float(other.sum()))
    _, place, count = np.unique(bins, return_inverse=True, return_counts=True)
    lengths, found = (np.bincount(place, x) / count for x in (lengths / len(frames), found))
    return StructureFactor(lengths, found, count)


def _refuse(frames: Frames) -> None:
    """Raise where the structures are not those of one trajectory."""
    n = frames.n_atoms
    if not len(frames) or not n[0] or (n != n[0]).any() or np.ptp(frames.numbers.reshape(-1, n[0]), axis=0).any():
        raise UserError("S(q) needs structures of the same atoms in the same order")
    if not frames.pbc.all():
        raise UserError("S(q) needs structures that are periodic in all directions")


def _choose(cells: Array, reciprocal: Array, largest: float, width: float, most: int) -> tuple[Array, Array]:
    """Return indices of wave vectors in range, one of each and its opposite, ``[V, 3]``, and their bins, ``[V]``."""
    mean = reciprocal.mean(axis=0)
    edges = np.linalg.norm(cells, axis=2).max(axis=0)
    bounds = np.floor(largest * edges / (2 * np.pi)).astype(int)
    indices = np.stack(np.meshgrid(*[np.arange(-b, b + 1) for b in bounds], indexing="ij"), axis=-1).reshape(-1, 3)
    indices = indices[len(indices) // 2 + 1 :]  # the second half has the opposites of the first, 0 is between them
    lengths = np.linalg.norm(indices @ mean, axis=1)
    indices, lengths = indices[lengths <= largest], lengths[lengths <= largest]
    if not len(indices):
        raise UserError(
            f"no wave vector of the cell is below {largest:g} 1/Å", remedy="Take a larger one, or a supercell"
        )
    order = stream(0, "wave vectors").permutation(len(indices))
    bins = np.floor(lengths[order] / width).astype(int)
    by_bin = np.argsort(bins, kind="stable")
    indices, bins = indices[order][by_bin], bins[by_bin]
    rank = np.arange(len(bins)) - np.searchsorted(bins, bins)
    return indices[rank < most], bins[rank < most]

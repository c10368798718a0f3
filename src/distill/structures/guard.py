"""What no neighbour list is asked about: numbers that are not finite, cells without a volume, matter denser than any.

Compiled code ends the whole process at a cell that is not finite, and never ends at one that has collapsed. So every
list of neighbours is made behind this guard, see :mod:`distill.structures.neighbours`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase.symbols import Symbols

from distill.base.arrays import Array
from distill.base.errors import UserError, WorkError
from distill.structures.frames import Frames
from distill.structures.periodic import whole_cells

FARTHEST = 1e8
"""Å: a centimetre. Farther from the origin double precision no longer resolves 1e-8 Å."""

FLAT = 1e-6
"""Volume of a cell relative to that of a box with edges of the same lengths, below which its vectors are dependent."""

CLOSEST = 0.37
"""Å: half the bond of a hydrogen molecule, the shortest there is (0.74 Å)."""

SMALLEST_VOLUME = CLOSEST**3 / np.sqrt(2)
"""Å³ of an atom in the closest packing of spheres at the distance :data:`CLOSEST`: 0.036. Where atoms have less, some
two nuclei are closer than that, however they are arranged. Diamond, the densest element by number of atoms, has 5.7,
and 1.7 when it is compressed to three tenths; metallic hydrogen at 500 GPa has about 1."""

APART = 50_000
"""Times the cutoff that atoms may be apart along a direction without a period. The library divides the space between
them into cells of the cutoff, and ends the process at 250 000 of them."""

MOST_PAIRS = 2**28
"""Pairs of neighbours in one list: about 8 GB. Dense matter reaches it at several million atoms."""

SAME_PLACE = 1e-4
"""Å: two atoms that are closer are at one place; files give positions more exactly than this."""


Fault = tuple[int, str, str]
"""Index of the structure, what is wrong with it, and a remedy."""


class UnphysicalStructure(UserError):
    """A structure that no neighbour list is made for, or in which two atoms are at one place."""


class UnphysicalResult(WorkError):
    """Energy, forces or stress of a structure that are not finite."""


def refuse_unphysical(frames: Frames, cutoff: float = 0.0, file: str = "") -> None:
    """Raise :class:`UnphysicalStructure` for the first structure whose neighbours cannot be listed.

    Args:
        frames: the structures.
        cutoff: up to which neighbours will be listed, Å; infinite where it is not known. With 0, no list is meant, and
            structures only have to be finite, with cells that span a volume.
        file: that they were read from; messages then name the frame.
    """
    found = first_fault(frames.positions, frames.cells, frames.pbc, frames.n_atoms, cutoff)
    if found is not None:
        index, what, remedy = found
        raise UnphysicalStructure(
            what, f"{file}, frame {index} (counted from 0)" if file else named(frames, index), remedy
        )


def first_fault(positions: Array, cells: Array, pbc: Array, n_atoms: Array, cutoff: float) -> Fault | None:
    """Return why neighbours cannot be listed, or None; the arrays are those of ``Frames``."""
    return next(_faults(positions, cells, pbc, n_atoms, cutoff), None)


def refuse_coincident(frames: Frames, edges: Array, distances: Array) -> None:
    """Raise :class:`UnphysicalStructure` that names two atoms at one place and their structure, where there are any.

    Args:
        frames: the structures.
        edges: pairs of atoms as indices into ``frames.numbers``, ``[2, P]``.
        distances: between them, ``[P]`` Å.
    """
    same = np.flatnonzero(distances < SAME_PLACE)
    if not len(same):
        return
    i, j = sorted(int(atom) for atom in edges[:, same[0]])
    structure = int(frames.structure_of_atom[i])
    first = frames.offsets[structure]
    raise UnphysicalStructure(
        f"atoms {i - first} and {j - first} (counted from 0) are at one place",
        named(frames, structure),
        "Remove one of them, or the structure",
    )


def named(frames: Frames, index: int) -> str:
    """Return what messages call a structure, for instance ``structure 3 (counted from 0), Si8``."""
    return f"structure {index} (counted from 0), {Symbols(frames[index].numbers).get_chemical_formula()}"


def _faults(positions: Array, cells: Array, pbc: Array, n_atoms: Array, cutoff: float) -> Iterator[Fault]:
    """Yield the first fault of each kind; those of a later kind mean nothing where there is an earlier one."""
    yield from _not_finite(positions, cells, n_atoms)
    yield from _far(positions, cells, n_atoms)
    whole = whole_cells(cells, pbc)
    volumes = np.abs(np.linalg.det(whole))
    yield from _flat(whole, volumes, pbc)
    if cutoff > 0:
        yield from _dense(volumes, pbc, n_atoms)
    if 0 < cutoff < np.inf:
        yield from _apart(positions, whole, pbc, n_atoms, cutoff)
        yield from _many(positions, whole, volumes, pbc, n_atoms, cutoff)


def _structure_of(atom: int, n_atoms: Array) -> tuple[int, int]:
    """Return the structure of an atom and its place there."""
    index = int(np.searchsorted(np.cumsum(n_atoms), atom, side="right"))
    return index, atom - int(n_atoms[:index].sum())


def _not_finite(positions: Array, cells: Array, n_atoms: Array) -> Iterator[Fault]:
    remedy = "Remove the structure; if a simulation gave it, that had broken before: shorten its time step"
    if not np.isfinite(cells).all():
        yield int(np.flatnonzero(~np.isfinite(cells).all(axis=(1, 2)))[0]), "the cell is not finite", remedy
    if not np.isfinite(positions).all():
        atom = int(np.flatnonzero(~np.isfinite(positions).all(axis=1))[0])
        index, place = _structure_of(atom, n_atoms)
        yield index, f"the position of atom {place} (counted from 0) is not finite", remedy


def _far(positions: Array, cells: Array, n_atoms: Array) -> Iterator[Fault]:
    remedy = "Check the units, Å are expected; if a simulation gave it, that had broken before"
    if np.abs(cells).max(initial=0.0) > FARTHEST:
        index = int(np.flatnonzero(np.abs(cells).max(axis=(1, 2)) > FARTHEST)[0])
        yield index, f"the cell is larger than {FARTHEST:g} Å", remedy
    if np.abs(positions).max(initial=0.0) > FARTHEST:
        index, place = _structure_of(int(np.flatnonzero(np.abs(positions).max(axis=1) > FARTHEST)[0]), n_atoms)
        yield index, f"atom {place} (counted from 0) is farther than {FARTHEST:g} Å from the origin", remedy


def _flat(whole: Array, volumes: Array, pbc: Array) -> Iterator[Fault]:
    lengths = np.linalg.norm(whole, axis=2)
    empty = np.flatnonzero((pbc & (lengths == 0)).any(axis=1))
    if len(empty):
        remedy = "Give the cell, or set pbc to F in that direction"
        yield int(empty[0]), "periodic in a direction in which the cell has no lattice vector", remedy
    flat = np.flatnonzero(volumes < FLAT * lengths.prod(axis=1))
    if len(flat):
        yield int(flat[0]), "the lattice vectors are linearly dependent", "Give three that span a volume"


def _dense(volumes: Array, pbc: Array, n_atoms: Array) -> Iterator[Fault]:
    dense = np.flatnonzero(pbc.all(axis=1) & (volumes < SMALLEST_VOLUME * n_atoms))
    if len(dense):
        index = int(dense[0])
        what = f"{volumes[index] / n_atoms[index]:.2g} Å³ an atom, denser than any matter ({SMALLEST_VOLUME:.2g} Å³)"
        yield index, what, "Check the units of the cell, Å are expected; if a simulation gave it, the cell collapsed"


def _apart(positions: Array, whole: Array, pbc: Array, n_atoms: Array, cutoff: float) -> Iterator[Fault]:
    for index in np.flatnonzero(~pbc.all(axis=1)):
        end = int(n_atoms[: index + 1].sum())
        along = positions[end - n_atoms[index] : end] @ np.linalg.inv(whole[index])[:, ~pbc[index]]  # Å: unit vectors
        if len(along) and np.ptp(along, axis=0).max() > APART * cutoff:
            what = f"atoms are {np.ptp(along, axis=0).max():.2g} Å apart along a direction without a period"
            yield int(index), what, "Remove what flew away; if a simulation gave it, that had broken before"


def _many(positions: Array, whole: Array, volumes: Array, pbc: Array, n_atoms: Array, cutoff: float) -> Iterator[Fault]:
    """Estimate pairs from above: every atom with all images of all, or with what a sphere of this density holds.

    The density is that of the box around the atoms, or of the cell along directions in which that is shorter.
    """
    inverse = np.linalg.inv(whole)
    heights = 1 / np.linalg.norm(inverse, axis=1)  # (B, 3)
    images = np.where(pbc, 1 + 2 * cutoff / heights, 1.0).prod(axis=1)
    pairs = n_atoms * n_atoms * images / 2
    for index in np.flatnonzero(pairs > MOST_PAIRS):
        end, n = int(n_atoms[: index + 1].sum()), int(n_atoms[index])
        edges = np.ptp(positions[end - n : end] @ inverse[index], axis=0) + cutoff / heights[index]  # of the box
        volume = volumes[index] * np.where(pbc[index], np.minimum(edges, 1.0), edges).prod()
        expected = min(float(pairs[index]), n * n / volume * 2 / 3 * np.pi * cutoff**3)
        if expected > MOST_PAIRS:
            what = f"about {expected:.1g} pairs of atoms are within {cutoff:g} Å of each other, too many for the memory"
            yield int(index), what, "Check the units of positions and cell, Å are expected, or use fewer atoms"

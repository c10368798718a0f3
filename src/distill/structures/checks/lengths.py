"""In which unit positions and cell are, told by the nearest distances: they are about the sums of covalent radii.

In Bohr they are 1.9 times these sums, in nm 0.1 times; fractional positions lie on top of each other. Tests of geometry
are cheap: they come before the teacher is asked, and what fails them is not shown to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from ase import units
from ase.data import covalent_radii

from distill.base.arrays import Array
from distill.base.conventions import CLOSEST_RATIO
from distill.structures.frames import Frames
from distill.structures.neighbours import NeighbourSearch
from distill.structures.stacks import are_simple, empty_layers, pair_distances, stacks

FAR = 1.45
"""Nearest distance over the sum of covalent radii above which no two atoms are bound. Close-packed metals have 1.1 to
1.2, stretched by a tenth 1.3; Bohr read as Å has 1.6 or more."""
BONDED = (0.7, 1.4)
"""The same ratio, where the unit is right: of the closest pair of a structure ..."""
NEIGHBOURED = (0.7, 1.7)
"""... and of an atom in the middle of all to its nearest one."""
DENSEST = 1.0
"""Atoms per Å³; diamond has 0.18, hydrogen at the pressure of a planet's core 0.6."""
NOBLE = (2, 10, 18, 36, 54, 86)
"""Elements whose nearest distances are not those of bonds."""
CORNER = 0.17
"""Share of a cell, in the mean over directions, by which the middle of the atoms may be away from 0.26, where it is if
the cell alone is in Bohr; a cluster in the middle of its cell is 0.24 away."""
LEAST = 6
"""Atoms; fewer leave a cell that empty anyway."""
LAYER = 3.5
"""Å; the widest empty layer of condensed matter."""
SAMPLE = 6
"""Structures that each explanation is tried on."""
SMALL = 500
"""Atoms of the largest of them."""
FARTHEST = 2.5
"""Fractional coordinates beyond this are none: atoms of a simulation rarely leave their cell by more."""

LENGTHS = {"Å": 1.0, "Bohr": units.Bohr, "nm": 10.0, "pm": 0.01}
FRACTIONAL = "fractional"


@dataclass(frozen=True)
class Lengths:
    """Units of positions (or ``fractional``) and of the cell."""

    positions: str
    cell: str

    def in_angstrom(self, frames: Frames) -> Frames:
        """Return structures whose positions and cells are in these units in Å."""
        cells = frames.cells * LENGTHS[self.cell]
        if self.positions == FRACTIONAL:
            moved = np.einsum("ni,nij->nj", frames.positions, cells[frames.structure_of_atom])
        else:
            moved = frames.positions * LENGTHS[self.positions]
        return replace(frames, positions=moved, cells=cells)

    @property
    def both_wrong(self) -> bool:
        """Whether positions and cell are in two units, neither of them Å, which is rare."""
        return self.positions != self.cell and "Å" not in (self.positions, self.cell)

    @property
    def words(self) -> str:
        """Return for instance ``positions and cell in Bohr``."""
        if self.positions == self.cell:
            return f"positions and cell in {self.cell}"
        parts = [f"positions in {self.positions}" if self.positions != FRACTIONAL else "fractional positions"]
        both = [parts[0]] if self.positions != "Å" else []
        return " and ".join([*both, *([f"a cell in {self.cell}"] if self.cell != "Å" else [])])

    @property
    def remedy(self) -> str:
        """Return for instance ``Multiply positions and cell by 0.529177``."""
        if self.positions == self.cell:
            return f"Multiply positions and cell by {LENGTHS[self.cell]:.6g}"
        parts = []
        if self.cell != "Å":
            parts.append(f"multiply the cell by {LENGTHS[self.cell]:.6g}")
        if self.positions == FRACTIONAL:
            parts.append("multiply the positions by the lattice vectors (ASE: atoms.set_scaled_positions)")
        elif self.positions != "Å":
            parts.append(f"multiply the positions by {LENGTHS[self.positions]:.6g}")
        text = ", then ".join(parts)
        return text[0].upper() + text[1:]


OTHERS = tuple(
    sorted(
        (Lengths(p, c) for p, c in product((*LENGTHS, FRACTIONAL), LENGTHS) if (p, c) != ("Å", "Å")),
        key=lambda one: (one.positions != one.cell, (one.positions, one.cell) != (FRACTIONAL, "Å"), one.both_wrong),
    )
)
"""Everything else that lengths may be in, the usual first: one unit for both, fractional positions, one alone."""


def nearest_ratios(frames: Frames) -> Array:
    """Return of each structure the ratio of distance to sum of covalent radii: closest pair, and middle of all atoms.

    The latter is the median over atoms of the ratio to the nearest neighbour. Infinite without neighbours within reach,
    zero for structures too dense to be searched.

    Returns:
        ``[B, 2]``.
    """
    found, radii, starts = np.zeros((len(frames), 2)), covalent_radii[frames.numbers], frames.offsets[:-1]
    sparse = _densities(frames) <= DENSEST
    cutoffs = 2 * NEIGHBOURED[1] * np.maximum.reduceat(radii, starts)
    simple = sparse & are_simple(frames, cutoffs)
    for members, atoms in stacks(frames, np.flatnonzero(simple)):
        ratios = pair_distances(frames, members, atoms) / (radii[atoms][:, :, None] + radii[atoms][:, None])
        found[members] = _closest_and_middle(ratios.min(axis=2))
    for i in np.flatnonzero(sparse & ~simple):
        own = slice(starts[i], starts[i] + frames.n_atoms[i])
        search = NeighbourSearch(float(cutoffs[i]), full=True)
        one, other, distance = search.pairs(frames.positions[own], frames.cells[i], frames.pbc[i], "ijd")
        nearest = np.full((1, frames.n_atoms[i]), np.inf)
        np.minimum.at(nearest[0], one, distance / (radii[own][one] + radii[own][other]))
        found[i] = _closest_and_middle(nearest)[0]
    return found


def _closest_and_middle(nearest: Array) -> Array:
    """Return least and median over the atoms, ``[M, 2]``, of what is given for each, ``[M, n]``."""
    return np.stack([nearest.min(axis=1), np.median(nearest, axis=1)], axis=1)


def _densities(frames: Frames) -> Array:
    """Return the atoms per Å³ of the cell or of the box around them, whichever is more, ``[B]``."""
    starts = frames.offsets[:-1]
    edges = np.maximum.reduceat(frames.positions, starts) - np.minimum.reduceat(frames.positions, starts)
    boxes = np.maximum(edges, 2.0).prod(axis=1)
    volumes = np.where(frames.pbc.all(axis=1), frames.volumes, np.inf)
    return np.asarray(frames.n_atoms / np.maximum(np.minimum(boxes, volumes), 1e-12))


def impossible(frames: Frames) -> Array:
    """Return which structures ``[B]`` no material has: atoms on top of each other, or none near another.

    Noble gases, single atoms and pairs without a period are never too far apart.
    """
    closest = nearest_ratios(frames)[:, 0]
    noble = np.logical_or.reduceat(np.isin(frames.numbers, NOBLE), frames.offsets[:-1])
    alone = ~frames.pbc.any(axis=1) & (frames.n_atoms <= 2)
    return np.asarray((closest < CLOSEST_RATIO) | ((closest > FAR) & ~noble & ~alone))


def explanations(frames: Frames) -> list[Lengths]:
    """Return the units in which positions and cells would be those of a material, the likeliest first.

    Those without empty layers are likelier, since matter is more often condensed than not; then the usual ones.
    """
    order = np.argsort(frames.n_atoms, kind="stable")
    few = frames[order[frames.n_atoms[order] <= SMALL][:SAMPLE]]
    found = []
    for rank, lengths in enumerate(OTHERS if len(few) else ()):
        if not few.pbc.any() and lengths.positions != lengths.cell:
            continue
        if lengths.positions == FRACTIONAL and np.abs(few.positions).max() > FARTHEST:
            continue
        tried = lengths.in_angstrom(few)
        if all(_possible(*ratios) for ratios in nearest_ratios(tried)):
            empty = float(np.median(np.maximum(_gaps(tried) - LAYER, 0).sum(axis=1)))
            found.append((round(empty / LAYER) + 3 * lengths.both_wrong, rank, lengths))
    return [lengths for _, _, lengths in sorted(found, key=lambda one: one[:2])]


def _possible(closest: float, middle: float) -> bool:
    return BONDED[0] <= closest <= BONDED[1] and NEIGHBOURED[0] <= middle <= NEIGHBOURED[1]


def in_a_corner(frames: Frames) -> bool:
    """Return whether the atoms of every structure lie in the corner that they fill if the cell alone is in Bohr."""
    if not frames.pbc.all() or not len(frames) or frames.n_atoms.min() < LEAST:
        return False
    filled = LENGTHS["Bohr"]
    for one in frames:
        inverse = np.linalg.inv(one.cells[0])
        below, above = _widest(one.positions @ inverse)
        width = filled - (below + 1 - above)  # of the layer that is then left empty, as a share of the cell
        middle = (above - 1 + below) / 2
        apart = np.abs((middle - filled / 2 + 0.5) % 1.0 - 0.5)
        heights = 1 / np.linalg.norm(inverse, axis=0)
        if apart.mean() > CORNER or (width < -0.02).any() or np.median(width * heights) > LAYER:
            return False
    return True


def _widest(fractional: Array) -> tuple[Array, Array]:
    """Return where the widest empty layer along each lattice vector begins, ``[3]`` in [0, 1), and where it ends."""
    ordered = np.sort(fractional % 1.0, axis=0)
    ordered = np.vstack([ordered, ordered[:1] + 1])
    widest = np.diff(ordered, axis=0).argmax(axis=0)
    return ordered[widest, np.arange(3)], ordered[widest + 1, np.arange(3)]


def _gaps(frames: Frames) -> Array:
    """Return the widest empty layer in Å along each lattice vector, ``[B, 3]``; 0 without a cell."""
    gaps = np.zeros((len(frames), 3))
    for members, atoms in stacks(frames, np.flatnonzero(frames.pbc.all(axis=1) & (frames.volumes >= 1e-12))):
        gaps[members] = empty_layers(frames, members, atoms)
    return gaps

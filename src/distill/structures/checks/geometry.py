"""Checks of positions and cells: atoms too close, duplicates, left-handed cells, vacuum."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase.data import covalent_radii

from distill.base.arrays import Array
from distill.base.conventions import CLOSEST_RATIO
from distill.structures.checks.finding import FileFrames, Finding
from distill.structures.checks.lengths import empty_layers
from distill.structures.duplicates import NEAR, SAME, close_pairs
from distill.structures.frames import Frames
from distill.structures.guard import UnphysicalStructure
from distill.structures.neighbours import NeighbourSearch

COINCIDENT = 0.2
"""Å; no two nuclei are as close as this."""
VACUUM = 8.0
"""Å of empty space along a periodic direction, more than the cut-off of most potentials."""


def check_distances(data: FileFrames) -> Iterator[Finding]:
    """Atoms on top of each other, and atoms closer than chemistry allows."""
    lengths, ratios = closest_atoms(data.frames)
    coincident = lengths < COINCIDENT
    if coincident.any():
        what = f"two atoms are {lengths.min():.2f} Å apart"
        yield data.finding("error", "coincident-atoms", what, "Remove the doubled atoms or the frames", coincident)
    close = (ratios < CLOSEST_RATIO) & ~coincident
    if close.any():
        what = f"atoms are as close as {ratios[close].min():.2f} of the sum of their covalent radii"
        yield data.finding("warning", "close-atoms", what, "Check units of positions and cell (Å), and wrapping", close)


def closest_atoms(frames: Frames) -> tuple[Array, Array]:
    """Return per structure ``[B]`` the smallest distance in Å, and the smallest ratio to the sum of covalent radii.

    Both are infinite where no two atoms are within :data:`CLOSEST_RATIO` of that sum, and zero for structures too dense
    to be searched.
    """
    lengths, ratios = np.full((2, len(frames)), np.inf)
    radii = covalent_radii[frames.numbers]
    search = NeighbourSearch(2 * CLOSEST_RATIO * float(radii.max()))
    offsets = frames.offsets
    for i in range(len(frames)):
        atoms = slice(offsets[i], offsets[i + 1])
        try:
            one, other, distance = search.pairs(frames.positions[atoms], frames.cells[i], frames.pbc[i], "ijd")
        except UnphysicalStructure:
            lengths[i] = ratios[i] = 0.0
            continue
        if len(distance):
            lengths[i] = distance.min()
            ratios[i] = (distance / (radii[atoms][one] + radii[atoms][other])).min()
    return lengths, ratios


def check_duplicates(data: FileFrames) -> Iterator[Finding]:
    """The same structure twice, with the same labels or with others; structures that are nearly the same."""
    pairs, distances = close_pairs(data.frames)
    same = distances < SAME
    if same.any():
        what = f"{same.sum()} pairs are the same structure: {data.pairs_text(pairs[same])}"
        yield data.finding("warning", "duplicate", what, "Keep one of each", pairs[same])
    if data.frames.energy is not None:
        difference = np.abs(np.diff(data.frames.energy_per_atom[pairs], axis=1)).ravel()
        conflict = same & (difference > 1e-3)
        if conflict.any():
            what = f"the same structure has energies that differ by up to {difference[conflict].max():.3f} eV/atom"
            remedy = f"One of each is wrong or of another level of theory: {data.pairs_text(pairs[conflict])}"
            yield data.finding("warning", "conflicting-labels", what, remedy, pairs[conflict])
    near = pairs[~same]
    if len(near):
        what = f"{len(near)} pairs are within {NEAR} Å of each other: {data.pairs_text(near)}"
        yield data.finding("info", "near-duplicate", what, "Structures further apart would teach more", near)


def check_cells(data: FileFrames) -> Iterator[Finding]:
    """Left-handed cells, and vacuum along periodic directions."""
    frames = data.frames
    left = frames.pbc.all(axis=1) & (np.linalg.det(frames.cells) < 0)
    if left.any():
        what = "the lattice vectors are left-handed, which some codes do not accept"
        yield data.finding("warning", "left-handed", what, "Exchange two lattice vectors", left)
    gaps = largest_gaps(frames)
    if (gaps > VACUUM).any():
        what = f"up to {gaps.max():.1f} Å of vacuum along a periodic direction"
        remedy = "Fine for surfaces and molecules; their stress labels mean little"
        yield data.finding("info", "vacuum", what, remedy, gaps > VACUUM)


def largest_gaps(frames: Frames) -> Array:
    """Return the widest empty layer along a periodic direction of each structure, ``[B]`` Å."""
    return np.array([_largest_gap(one) for one in frames])


def _largest_gap(one: Frames) -> float:
    """Return the widest empty layer, in Å, along the periodic directions of a structure with a whole cell."""
    cell = one.cells[0]
    if abs(np.linalg.det(cell)) < 1e-6:
        return 0.0
    return float((empty_layers(one.positions, cell) * one.pbc[0]).max())

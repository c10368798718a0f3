"""Checks of positions and cells: atoms too close, duplicates, left-handed cells, vacuum."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase.data import covalent_radii

from distill.base.arrays import Array
from distill.base.conventions import CLOSEST_RATIO
from distill.structures.checks.finding import FileFrames, Finding
from distill.structures.duplicates import NEAR, SAME, WHOLE, close_pairs
from distill.structures.frames import Frames
from distill.structures.guard import SMALLEST_VOLUME, UnphysicalStructure
from distill.structures.neighbours import NeighbourSearch
from distill.structures.stacks import are_simple, empty_layers, pair_distances, stacks

COINCIDENT = 0.2
"""Å; no two nuclei are as close as this."""
NEAREST = 8
"""In files of many structures, each is compared with so many that are likest to it by their fingerprints."""
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
    cutoff = 2 * CLOSEST_RATIO * float(radii.max())
    search, offsets = NeighbourSearch(cutoff), frames.offsets
    simple = are_simple(frames, np.full(len(frames), cutoff))
    simple &= ~frames.pbc.any(axis=1) | (frames.volumes > SMALLEST_VOLUME * frames.n_atoms)
    for members, chosen in stacks(frames, np.flatnonzero(simple)):
        distances = pair_distances(frames, members, chosen)
        distances[distances > cutoff] = np.inf
        lengths[members] = distances.min(axis=(1, 2))
        ratios[members] = (distances / (radii[chosen][:, :, None] + radii[chosen][:, None])).min(axis=(1, 2))
    for i in np.flatnonzero(~simple):
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
    pairs, distances = close_pairs(data.frames, nearest=NEAREST)
    least = "at least " if len(data.frames) > WHOLE else ""
    same = distances < SAME
    if same.any():
        what = f"{least}{same.sum()} pairs are the same structure: {data.pairs_text(pairs[same])}"
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
        what = f"{least}{len(near)} pairs are within {NEAR} Å of each other: {data.pairs_text(near)}"
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
    gaps = np.zeros(len(frames))
    for members, atoms in stacks(frames, np.flatnonzero(frames.pbc.any(axis=1) & (frames.volumes >= 1e-6))):
        gaps[members] = (empty_layers(frames, members, atoms) * frames.pbc[members]).max(axis=1)
    return gaps

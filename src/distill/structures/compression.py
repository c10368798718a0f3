"""A structure at another volume: scaled evenly, or sheared and rattled besides. Molecules keep their shape: what
pressure takes first is the space between them."""

from __future__ import annotations

import numpy as np
from ase.data import covalent_radii
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from distill.base.arrays import Array
from distill.structures.composition import by_formula
from distill.structures.frames import Frames
from distill.structures.neighbours import NeighbourSearch

SHEAR = 0.1
"""Standard deviation of the shear."""

RATTLE = 0.05
"""Standard deviation of the rattle of sheared copies, Å."""

BONDED = 1.25
"""Atoms nearer than this multiple of the sum of their covalent radii are bonded."""


def lowest_structures(seeds: Frames) -> list[int]:
    """Return the index of the structure of lowest energy per atom of each composition, of those that can be compressed.

    One-dimensional and two-dimensional periodicity cannot: there is no volume.
    """
    solid = np.flatnonzero(seeds.pbc.all(axis=1) & np.isfinite(seeds.energy_per_atom))
    groups = by_formula(seeds[solid])
    return sorted(int(solid[group[np.argmin(seeds.energy_per_atom[solid[group]])]]) for group in groups)


def compressed(one: Frames, volume: float, rng: np.random.Generator | None, info: dict[str, object]) -> Frames:
    """Return one structure at ``volume`` times its volume; with random numbers sheared and rattled besides."""
    deformation = np.cbrt(volume) * (np.eye(3) if rng is None else random_shear(rng))
    centres = molecule_centres(one)
    positions = one.positions + centres @ (deformation - np.eye(3))
    if rng is not None:
        positions = positions + rng.normal(0.0, RATTLE, positions.shape)
    return Frames(one.n_atoms, one.numbers, positions, one.cells @ deformation, one.pbc, info=(info,))


def random_shear(rng: np.random.Generator) -> Array:
    """Return a random symmetric deformation ``[3, 3]`` that keeps the volume."""
    noise = rng.normal(0.0, SHEAR, (3, 3))
    deformation = np.eye(3) + (noise + noise.T) / 2
    return np.asarray(deformation / np.cbrt(np.linalg.det(deformation)))


def molecule_centres(one: Frames) -> Array:
    """Return for each atom the centre of its molecule, ``[n, 3]`` Å, in the image that the atom is in.

    An atom of a network that goes on for ever is its own centre.
    """
    (i, j), shifts = bonds(one)
    n = len(one.numbers)
    graph = coo_array((np.ones(len(i)), (i, j)), shape=(n, n))
    count, member = connected_components(graph, directed=False)
    images = unwrapping(n, i, j, shifts, member)
    unwrapped = one.positions + images @ one.cells[0]
    endless = np.zeros(count, dtype=bool)
    endless[member[i[(images[j] - images[i] != shifts).any(axis=1)]]] = True
    sizes = np.bincount(member, minlength=count)[:, None]
    sums = np.stack([np.bincount(member, weights=x, minlength=count) for x in unwrapped.T], axis=1)
    centres = (sums / sizes)[member] - images @ one.cells[0]
    return np.where(endless[member][:, None], one.positions, centres)


def bonds(one: Frames) -> tuple[Array, Array]:
    """Return the bonded pairs of a structure, ``[2, P]``, and the lattice translations of the second, ``[P, 3]``."""
    radii = covalent_radii[one.numbers]
    search = NeighbourSearch(2 * BONDED * float(radii.max()))
    pairs, shifts, distances = search.pairs(one.positions, one.cells[0], one.pbc[0], "PSd")
    i, j = edges = pairs.astype(np.int64).T
    near = distances < BONDED * (radii[i] + radii[j])
    return edges[:, near], shifts[near]


def unwrapping(n: int, i: Array, j: Array, shifts: Array, member: Array) -> Array:
    """Return lattice translations ``[n, 3]`` that put the atoms of each molecule side by side."""
    images = np.zeros((n, 3), dtype=np.int64)
    along = {(int(a), int(b)): s for a, b, s in zip(i, j, shifts, strict=True)}
    graph = coo_array((np.ones(len(i)), (i, j)), shape=(n, n)).tocsr()
    for first in np.unique(member, return_index=True)[1]:
        order, before = breadth_first_order(graph, int(first), directed=False)
        for atom in map(int, order[1:]):
            parent = int(before[atom])
            forward = along.get((parent, atom))
            images[atom] = images[parent] + (forward if forward is not None else -along[atom, parent])
    return images

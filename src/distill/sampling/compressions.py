"""Compressed and sheared copies of the lowest structures: they teach a student the way down to 0.4 of the volume.

Trees stay near the density of their seeds, and a network that has seen no other falls into holes beyond. From the
structure of lowest energy of each composition, copies are made at volumes that fall geometrically to 0.4 of its own,
scaled evenly and, as many again, also sheared and rattled. Molecules keep their shape: what pressure takes first is the
space between them. Each set of copies is a family of its own.
"""

from __future__ import annotations

import numpy as np
from ase.data import covalent_radii
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from distill.analysis.energy_volume import falls_at
from distill.base.arrays import Array
from distill.base.random import stream
from distill.potentials.interface.batch import distances, half_neighbour_list
from distill.structures.composition import by_formula
from distill.structures.frames import Frames, concatenate

SMALLEST, LARGEST = 0.4, 0.95
"""Range of the volumes, relative to that of the structure that is compressed."""

SHEAR = 0.1
"""Standard deviation of the shear."""

RATTLE = 0.05
"""Standard deviation of the rattle of sheared copies, Å."""

BONDED = 1.25
"""Atoms nearer than this multiple of the sum of their covalent radii are bonded."""

VOLUME = "relative_volume"
"""Key in ``info`` of the volume, relative to that of the structure that was compressed."""


def compressions(seeds: Frames, count: int, seed: int) -> Frames:
    """Return unlabelled copies of the lowest structure of each composition.

    Args:
        seeds: structures with energies; those that are not periodic in three directions are left alone.
        count: copies of each composition; half of them are scaled evenly, the others also sheared and rattled.
        seed: of the random numbers.

    Returns:
        Frames with ``config_type`` "compression", ``relative_volume``, and ``base``, the index of what was compressed.
    """
    copies = [Frames.empty()]
    for base in lowest_structures(seeds):
        one = seeds[base]
        for k, volume in enumerate(np.repeat(relative_volumes(-(-count // 2)), 2)[:count]):
            rng = stream(seed, "compression", base, k) if k % 2 else None
            info = {"config_type": "compression", VOLUME: round(float(volume), 4), "base": base}
            copies.append(compressed(one, float(volume), rng, info))
    return concatenate(copies)


def relative_volumes(number: int) -> Array:
    """Return volumes from :data:`LARGEST` down to :data:`SMALLEST` in equal ratios, ``[number]``."""
    return np.geomspace(LARGEST, SMALLEST, number) if number > 1 else np.array([SMALLEST])


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
    edges, shifts = half_neighbour_list(one, 2 * BONDED * float(radii.max()))
    i, j = edges
    near = distances(one, edges, shifts) < BONDED * (radii[i] + radii[j])
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


def repelling(labelled: Frames) -> tuple[Array, list[str]]:
    """Return which copies the teacher can be believed on, ``[B]``, and a sentence for each composition it cannot.

    Where matter is compressed further and further its energy rises. Evenly scaled copies show from which volume on the
    teacher's falls; all copies of that composition from there on are left out.
    """
    volumes = np.array([float(info[VOLUME]) for info in labelled.info])
    bases = np.array([info["base"] for info in labelled.info])
    kept = np.isfinite(labelled.energy_per_atom)
    said = []
    for base in np.unique(bases):
        own = np.flatnonzero(bases == base)
        limit = falls_at(volumes[own[::2]], labelled.energy_per_atom[own[::2]])
        if limit is not None:
            kept[own[volumes[own] <= limit]] = False
            formula = labelled[int(own[0])].to_atoms()[0].symbols.formula.reduce()[0]
            said.append(
                f"the teacher's energy of {formula} falls when it is compressed to {limit:.2f} of its volume: "
                "students learn no smaller volumes from it"
            )
    return kept, said

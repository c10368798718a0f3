"""Exact toy potentials in numpy, evaluated structure by structure so that no result depends on the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111
from ase.geometry import find_mic

from distill.base.arrays import Array
from distill.sampling.journal import Journal
from distill.sampling.rules import GrowthRules
from distill.structures.frames import Frames

RULES = GrowthRules(structures=16, temperature=800.0, sigma=(0.05, 0.3), cell_strain=0.02)

MOST = 10
FREELY = GrowthRules(1, 300.0, (0.2, 0.3), max_relax_steps=MOST, min_separation=0.0, min_displacement=0.0)
"""No structure is a duplicate or too close. With one structure a tree every parent is a seed."""

IMAGES = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


def morse(one: Frames, depth: float = 0.3, width: float = 1.4, bond: float = 2.6, cutoff: float = 4.5) -> tuple:
    """Return energy, forces and stress of one structure in a Morse potential that is cut off smoothly."""
    cell, images = one.cells[0], IMAGES[~np.any(IMAGES[:, ~one.pbc[0]], axis=1)]
    vectors = one.positions[None, :, None] - one.positions[:, None, None] + images @ cell  # (n, n, k, 3): from i to j
    r = np.linalg.norm(vectors, axis=-1)
    near = (r > 1e-9) & (r < cutoff)
    r = np.where(near, r, cutoff)
    well = np.exp(-width * (r - bond))
    value, derivative = depth * (well**2 - 2 * well), depth * width * (-2 * well**2 + 2 * well)
    fade = (1 - (r / cutoff) ** 2) ** 2
    dfade = -4 * r / cutoff**2 * (1 - (r / cutoff) ** 2)
    energy = 0.5 * np.sum(np.where(near, value * fade, 0.0))
    pull = np.where(near, (derivative * fade + value * dfade) / r, 0.0)[..., None] * vectors
    volume = abs(np.linalg.det(cell))
    stress = np.einsum("ijka,ijkb->ab", pull, vectors) / 2 / volume if volume > 0 else np.full((3, 3), np.nan)
    return energy, pull.sum(axis=(1, 2)), stress


def flat(step: float, seeds: Frames) -> Toy:
    """Return a predictor: 0 eV/atom for the seeds, ``step`` eV/atom elsewhere; tiny forces that pull atoms apart."""

    known = [seed.positions for seed in seeds]

    def label(one: Frames) -> tuple:
        n = one.n_atoms[0]
        moved = not any(np.array_equal(one.positions, positions) for positions in known)
        return step * n * moved, 1e-3 * np.where(np.arange(n) % 2, 1.0, -1.0)[:, None] * np.ones(3), np.zeros((3, 3))

    return Toy(label)


def homing(seed: Frames, stiffness: float) -> Toy:
    """Return a predictor of springs, eV/Å², that pull every atom to where it is in ``seed``."""

    def label(one: Frames) -> tuple:
        away = one.positions - seed.positions
        return 0.5 * stiffness * np.sum(away**2), -stiffness * away, np.zeros((3, 3))

    return Toy(label)


@dataclass
class Toy:
    """A predictor of a function of one structure; counts calls and keeps what it evaluated.

    Raises KeyboardInterrupt where ``most`` structures would be exceeded.
    """

    label: Callable[[Frames], tuple] = morse
    most: float = np.inf
    calls: int = 0
    rounds: int = 0
    largest: int = 0
    seen: list[Frames] = field(default_factory=list)

    def __call__(self, frames: Frames) -> Frames:
        if self.calls + len(frames) > self.most:
            raise KeyboardInterrupt
        self.calls += len(frames)
        self.rounds += 1
        self.largest = max(self.largest, len(frames.numbers))
        structures = list(frames)
        self.seen += structures
        labels = [self.label(one) for one in structures]
        energy, forces, stress = zip(*labels, strict=True)
        return frames.with_labels(np.array(energy), np.concatenate(forces), np.stack(stress))


def crystals() -> Frames:
    """Return a 4-atom crystal, an 8-atom one in a skewed cell, a slab and a molecule."""
    structures = [bulk("Cu", "fcc", a=3.65, cubic=True), bulk("Cu", "fcc", a=3.65).repeat(2), slab(), cluster()]
    for atoms, name in zip(structures, ["cubic", "skewed", "slab", "cluster"], strict=True):
        atoms.info = {"config_type": name}
    return Frames.from_atoms(structures)


def crystal() -> Frames:
    """Return the 4-atom crystal alone."""
    return crystals()[0]


def slab() -> Atoms:
    """Return three layers of two copper atoms, the lowest first."""
    made = fcc111("Cu", (1, 2, 3), a=3.65, vacuum=5.0)
    return Atoms(made.numbers, made.positions, cell=made.cell, pbc=(True, True, False))


def cluster() -> Atoms:
    """Return a tetrahedron of copper atoms without a cell."""
    return Atoms("Cu4", 0.95 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]))


def fix(frames: Frames, fixed: Array) -> Frames:
    """Return the same structures with ``fixed`` components, ``[N, 3]``, or whole atoms, ``[N]``."""
    fixed = np.asarray(fixed, dtype=bool)
    return replace(frames, fixed=fixed if fixed.ndim == 2 else np.repeat(fixed[:, None], 3, axis=1))


def members(frames: Frames, seeds: Frames, tree: int) -> list[Array]:
    """Return the positions of the members of a tree, seed first, the strain undone as the cells themselves tell it."""
    seed = seeds[tree]
    found = [seed.positions]
    for one in frames:
        if one.info[0]["tree"] == tree:
            periodic = bool(seed.pbc.any())
            found.append(one.positions @ np.linalg.solve(one.cells[0], seed.cells[0]) if periodic else one.positions)
    return found


def displacement(a: Array, b: Array, seed: Frames) -> float:
    """Return the mean displacement of the atoms that may move, Å, by ASE's minimum image."""
    lengths = find_mic(a - b, seed.cells[0], seed.pbc[0])[1]
    return float((lengths if seed.fixed is None else lengths[~seed.fixed.all(axis=1)]).mean())


def nearest_members(frames: Frames, seeds: Frames) -> float:
    """Return the least displacement between any two members of one tree, Å."""
    trees = [members(frames, seeds, t) for t in range(len(seeds))]
    return min(displacement(a, b, seeds[t]) for t, m in enumerate(trees) for i, a in enumerate(m) for b in m[:i])


def least_distance(one: Frames) -> float:
    """Return the least distance of two different atoms of one structure, Å."""
    distances = one.to_atoms()[0].get_all_distances(mic=True)
    return float(distances[~np.eye(len(distances), dtype=bool)].min())


def assert_geometric(relax_steps: Array, p: float) -> None:
    """Check the numbers of steps against p (1-p)^k, and (1-p)^MOST at the end; four standard deviations are allowed."""
    chance = p * (1 - p) ** np.arange(MOST + 1)
    chance[MOST] = (1 - p) ** MOST
    n = len(relax_steps)
    found = np.bincount(relax_steps, minlength=MOST + 1)
    assert np.all(np.abs(found - n * chance) <= 4 * np.sqrt(n * chance * (1 - chance)))


def records(path: Path) -> list[dict]:
    """Return the proposals in a journal."""
    with Journal(path) as journal:
        return list(journal.replay())[1:]


def same(a: Frames, b: Frames) -> bool:
    """Return whether two sets of structures are equal to the bit, labels, fixed atoms and info included."""
    names = ["n_atoms", "numbers", "positions", "cells", "pbc", "energy", "forces", "fixed"]
    arrays: list[tuple[Array, Array]] = [(getattr(a, name), getattr(b, name)) for name in names]
    missing = (a.stress is None) == (b.stress is None)
    stress = missing and (a.stress is None or np.array_equal(a.stress, b.stress, equal_nan=True))
    return stress and a.info == b.info and all(np.array_equal(x, y) for x, y in arrays)

"""Random cells relaxed: hard spheres of the elements of a material, sent downhill in enthalpy to see where they end.

A potential with walls lets no two atoms come closer than :data:`~distill.base.conventions.CLOSEST_RATIO` allows; one
with holes pulls them in.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase.data import covalent_radii

from distill.analysis.geometry import closest_pairs
from distill.base.arrays import Array
from distill.base.conventions import CLOSEST_RATIO, EV_PER_A3_IN_GPA
from distill.base.progress import Phase
from distill.base.random import stream
from distill.structures.frames import Frames, concatenate

Predictor = Callable[[Frames], Frames]

CELLS = 4
"""Random cells, half of them compressed."""

ATOMS = 6
"""Atoms of a random cell."""

PRESSURES = (0.0, 50.0)
"""GPa that cells are relaxed at."""

STEPS = 20
"""Steps of a relaxation: enough to come from where atoms are put to where they touch."""

APART = 0.75
"""Atoms of a random cell are put no closer than this multiple of the sum of their covalent radii."""

LONGEST = 0.15
"""Å that an atom moves in a step of a relaxation at most."""

MOST_STRAIN = 0.03
"""Strain of a cell in a step of a relaxation at most."""

MOBILITY = 0.05
"""Å per eV/Å, and strain per eV/atom, that a step goes where these limits allow it."""


def relax_cells(predict: Predictor, cells: Frames, pressures: Array, phase: Phase) -> Array:
    """Return which cells fall into a hole on their way downhill in enthalpy, ``[C]``.

    Args:
        predict: gives energies, forces and, where it has one, the stress.
        cells: as :func:`random_cells` gives them.
        pressures: of each of them, ``[C]`` GPa.
        phase: counts structures evaluated, :data:`STEPS` of each cell at most.
    """
    fallen, active = np.zeros(len(cells), dtype=np.bool_), np.arange(len(cells))
    now, first = cells, np.full(len(cells), np.nan)
    pressure = pressures / EV_PER_A3_IN_GPA
    for step in range(STEPS):
        if not len(active):
            break
        labelled = predict(now)
        phase.advance(len(active))
        enthalpy = (labelled.energy + pressure[active] * now.volumes) / now.n_atoms
        if step == 0:
            first = enthalpy.copy()
        broken = ~np.isfinite(enthalpy)
        close = closest_pairs(now, cutoff=3.0).ratio < CLOSEST_RATIO
        fallen[active[broken | (close & (enthalpy < first[active]))]] = True
        going = np.flatnonzero(~(broken | close))
        active, now = active[going], _downhill(labelled[going], pressure[active[going]])
    return fallen


def _downhill(labelled: Frames, pressure: Array) -> Frames:
    """Return structures one step further along their forces, and their cells along their enthalpy's slope."""
    forces, of_atom = np.nan_to_num(np.asarray(labelled.forces)), labelled.structure_of_atom
    largest = np.zeros(len(labelled))
    np.maximum.at(largest, of_atom, np.linalg.norm(forces, axis=1))
    moves = forces * (np.minimum(LONGEST, MOBILITY * largest) / np.maximum(largest, 1e-12))[of_atom, None]
    none = np.full((len(labelled), 3, 3), np.nan)
    stress = none if labelled.stress is None else labelled.stress
    slope = -(labelled.volumes / labelled.n_atoms)[:, None, None] * (stress + pressure[:, None, None] * np.eye(3))
    slope = np.nan_to_num(slope)  # without a stress the cell stays as it is
    steepest = np.abs(slope).max(axis=(1, 2), initial=0.0)
    strain = slope * (np.minimum(MOST_STRAIN, MOBILITY * steepest) / np.maximum(steepest, 1e-12))[:, None, None]
    deformation = np.eye(3) + strain
    return Frames(
        labelled.n_atoms,
        labelled.numbers,
        np.einsum("ni,nij->nj", labelled.positions + moves, deformation[of_atom]),
        labelled.cells @ deformation,
        labelled.pbc,
    )


def random_cells(structures: Frames, seed: int) -> Frames:
    """Return :data:`CELLS` cells with atoms of the structures, put at random like hard spheres, half of them dense."""
    return concatenate([_random_cell(structures, stream(seed, "holes", k), bool(k % 2)) for k in range(CELLS)])


def _random_cell(structures: Frames, rng: np.random.Generator, dense: bool) -> Frames:
    """Return one cell; where the atoms do not fit, it grows until they do."""
    one = structures[int(rng.integers(len(structures)))]
    numbers = rng.choice(one.numbers, ATOMS, replace=len(one.numbers) < ATOMS)
    radii = covalent_radii[numbers]
    size = ATOMS * float(np.mean((2 * radii) ** 3)) * (0.7 if dense else 1.2)
    while True:
        lattice = np.eye(3) + rng.uniform(-0.25, 0.25, (3, 3))
        cell = lattice * np.cbrt(size / abs(np.linalg.det(lattice)))
        found = _fill(numbers, cell, rng)
        if found is not None:
            return found
        size *= 1.05


def _fill(numbers: Array, cell: Array, rng: np.random.Generator, tries: int = 30) -> Frames | None:
    """Return a cell with the atoms put at random no closer than :data:`APART`, or None where they found no place."""
    positions = np.zeros((0, 3))
    for k in range(len(numbers)):
        for _ in range(tries):
            tried = np.vstack([positions, rng.random(3) @ cell])
            frames = Frames(np.array([k + 1]), numbers[: k + 1], tried, cell[None], np.ones((1, 3), dtype=bool))
            if closest_pairs(frames, cutoff=5.0).ratio[0] >= APART:
                positions = tried
                break
        else:
            return None
    return frames

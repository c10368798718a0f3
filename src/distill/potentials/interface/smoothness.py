"""Whether an energy is smooth at perfect crystals: force constants must not depend on the displacement.

Where a site is symmetric, the vectors and tensors of its surroundings vanish. What has a tip there (the length of a
vector, an angle near 180°) gives the energy the tip of a cone: invisible in forces at thermal displacements, which
errors and dynamics look at, but phonons and relaxations of a perfect crystal see nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii

from distill.base.arrays import Array
from distill.potentials.interface.ensemble import Ensemble
from distill.potentials.interface.gradient_free import GradientFree
from distill.potentials.interface.potential import Potential
from distill.structures.frames import Frames

DISPLACEMENTS = (0.001, 0.003, 0.01, 0.03, 0.1)
"""Å, at which force constants are compared."""

DIRECTION = np.array([0.6, 0.48, 0.64])

NEAR, SMOOTH_NEAR, SMOOTH_FAR = 3, 0.05, 0.4
"""A smooth force constant differs by a term of the square of the displacement: up to 0.01 Å, the first three, by next
to nothing, and up to 0.1 Å by what the crystal is anharmonic."""

NOISE, SOFT = 0.01, 1.0
"""eV/Å²; smaller force constants are compared as if they were of this size, near and far."""


def in_double(potential: Potential) -> Potential:
    """Return a copy in double precision; what has no network, whose numbers come from elsewhere, as it is."""
    if isinstance(potential, Ensemble):
        doubled = copy.copy(potential)
        doubled.members = {name: in_double(member) for name, member in potential.members.items()}
        return doubled
    return potential if isinstance(potential, GradientFree) else copy.deepcopy(potential).double()


def rough_crystals(evaluate: Callable[[Frames], Frames], first: int, second: int) -> Iterator[str]:
    """Yield a sentence for each crystal of two elements at which the energy is not smooth.

    Args:
        evaluate: gives forces, best in double precision: in single precision those of 0.001 Å are half rounding.
        first: an atomic number.
        second: another; or the same.
    """
    for name, crystal in perfect_crystals(first, second).items():
        found = force_constants(evaluate, crystal)
        if not is_smooth(found):
            yield f"the force constant of an atom of {name} depends on the displacement: {describe_constants(found)}"


def is_smooth(found: Array) -> bool:
    """Return whether force constants at :data:`DISPLACEMENTS` are those of a smooth energy."""
    size = float(np.abs(found).max())
    near, far = float(np.ptp(found[:NEAR])), float(np.ptp(found))
    return near <= SMOOTH_NEAR * max(size, NOISE) and far <= SMOOTH_FAR * max(size, SOFT)


def describe_constants(found: Array) -> str:
    """Return the force constants at :data:`DISPLACEMENTS` in words, eV/Å²."""
    return ", ".join(f"{k:.3g} at {u:g} Å" for u, k in zip(DISPLACEMENTS, found, strict=True)) + " (eV/Å²)"


def perfect_crystals(first: int, second: int) -> dict[str, Atoms]:
    """Return crystals whose sites are symmetric: of one element, and of two; bonds are as long as radii say."""
    bond = float(covalent_radii[first] + covalent_radii[second])
    own = 2 * float(covalent_radii[first])
    crystals = {
        "diamond": bulk("C", "diamond", a=own * 4 / np.sqrt(3), cubic=True),
        "fcc": bulk("C", "fcc", a=1.1 * own * np.sqrt(2), cubic=True),
        "bcc": bulk("C", "bcc", a=1.1 * own * 2 / np.sqrt(3), cubic=True),
    }
    for crystal in crystals.values():
        crystal.numbers[:] = first
    salt = bulk("NaCl", "rocksalt", a=2.4 * bond, cubic=True)
    salt.numbers[:] = np.where(salt.numbers == 11, first, second)
    cubic = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    numbers = [first, first, second, second, second]
    perovskite = Atoms(numbers, scaled_positions=cubic, cell=3 * [2.2 * bond], pbc=True)
    return crystals | {"rocksalt": salt, "perovskite": perovskite}


def force_constants(evaluate: Callable[[Frames], Frames], crystal: Atoms) -> Array:
    """Return −ΔF/2u along a general direction for the :data:`DISPLACEMENTS` ±u of the first atom, eV/Å²."""
    moved = []
    for u in DISPLACEMENTS:
        for sign in (1, -1):
            copied = crystal.copy()
            copied.positions[0] += sign * u * DIRECTION
            moved.append(copied)
    forces = np.asarray(evaluate(Frames.from_atoms(moved)).forces)
    along = forces.reshape(len(DISPLACEMENTS), 2, len(crystal), 3)[:, :, 0] @ DIRECTION
    return np.asarray((along[:, 1] - along[:, 0]) / (2 * np.array(DISPLACEMENTS)))

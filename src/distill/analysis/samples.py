"""The samples of one run of dynamics as arrays: what observables are computed from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from ase.data import atomic_masses, atomic_numbers

from distill.analysis.displacements import without_drift
from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.structures.frames import Frames


@dataclass(frozen=True, eq=False)
class Samples:
    """``T`` samples of ``N`` atoms, at equal steps of time.

    Attributes:
        numbers: atomic numbers, ``[N]``.
        masses: atomic mass units, ``[N]``.
        pbc: periodic directions, ``[3]`` booleans.
        positions: unwrapped, ``[T, N, 3]`` Å.
        cells: ``[T, 3, 3]`` Å.
        step_fs: time between two samples, fs.
        temperature: ``[T]`` K.
        energy: potential energy, ``[T]`` eV.
        kinetic_energy: ``[T]`` eV.
        pressure: ``[T]`` GPa, with the ideal gas, or None.
        velocities: ``[T, N, 3]`` in ASE's unit, or None where they were not kept.
    """

    numbers: Array
    masses: Array
    pbc: Array
    positions: Array
    cells: Array
    step_fs: float
    temperature: Array = field(default_factory=lambda: np.zeros(0))
    energy: Array = field(default_factory=lambda: np.zeros(0))
    kinetic_energy: Array = field(default_factory=lambda: np.zeros(0))
    pressure: Array | None = None
    velocities: Array | None = None

    @classmethod
    def of_structures(cls, structures: Frames) -> Samples:
        """Return structures of the same atoms as samples of no known time.

        Raises:
            UserError: their atoms differ, or they are not in the same order.
        """
        n = int(structures.n_atoms[0])
        numbers = structures.numbers[:n]
        if not (structures.n_atoms == n).all() or not (structures.numbers.reshape(-1, n) == numbers).all():
            raise UserError("structures that stand for a reference must have the same atoms in the same order")
        return cls(
            numbers=numbers,
            masses=atomic_masses[numbers],
            pbc=structures.pbc[0],
            positions=structures.positions.reshape(-1, n, 3),
            cells=structures.cells,
            step_fs=float("nan"),
        )

    def __len__(self) -> int:
        return len(self.positions)

    @cached_property
    def frames(self) -> Frames:
        """The samples as structures."""
        t, n = self.positions.shape[:2]
        return Frames(
            n_atoms=np.full(t, n),
            numbers=np.tile(self.numbers, t),
            positions=self.positions.reshape(-1, 3),
            cells=self.cells,
            pbc=np.tile(self.pbc, (t, 1)),
        )

    def of(self, element: str | None) -> Array:
        """Return which atoms are of an element, ``[N]`` booleans; all of them for None.

        Raises:
            UserError: there is none.
        """
        if element is None:
            return np.ones(len(self.numbers), dtype=bool)
        chosen: Array = self.numbers == atomic_numbers.get(element, -1)
        if not chosen.any():
            raise UserError(f"the run has no atom of {element!r}")
        return chosen

    def paths(self, element: str | None = None) -> Array:
        """Return positions of the atoms of an element without the motion of the whole, ``[T, n, 3]`` Å."""
        return without_drift(self.positions, self.masses)[:, self.of(element)]

    def every(self, most: int) -> Samples:
        """Return at most ``most`` samples, evenly spaced, for what costs more than it gains by more of them."""
        step = -(-len(self) // most)
        taken = {name: value[::step] for name in _SAMPLED if (value := getattr(self, name)) is not None}
        return Samples(self.numbers, self.masses, self.pbc, step_fs=self.step_fs * step, **taken)


_SAMPLED = ("positions", "cells", "temperature", "energy", "kinetic_energy", "pressure", "velocities")

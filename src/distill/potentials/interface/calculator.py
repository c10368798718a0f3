"""A potential as an ASE calculator, with a list of neighbours that survives many steps.

Pairs are listed up to the cutoff plus a skin (Verlet's list); they hold until an atom has moved by half the skin. Each
step keeps those of them that are within the cutoff, so that the result is that of a fresh list. What a model needs
besides pairs, such as CHGNet's angles, is found anew at every step.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from distill.base.arrays import Array
from distill.potentials.interface.batch import Batch, Prediction, find_pairs
from distill.structures.frames import Frames

SKIN = 0.5
"""Å; at room temperature a list of this skin holds for tens of steps and has a third more pairs at 5 Å."""


class Predictor(Protocol):
    """What the calculator needs of a potential."""

    @property
    def cutoff(self) -> float:
        """The distance up to which atoms see each other, Å."""

    def check(self, frames: Frames) -> None:
        """Refuse structures that it cannot describe."""

    def batch(self, frames: Frames, neighbours: tuple[Array, Array] | None = None) -> Batch:
        """Return the structures as one batch, with given pairs and shifts."""

    def __call__(self, batch: Batch) -> Prediction:
        """Return what it predicts."""


class PotentialCalculator(Calculator):
    """Energy, forces and, for structures that are periodic in three directions, stress.

    Args:
        potential: in evaluation mode, on the device to use.
        skin: how much further than the cutoff pairs are listed, Å; 0 lists them anew at each step.

    Attributes:
        lists_built: how many lists of neighbours were made so far.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, potential: Predictor, skin: float = SKIN) -> None:
        super().__init__()
        self.potential = potential
        self.skin = skin
        self.lists_built = 0
        self._listed: Frames | None = None
        self._pairs: Array = np.zeros((2, 0), dtype=np.int64)
        self._shifts: Array = np.zeros((0, 3), dtype=np.int32)

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Return what changed since the last calculation of all that a potential depends on.

        ASE's own comparison of everything with a tolerance takes longer than a step of a fast student.
        """
        last = self.atoms
        if last is None:
            return list(all_changes)
        pairs = {
            "positions": (last.positions, atoms.positions),
            "numbers": (last.numbers, atoms.numbers),
            "cell": (last.cell.array, atoms.cell.array),
            "pbc": (last.pbc, atoms.pbc),
        }
        return [name for name, (before, now) in pairs.items() if not np.array_equal(before, now)]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill ``self.results``; the stress comes along, since it costs next to nothing.

        Raises:
            UserError: the potential does not know an element, or a periodic direction has no lattice vector.
        """
        if atoms is not None and self.check_state(atoms):  # else they are those that ASE has just copied
            self.atoms = atoms.copy()
        energy, forces, stress = self._predict(Frames.from_atoms([self.atoms], constraints=False))
        self.results = {
            "energy": float(energy[0]),
            "free_energy": float(energy[0]),
            "forces": forces.cpu().numpy().astype(np.float64),
        }
        if stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress[0].cpu().numpy().astype(np.float64))

    def _predict(self, frames: Frames) -> Prediction:
        """Return the numbers of one structure, the stress only where it is periodic."""
        batch = self.potential.batch(frames, self._neighbours(frames))
        found: Prediction = self.potential(batch)
        return found if batch.periodic else found._replace(stress=None)

    def _neighbours(self, frames: Frames) -> tuple[Array, Array]:
        """Return the pairs within the cutoff and their lattice translations."""
        if not self._holds(frames):
            self.potential.check(frames)
            self._pairs, self._shifts = find_pairs(frames, self.potential.cutoff + self.skin)
            self._listed = frames
            self.lists_built += 1
        i, j = self._pairs
        vectors = frames.positions[j] - frames.positions[i] + self._shifts @ frames.cells[0]
        near = np.einsum("ij,ij->i", vectors, vectors) < self.potential.cutoff**2
        return self._pairs[:, near], self._shifts[near]

    def _holds(self, frames: Frames) -> bool:
        """Return whether the listed pairs contain all that are within the cutoff now."""
        listed = self._listed
        if listed is None or not all(
            np.array_equal(getattr(listed, name), getattr(frames, name)) for name in ("numbers", "pbc", "cells")
        ):
            return False
        moved = np.square(frames.positions - listed.positions).sum(axis=1)
        return bool(moved.max(initial=0.0) < (self.skin / 2) ** 2)

"""A potential as an ASE calculator, with a list of neighbours that survives many steps.

The result is that of a fresh list at every step. What a model needs besides edges, such as CHGNet's angles, is found
again at every step.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from distill.base.arrays import Array
from distill.potentials.interface.batch import Batch, Prediction
from distill.potentials.interface.verlet_list import VerletList
from distill.structures.frames import Frames

SKIN = 0.5
"""Å; at room temperature a list of this skin holds for tens of steps and has a third more edges at 5 Å."""


class Predictor(Protocol):
    """What the calculator needs of a potential."""

    @property
    def cutoff(self) -> float:
        """The distance up to which atoms see each other, Å."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def check(self, frames: Frames) -> None:
        """Refuse structures that it cannot describe."""

    def batch(self, frames: Frames, neighbours: tuple[Array, Array] | tuple[Tensor, Tensor] | None = None) -> Batch:
        """Return the structures as one batch, with given edges and shifts."""

    def __call__(self, batch: Batch) -> Prediction:
        """Return what it predicts."""


class PotentialCalculator(Calculator):
    """Energy, forces and, for structures that are periodic in three directions, stress.

    Args:
        potential: in evaluation mode, on the device to use.
        skin: how much further than the cutoff edges are listed, Å; with 0 the list is rebuilt at each step.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, potential: Predictor, skin: float = SKIN) -> None:
        super().__init__()
        self.potential = potential
        self._list = VerletList(potential.cutoff, skin, potential.device)

    @property
    def lists_built(self) -> int:
        """How often the neighbour list was built so far."""
        return self._list.rebuilt

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Return what changed since the last calculation of all that a potential depends on.

        ASE's own comparison of everything with a tolerance takes longer than a step of a fast student.
        """
        last = self.atoms
        if last is None:
            return list(all_changes)
        compared = {
            "positions": (last.positions, atoms.positions),
            "numbers": (last.numbers, atoms.numbers),
            "cell": (last.cell.array, atoms.cell.array),
            "pbc": (last.pbc, atoms.pbc),
        }
        return [name for name, (before, now) in compared.items() if not np.array_equal(before, now)]

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
        if not self._list.holds(frames):
            self.potential.check(frames)
            self._list.rebuild(frames)
        batch = self.potential.batch(frames, self._list.within_cutoff(frames))
        found: Prediction = self.potential(batch)
        return found if batch.periodic else found._replace(stress=None)

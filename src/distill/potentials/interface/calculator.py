"""A potential as an ASE calculator, with a list of neighbours that survives many steps.

The result is that of a fresh list at every step. What a model needs besides edges, such as CHGNet's angles, is found
again at every step.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from distill.base.arrays import Array
from distill.potentials.interface.batch import Batch, Prediction
from distill.potentials.interface.verlet_list import VerletList
from distill.structures.frames import Frames
from distill.structures.neighbours import not_finite

SKIN = 0.5
"""Å; at room temperature a list of this skin holds for tens of steps and has a third more edges at 5 Å."""

PYTHON, CPP = "Python", "C++"
"""What computes: whatever is called from Python, such as torch, or our own C++."""


class Predictor(Protocol):
    """What the calculator needs of a potential."""

    architecture: str

    @property
    def predicts_stress(self) -> bool:
        """Whether it has a stress at all."""

    @property
    def cutoff(self) -> float:
        """The distance up to which atoms see each other, Å."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def predicts_atomic_energies(self) -> bool:
        """Whether the energies of single atoms mean something."""

    def check(self, frames: Frames) -> None:
        """Refuse structures that it cannot describe."""

    def batch(self, frames: Frames, neighbours: tuple[Array, Array] | tuple[Tensor, Tensor] | None = None) -> Batch:
        """Return the structures as one batch, with given edges and shifts."""

    def __call__(self, batch: Batch) -> Prediction:
        """Return what it predicts."""

    def with_atomic_energies(self, batch: Batch) -> tuple[Prediction, Tensor]:
        """Return what it predicts, and the energy of each atom."""


class PotentialCalculator(Calculator):
    """Energy, also of each atom, forces and, for structures that are periodic in three directions, stress.

    Args:
        potential: in evaluation mode, on the device to use.
        skin: how much further than the cutoff edges are listed, Å; with 0 the list is rebuilt at each step.

    Attributes:
        computed_by: what does the arithmetic, :data:`PYTHON` or :data:`CPP`.
    """

    computed_by = PYTHON

    def __init__(self, potential: Predictor, skin: float = SKIN) -> None:
        super().__init__()
        self.potential = potential
        self.implemented_properties = ["energy", "free_energy", "forces"]
        if potential.predicts_stress:
            self.implemented_properties.append("stress")
        if potential.predicts_atomic_energies:
            self.implemented_properties.append("energies")
        self._list = VerletList(potential.cutoff, skin, potential.device)

    @property
    def lists_built(self) -> int:
        """How often the neighbour list was built so far."""
        return self._list.rebuilt

    def forget(self) -> None:
        """Forget the last structure and its list of neighbours: what comes next depends on nothing that was before."""
        self.reset()
        self._list.forget()

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """Return a property as ASE does; where there is none, the error says why."""
        try:
            return super().get_property(name, atoms, allow_calculation)
        except PropertyNotImplementedError as error:
            raise PropertyNotImplementedError(self._why_not(name, str(error))) from None

    def _why_not(self, name: str, otherwise: str) -> str:
        """Return why a property is not there."""
        if name == "energies":
            return f"{self.potential.architecture} gives the energy of a structure, not of its atoms"
        if name != "stress":
            return otherwise
        if not self.potential.predicts_stress:
            return f"{self.potential.architecture} predicts no stress"
        directions = " ".join("FT"[int(periodic)] for periodic in self.atoms.pbc)
        return f"a stress needs a structure that is periodic in three directions, and pbc is {directions}"

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
        """Fill ``self.results``; stress and energies of atoms come along, since they cost next to nothing.

        Raises:
            UserError: the potential does not know an element, or the structure is not physical: not finite, degenerate,
                too dense, or with two atoms at one place.
            UnphysicalResult: energy, forces or stress are not finite.
        """
        if atoms is not None and self.check_state(atoms):  # else they are those that ASE has just copied
            self.atoms = atoms.copy()
        self.results = {}
        frames = Frames.from_atoms([self.atoms], constraints=False)
        results = self._computed(frames)
        if not all(np.isfinite(value).all() for value in results.values()):
            raise not_finite(frames, f"potential {self.potential.architecture}")
        self.results = results

    def _computed(self, frames: Frames) -> dict[str, float | Array]:
        """Return all properties of one structure that there are."""
        (energy, forces, stress), of_atoms = self._predict(frames)
        results: dict[str, float | Array] = {
            "energy": float(energy[0]),
            "free_energy": float(energy[0]),
            "forces": forces.cpu().numpy().astype(np.float64),
        }
        if stress is not None:
            results["stress"] = full_3x3_to_voigt_6_stress(stress[0].cpu().numpy().astype(np.float64))
        if of_atoms is not None:
            results["energies"] = of_atoms.detach().cpu().numpy()
        return results

    def _predict(self, frames: Frames) -> tuple[Prediction, Tensor | None]:
        """Return the numbers of one structure, the stress only where it is periodic, and energies of atoms if any."""
        if not self._list.holds(frames):
            self.potential.check(frames)
            self._list.rebuild(frames)
        batch = self.potential.batch(frames, self._list.within_cutoff(frames))
        of_atoms: Tensor | None = None
        if self.potential.predicts_atomic_energies:
            found, of_atoms = self.potential.with_atomic_energies(batch)
        else:
            found = self.potential(batch)
        return found if batch.periodic else found._replace(stress=None), of_atoms

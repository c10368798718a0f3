"""ACE as a potential: its numbers come from pyace's C++ evaluator, in a process of its own.

What is saved is what pacemaker and LAMMPS read: the basis (``potential.yaml``), the tables of the simulation codes
(``potential.yace``, per-element energies included), the active set (``potential.asi``) and a LAMMPS input.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.potentials import POTENTIALS
from distill.potentials.interface.batch import Prediction
from distill.potentials.interface.batch_size import BatchSize
from distill.potentials.interface.gradient_free import GradientFree, arrays
from distill.potentials.settings.ace import ACESettings
from distill.potentials.workers import ace as ace_worker
from distill.potentials.workers.environments import interpreter
from distill.potentials.workers.process import Worker
from distill.potentials.workers.protocol import WorkerError
from distill.structures.frames import Frames
from distill.structures.guard import UnphysicalResult

if TYPE_CHECKING:
    from types import ModuleType

BASIS, YACE, ACTIVE_SET, LAMMPS = "potential.yaml", "potential.yace", "potential.asi", "in.lammps"
FILES = (BASIS, YACE, ACTIVE_SET, LAMMPS)
"""Names of the files that are saved with it; without an active set there is no ``potential.asi``."""

BATCH = 100_000
"""Atoms sent to the evaluator together."""


class ACEPotential(GradientFree):
    """An expansion with its coefficients.

    Args:
        settings: with the elements.
        seed: of the small random coefficients that it has until it is given a basis.
    """

    no_gradients = ("ACE is fitted by pacemaker, not by gradients of a network", "Give it as a student")

    def __init__(self, settings: ACESettings, seed: int = 0) -> None:
        symbols = sorted(settings.elements or [])
        if not symbols:
            raise UserError("no elements are named", "potential ace", "Write elements: [...]")
        super().__init__(settings.cutoff, elements=tuple(sorted(atomic_numbers[symbol] for symbol in symbols)))
        self.settings: ACESettings = settings
        self._seed = seed
        self._evaluator: Worker | None = None
        self._batches = BatchSize(BATCH)

    @property
    def basis(self) -> str:
        """The basis with its coefficients, as pacemaker's YAML."""
        if BASIS not in self.attachments:
            made = self.make_basis(seed=self._seed)
            self.attachments[BASIS] = made.encode()
        return self.attachments[BASIS].decode()

    @property
    def n_parameters(self) -> int:
        """Coefficients of the radial functions and of the expansion."""
        return int(self._ask({"do": "size"})["coefficients"])

    def make_basis(self, repulsion: Mapping[str, float] | None = None, seed: int | None = None) -> str:
        """Return a basis by the settings; without a seed its coefficients are zero.

        Args:
            repulsion: for each pair of elements, as in ``"O Si"``, the distance below which nuclei repel each other by
                the formula of Ziegler, Biersack and Littmark and the expansion is switched off, Å; no repulsion if
                None.
            seed: of small random coefficients.

        Raises:
            UserError: pacemaker does not accept the settings, or a package is missing.
        """
        worker = self.worker(ace_worker, {"threads": 1})
        request = {"do": "make", "potential": self.settings.pacemaker_potential(), "repulsion": dict(repulsion or {})}
        try:
            return str(worker.ask(request | ({} if seed is None else {"seed": seed}))["basis"])
        except WorkerError as failure:
            raise self.error(failure) from failure
        finally:
            worker.close()

    def adopt(self, basis: str, frames: Frames) -> list[str]:
        """Take a basis with fitted coefficients, make the files of it, and return what has to be said about them.

        Args:
            basis: pacemaker's YAML.
            frames: the structures that it was fitted to; the active set is chosen from their atoms.
        """
        self._evaluator = None
        self.attachments = {BASIS: basis.encode()}
        energies = {chemical_symbols[z]: float(self.reference_energies[z]) for z in self.elements or ()}
        self.attachments[YACE] = self._ask({"do": "yace", "reference_energies": energies})["yace"].encode()
        self.attachments[LAMMPS] = lammps_input(sorted(energies)).encode()
        found = self._ask({"do": "active_set", **arrays(frames)})
        if found["active_set"]:
            self.attachments[ACTIVE_SET] = found["active_set"]
            self._evaluator = None
            return []
        short = [f"{name} ({n} atoms, {k} functions)" for name, (n, k) in found["counts"].items() if n < k]
        what = f"there is no extrapolation grade: too few atoms for the functions of {', '.join(short)}"
        return [f"{what}; lower functions or bring more structures"]

    def predict(self, frames: Frames, stress: bool = True) -> Prediction:
        """Return what the evaluator says of structures; all of it is float64 on the CPU.

        Raises:
            UserError: interpreter or package is missing.
            UnphysicalResult: an energy or a force is not finite.
            WorkError: the evaluator failed, or its process died twice.
        """
        answer = self._ask({"do": "evaluate", **arrays(frames)})
        energy, forces = answer["energy"] + self.sum_of_reference_energies(frames), answer["forces"]
        if not (np.isfinite(energy).all() and np.isfinite(forces).all()):
            what, remedy = "an energy or a force is not finite", "Look for atoms that are too close"
            raise UnphysicalResult(what, self.where, remedy)
        volumes = frames.volumes
        volumes = np.where(frames.pbc.all(-1) & (volumes > 0), volumes, np.nan)
        stresses = torch.from_numpy(answer["virial"] / volumes[:, None, None]) if stress else None
        return Prediction(torch.from_numpy(energy), torch.tensor(forces), stresses)

    def extrapolation_grades(self, frames: Frames) -> Array | None:
        """Return the extrapolation grade of each atom ``[N]``, or None where there is no active set."""
        if ACTIVE_SET not in self.attachments:
            return None
        grades: Array = self._ask({"do": "grades", **arrays(frames)})["grades"]
        return grades

    def worker(self, script: ModuleType, opening: Mapping[str, Any]) -> Worker:
        """Return a process of the packages of ACE that runs ``script``; it starts with the first question.

        Raises:
            UserError: there is no such interpreter.
        """
        row, environment = POTENTIALS["ace"], self.settings.environment
        python = interpreter(environment, row) if environment else sys.executable
        return Worker(python, script, "ace", opening, f"Run: {row.install}")

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the evaluator's answer."""
        if self._evaluator is None:
            opening = {"basis": self.basis, "threads": torch.get_num_threads()}
            if ACTIVE_SET in self.attachments:
                opening["active_set"] = self.attachments[ACTIVE_SET]
            self._evaluator = self.worker(ace_worker, opening)
        try:
            return self._evaluator.ask(request)
        except WorkerError as failure:
            raise self.error(failure) from failure

    def __getstate__(self) -> dict[str, Any]:
        """Copies start a process of their own."""
        return self.__dict__ | {"_evaluator": None}


def lammps_input(symbols: list[str]) -> str:
    """Return an input for LAMMPS that uses the files beside it; data file, ensemble and length are the user's."""
    masses = "\n".join(
        f"mass {k} {atomic_masses[atomic_numbers[name]]:.4f}  # {name}" for k, name in enumerate(symbols, 1)
    )
    names = " ".join(symbols)
    return f"""# LAMMPS with the ML-PACE package. Bring structure.data (atom types in this order: {names}).
units metal
atom_style atomic
newton on
read_data structure.data

{masses}

pair_style pace product
pair_coeff * * {YACE} {names}

# with the extrapolation grade of every atom, where there is {ACTIVE_SET}; slower, energies of single atoms left out:
# pair_style pace/extrapolation
# pair_coeff * * {BASIS} {ACTIVE_SET} {names}
# fix grade all pair 10 pace/extrapolation gamma 1
# compute grade all reduce max f_grade

timestep 0.001
velocity all create 300 1 dist gaussian
fix dynamics all nvt temp 300 300 0.1
thermo 100
run 10000
"""

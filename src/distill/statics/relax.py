"""Relaxations with a limit: what did not converge, or broke, says so and is no number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import LBFGS

from distill.potentials.interface.calculator import PotentialCalculator
from distill.structures.guard import UnphysicalResult, UnphysicalStructure


@dataclass(frozen=True)
class Relaxed:
    """A structure after its relaxation, with the calculator; ``why`` it is not at its minimum, or nothing."""

    atoms: Atoms
    why: str = ""


def relaxed(
    atoms: Atoms, calculator: PotentialCalculator, *, cell: bool = False, fmax: float = 0.001, steps: int = 500
) -> Relaxed:
    """Return a relaxed copy of a structure.

    Args:
        atoms: the structure; constraints hold.
        calculator: of the model.
        cell: whether the cell relaxes too.
        fmax: largest force at which it ends, eV/Å, and for the cell the largest derivative by its deformation an atom.
        steps: at most.
    """
    copied = atoms.copy()
    copied.calc = calculator
    if cell and (fixed := _cannot_relax(copied, calculator)):
        return Relaxed(copied, fixed)
    moved = FrechetCellFilter(copied) if cell else copied
    try:
        with LBFGS(moved, logfile=None) as optimiser:
            converged = optimiser.run(fmax=fmax, steps=steps)
        force = float(np.linalg.norm(moved.get_forces(), axis=1).max())
    except (UnphysicalResult, UnphysicalStructure) as error:
        return Relaxed(copied, f"the relaxation broke: {error.what}")
    return Relaxed(copied, "" if converged else f"not relaxed after {steps} steps: forces up to {force:.2g} eV/Å")


def _cannot_relax(atoms: Atoms, calculator: PotentialCalculator) -> str:
    """Return why a cell cannot relax; nothing where it can."""
    if not atoms.pbc.all():
        return "it is not periodic in three directions"
    return "" if calculator.potential.predicts_stress else f"{calculator.potential.architecture} predicts no stress"

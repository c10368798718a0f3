"""An ASE calculator as what a certificate is made with, and dynamics that begin in the same way for every program."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

from distill.base.arrays import Array
from distill.exporting.certificate import NVE_STEPS, NVE_TEMPERATURE, NVE_TIMESTEP_FS, Evaluated
from distill.exporting.frames import SEED


class CalculatorSession:
    """What an ASE calculator says."""

    def __init__(self, calculator: BaseCalculator) -> None:
        self.calculator = calculator

    def evaluate(self, structures: Sequence[Atoms]) -> list[Evaluated]:
        """Return energy, forces and, where there is one, stress of structures."""
        found = []
        for atoms in structures:
            atoms = atoms.copy()
            atoms.calc = self.calculator
            stress = atoms.get_stress(voigt=False) if atoms.pbc.all() else None
            found.append(Evaluated(atoms.get_potential_energy(), atoms.get_forces(), stress))
        return found

    def constant_energy(self, atoms: Atoms) -> tuple[Array, Array]:
        """Return total and potential energy in ASE's dynamics, ``[steps + 1]`` eV each."""
        atoms = moving(atoms)
        atoms.calc = self.calculator
        energies: list[tuple[float, float]] = []
        dynamics = VelocityVerlet(atoms, NVE_TIMESTEP_FS * units.fs)
        dynamics.attach(lambda: energies.append((atoms.get_total_energy(), atoms.get_potential_energy())))
        dynamics.run(NVE_STEPS)
        total, potential = np.array(energies).T
        return total, potential


def moving(atoms: Atoms) -> Atoms:
    """Return a copy with the velocities that dynamics at constant energy begins with."""
    atoms = atoms.copy()
    MaxwellBoltzmannDistribution(atoms, temperature_K=NVE_TEMPERATURE, rng=np.random.default_rng(SEED))
    return atoms

"""OpenMM as what a certificate is made with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms, units
from openmm import Context, Integrator, VerletIntegrator, unit

from distill.base.arrays import Array
from distill.exporting.calculator_session import moving
from distill.exporting.cells import turned_atoms
from distill.exporting.certificate import NVE_STEPS, NVE_TIMESTEP_FS, Evaluated
from distill.exporting.openmm.system import ANGSTROM_IN_NM, KJ_PER_MOL, reference_platform, system_of
from distill.potentials.interface.potential import Potential

PS = 1000 * units.fs


class OpenMMSession:
    """A student in OpenMM; it has no stress. A slab is taken as periodic, with vacuum above it."""

    def __init__(self, potential: Potential) -> None:
        self.potential = potential

    def evaluate(self, structures: Sequence[Atoms]) -> list[Evaluated]:
        """Return energies and forces of structures, in ASE's axes."""
        return [self._evaluated(atoms) for atoms in structures]

    def _evaluated(self, atoms: Atoms) -> Evaluated:
        state = self._context(atoms, VerletIntegrator(0.001)).getState(getEnergy=True, getForces=True)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * KJ_PER_MOL
        forces = np.array(state.getForces(asNumpy=True)._value) * KJ_PER_MOL * ANGSTROM_IN_NM
        _, turn = turned_atoms(atoms)
        return Evaluated(energy, forces @ turn.T)

    def constant_energy(self, atoms: Atoms) -> tuple[Array, Array]:
        """Return total and potential energy with OpenMM's leapfrog, whose kinetic energies are of whole steps, eV."""
        started = moving(atoms)
        context = self._context(started, VerletIntegrator(NVE_TIMESTEP_FS / 1000))
        _, turn = turned_atoms(started)
        context.setVelocities(started.get_velocities() @ turn * ANGSTROM_IN_NM * PS)
        energies = []
        for _ in range(NVE_STEPS + 1):
            state = context.getState(getEnergy=True)
            potential, kinetic = state.getPotentialEnergy()._value, state.getKineticEnergy()._value
            energies.append(((potential + kinetic) * KJ_PER_MOL, potential * KJ_PER_MOL))
            context.getIntegrator().step(1)
        total, potential_energies = np.array(energies).T
        return total, potential_energies

    def _context(self, atoms: Atoms, integrator: Integrator) -> Context:
        atoms = atoms.copy()
        atoms.pbc = atoms.pbc.any()
        system, positions = system_of(self.potential, atoms)
        context = Context(system, integrator, reference_platform())
        context.setPositions(positions)
        return context

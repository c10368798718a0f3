"""i-PI as what a certificate is made with."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write
from ipi.scripting import InteractiveSimulation
from ipi.utils.depend import dstrip

from distill.base.arrays import Array
from distill.exporting.calculator_session import moving
from distill.exporting.cells import turned_atoms
from distill.exporting.certificate import NVE_STEPS, NVE_TIMESTEP_FS, Evaluated
from distill.exporting.ipi.driver import ANGSTROM, HARTREE


class IPISession:
    """i-PI with a driver; it changes the folder that its process works in."""

    def __init__(self, driver: Path) -> None:
        self.driver = driver.resolve()
        self.scratch = tempfile.TemporaryDirectory()
        os.chdir(self.scratch.name)

    def evaluate(self, structures: Sequence[Atoms]) -> list[Evaluated]:
        """Return energies, forces and stresses of structures, in ASE's axes."""
        return [self._evaluated(atoms) for atoms in structures]

    def _evaluated(self, atoms: Atoms) -> Evaluated:
        _, turn = turned_atoms(atoms)
        forces = self._simulation(atoms).syslist[0].forces
        energy = float(dstrip(forces.pots)[0]) / HARTREE
        virial = np.array(dstrip(forces.vir)) / HARTREE  # upper triangle, as i-PI keeps it
        virial = np.triu(virial) + np.triu(virial, 1).T
        stress = turn @ (-virial / atoms.get_volume()) @ turn.T if atoms.pbc.all() else None
        found = np.array(dstrip(forces.f)[0]).reshape(-1, 3) / HARTREE / ANGSTROM
        return Evaluated(energy, found @ turn.T, stress)

    def constant_energy(self, atoms: Atoms) -> tuple[Array, Array]:
        """Return total and potential energy in i-PI's dynamics of classical nuclei, ``[steps + 1]`` eV each."""
        simulation = self._simulation(moving(atoms))
        energies = []
        for _ in range(NVE_STEPS + 1):
            potential, kinetic = (simulation.properties(name) for name in ("potential", "kinetic_md"))
            energies.append((potential + kinetic, potential))
            simulation.run(1, write_outputs=False)
        total, potential_energies = np.array(energies).T
        return total, potential_energies

    def _simulation(self, atoms: Atoms) -> InteractiveSimulation:
        turned, turn = turned_atoms(atoms)
        write("structure.xyz", turned, format="extxyz")
        simulation = InteractiveSimulation(_INPUT.format(driver=self.driver, timestep=NVE_TIMESTEP_FS))
        turned.set_momenta(atoms.get_momenta() @ turn)
        simulation.set_structures(turned)
        return simulation


_INPUT = """<simulation verbosity="quiet">
  <output prefix="nve"><checkpoint stride="1000000"/></output>
  <ffdirect name="distill" pbc="false">
    <pes> custom </pes><pes_path> {driver} </pes_path><parameters> {{ template: structure.xyz }} </parameters>
  </ffdirect>
  <system>
    <initialize nbeads="1"><file mode="ase"> structure.xyz </file></initialize>
    <forces><force forcefield="distill"/></forces>
    <motion mode="dynamics">
      <fixcom> False </fixcom>
      <dynamics mode="nve"><timestep units="femtosecond"> {timestep} </timestep></dynamics>
    </motion>
  </system>
</simulation>
"""

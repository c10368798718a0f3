"""LAMMPS with ``fix external`` as what a certificate is made with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism

from distill.base.arrays import Array
from distill.base.conventions import Precision
from distill.exporting.certificate import NVE_STEPS, NVE_TEMPERATURE, NVE_TIMESTEP_FS, Evaluated
from distill.exporting.frames import SEED
from distill.exporting.lammps.compare import BAR
from distill.exporting.lammps_external.fix import begin, open_lammps
from distill.exporting.program import student_of

QUIET = ("-log", "none", "-screen", "none")
PRESSURES = ("pxx", "pyy", "pzz", "pxy", "pxz", "pyz")


class LammpsSession:
    """A LAMMPS for each structure."""

    def __init__(self, folder: Path, precision: Precision) -> None:
        self.student = student_of(folder, precision)

    def evaluate(self, structures: Sequence[Atoms]) -> list[Evaluated]:
        """Return energies, forces and stresses of structures, in ASE's axes."""
        return [self._evaluated(atoms) for atoms in structures]

    def _evaluated(self, atoms: Atoms) -> Evaluated:
        lmp = self._started(atoms)
        lmp.commands_list([f"thermo_style custom step pe {' '.join(PRESSURES)}", "run 0"])
        prism = Prism(atoms.cell.array, atoms.pbc)
        forces = prism.vector_to_ase(np.array(lmp.gather_atoms("f", 1, 3)).reshape(-1, 3))
        xx, yy, zz, xy, xz, yz = (lmp.get_thermo(name) for name in PRESSURES)
        pressure = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        found = Evaluated(lmp.get_thermo("pe"), forces, prism.tensor2_to_ase(-BAR * pressure))
        lmp.close()
        return found

    def constant_energy(self, atoms: Atoms) -> tuple[Array, Array]:
        """Return total and potential energy in LAMMPS' dynamics, ``[steps + 1]`` eV each."""
        lmp = self._started(atoms)
        lmp.commands_list(["thermo_style custom step pe etotal", "thermo 1", "fix dynamics all nve"])
        lmp.commands_list([f"timestep {NVE_TIMESTEP_FS / 1000}", f"velocity all create {NVE_TEMPERATURE} {SEED}"])
        lmp.command("run 0")
        energies = [self._energies(lmp)]
        for _ in range(NVE_STEPS):
            lmp.command("run 1 pre no post no")
            energies.append(self._energies(lmp))
        lmp.close()
        total, potential = np.array(energies).T
        return total, potential

    def _energies(self, lmp: Any) -> tuple[float, float]:
        return lmp.get_thermo("etotal"), lmp.get_thermo("pe")

    def _started(self, atoms: Atoms) -> Any:
        lmp = open_lammps(*QUIET)
        begin(lmp, self.student, atoms)
        return lmp

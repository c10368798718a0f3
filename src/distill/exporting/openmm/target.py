"""OpenMM as a program that students are exported to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distill.base.conventions import Precision
from distill.exporting.program import Program, student_of
from distill.exporting.target import Wanted

if TYPE_CHECKING:
    from distill.exporting.certificate import Session


class OpenMM(Program):
    """OpenMM from version 8.4 on, with the student as a ``PythonForce``."""

    title = "OpenMM"
    main = "run.py"
    engines = ("openmm",)
    install = 'pip install "mlip-distill[openmm]"'
    licence = "OpenMM is MIT, its platforms for GPUs LGPL."
    usage = """```sh
python run.py                  # or: python run.py my-structure.cif
```

OpenMM turns the cell so that its first vector lies along x. A structure repeats in all directions or in none."""

    def texts(self, wanted: Wanted) -> dict[str, str]:
        """Return dynamics at 300 K."""
        return self.scripted(_SCRIPT, wanted)

    def session(self, folder: Path, precision: Precision) -> Session:
        """Return the student on OpenMM's reference platform, the one that keeps double precision."""
        from distill.exporting.openmm.session import OpenMMSession

        return OpenMMSession(student_of(folder, precision))


_SCRIPT = '''"""Dynamics with a student of distill in OpenMM: python run.py [structure]"""
{safety}

import sys
from pathlib import Path

import distill
from ase.io import read
from distill.exporting.openmm.system import system_of, topology_of
from openmm import LangevinMiddleIntegrator, app, unit

student = {student}
atoms = read(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("structure.xyz"))
system, positions = system_of(student, atoms)
integrator = LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond)
simulation = app.Simulation(topology_of(atoms), system, integrator)
simulation.context.setPositions(positions)
simulation.context.setVelocitiesToTemperature(300 * unit.kelvin)
simulation.reporters.append(
    app.StateDataReporter(sys.stdout, 100, step=True, potentialEnergy=True, temperature=True, speed=True)
)
simulation.reporters.append(app.DCDReporter("run.dcd", 100))
simulation.step(1000)
'''

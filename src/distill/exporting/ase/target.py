"""ASE as a program that students are exported to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distill.base.conventions import Precision
from distill.exporting.program import Program, student_of
from distill.exporting.target import Wanted

if TYPE_CHECKING:
    from distill.exporting.certificate import Session


class Ase(Program):
    """ASE, with the student as a calculator."""

    title = "ASE"
    main = "run.py"
    engines = ("ase",)
    install = "pip install mlip-distill"
    licence = "ASE is LGPL-2.1."
    usage = """```sh
python run.py                  # or: python run.py my-structure.cif
```

In a script of your own, `atoms.calc = distill.load_potential(FOLDER_OF_THE_EXPORT).calculator()`."""

    def texts(self, wanted: Wanted) -> dict[str, str]:
        """Return dynamics at 300 K."""
        return self.scripted(_SCRIPT, wanted)

    def session(self, folder: Path, precision: Precision) -> Session:
        """Return the student that the script loads."""
        from distill.exporting.calculator_session import CalculatorSession

        return CalculatorSession(student_of(folder, precision).calculator())


_SCRIPT = '''"""Dynamics with a student of distill in ASE: python run.py [structure]"""
{safety}

import sys
from pathlib import Path

import distill
from ase import units
from ase.io import read
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

student = {student}
atoms = read(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("structure.xyz"))
atoms.calc = student.calculator()
print(f"energy {{atoms.get_potential_energy():.6f}} eV")

MaxwellBoltzmannDistribution(atoms, temperature_K=300)
dynamics = Langevin(
    atoms, 0.5 * units.fs, temperature_K=300, friction=0.01 / units.fs, logfile="-", trajectory="run.traj"
)
dynamics.run(1000)
'''

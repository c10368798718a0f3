"""i-PI as a program that students are exported to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distill.base.conventions import DTYPES, Precision
from distill.exporting.program import Program, quoted
from distill.exporting.target import Wanted

if TYPE_CHECKING:
    from ase import Atoms

    from distill.exporting.certificate import Session

INPUT = "input.xml"
BEADS = 16
ROOM = 50.0
"""Å around a molecule without a cell."""


class IPI(Program):
    """i-PI from version 3.3 on: path integrals, in which nuclei are quantum particles."""

    title = "i-PI"
    main = "driver.py"
    engines = ("ipi",)
    install = 'pip install "mlip-distill[ipi]"'
    licence = "i-PI is GPL-3.0 or MIT."
    usage = """```sh
i-pi input.xml
```

All beads are computed together, in i-PI's own process. For several processes, or a GPU elsewhere, put an `ffsocket`
in the place of the `ffdirect` in `input.xml`, and start clients beside `i-pi input.xml`:

```xml
<ffsocket name="distill" mode="unix"><address> distill </address></ffsocket>
```

```sh
i-pi-driver-py -u -a distill -m custom -P driver.py -o template=structure.xyz
```

i-PI wants the first cell vector along x and the second in the plane of x and y; `structure.xyz` is turned so."""

    def texts(self, wanted: Wanted) -> dict[str, str]:
        """Return the input of a path integral simulation, and the driver that it names."""
        options = {"safety": quoted(wanted.safety), "dtype": DTYPES[wanted.precision]}
        comment = wanted.safety.replace("--", "-")
        return {
            INPUT: _INPUT.format(safety=comment, beads=BEADS),
            self.main: _DRIVER.format(**options),
        }

    def arranged(self, atoms: Atoms) -> Atoms:
        """Return a structure turned as i-PI wants it."""
        from distill.exporting.cells import turned_atoms

        arranged, _ = turned_atoms(super().arranged(atoms))
        if arranged.cell.rank < 3:  # i-PI wants a cell in any case
            arranged.center(vacuum=ROOM)
        return arranged

    def session(self, folder: Path, precision: Precision) -> Session:
        """Return i-PI with the driver, in a process of its own."""
        from distill.exporting.apart import Apart

        return Apart("distill.exporting.ipi.session:IPISession", folder / self.main)


_DRIVER = '''"""The student as a potential of i-PI, which finds it by the two names."""
{safety}

from pathlib import Path

from distill.exporting.ipi.driver import StudentDriver

__DRIVER_NAME__ = "distill"
__DRIVER_CLASS__ = "Driver"


class Driver(StudentDriver):
    folder = Path(__file__).resolve().parents[1]
    dtype = "{dtype}"
'''

_INPUT = """<!-- Path integral dynamics at 300 K with a student of distill; see README.md. {safety} -->
<simulation verbosity="medium">
  <output prefix="run">
    <properties stride="10" filename="out">
      [ step, time{{picosecond}}, conserved{{electronvolt}}, temperature{{kelvin}}, potential{{electronvolt}},
        kinetic_cv{{electronvolt}} ]
    </properties>
    <trajectory stride="50" filename="centroids" format="ase"> x_centroid{{ase}} </trajectory>
    <checkpoint stride="200"/>
  </output>
  <total_steps> 200 </total_steps>
  <prng><seed> 1 </seed></prng>
  <ffdirect name="distill" threaded="true">
    <pes> custom </pes>
    <pes_path> driver.py </pes_path>
    <parameters> {{ template: structure.xyz }} </parameters>
    <batch_size> {beads} </batch_size>
  </ffdirect>
  <system>
    <initialize nbeads="{beads}">
      <file mode="ase"> structure.xyz </file>
      <velocities mode="thermal" units="kelvin"> 300 </velocities>
    </initialize>
    <forces><force forcefield="distill"/></forces>
    <ensemble><temperature units="kelvin"> 300 </temperature></ensemble>
    <motion mode="dynamics">
      <dynamics mode="nvt">
        <timestep units="femtosecond"> 0.5 </timestep>
        <thermostat mode="pile_l"><tau units="femtosecond"> 100 </tau></thermostat>
      </dynamics>
    </motion>
  </system>
</simulation>
"""

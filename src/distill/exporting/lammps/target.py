"""LAMMPS as a program that students are exported to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from distill.base.errors import UserError
from distill.exporting.target import Target, Wanted

if TYPE_CHECKING:
    from distill.exporting.certificate import Certificate
    from distill.potentials.interface.potential import Potential


class Lammps(Target):
    """LAMMPS with ``pair_style distill``: PaiNN and TensorNet students."""

    title = "LAMMPS"
    architectures = ("painn", "tensornet")
    engines = ("lammps", "mpich")
    licence = "LAMMPS is GPL-2.0, the pair style MIT."
    usage = """```sh
distill lammps --build     # once; it prints the line export LAMMPS_PLUGIN_PATH=...
lmp -in in.example         # or: mpiexec -n 4 lmp -in in.example
```"""

    @classmethod
    def versions(cls) -> dict[str, str]:
        """Return the versions of LAMMPS and its MPI, and the compiler that builds the pair style."""
        compiler = os.environ.get("CXX") or "g++"
        return super().versions() | {"compiler": compiler if shutil.which(compiler) else ""}

    def check(self, potential: Potential, wanted: Wanted) -> None:
        """Refuse students that the pair style does not compute, and structures with elements that it does not know."""
        from distill.potentials.native.model_file import exportable, symbols_of

        known = symbols_of(exportable(potential))
        used = [] if wanted.structure is None else wanted.structure.get_chemical_symbols()
        if unknown := sorted(set(used) - set(known)):
            raise UserError(f"the student does not know {', '.join(unknown)}", "the structure")

    def write(self, potential: Potential, folder: Path, wanted: Wanted) -> list[Path]:
        """Write the model file, an input and a README."""
        from distill.exporting.lammps.folder import write_folder

        return write_folder(potential, folder, wanted.precision, wanted.structure, wanted.safety)

    def certify(self, potential: Potential, folder: Path, wanted: Wanted) -> Certificate:
        """Compare LAMMPS on one, two and four ranks."""
        from distill.exporting.lammps.certificate import certify
        from distill.exporting.lammps.folder import MODEL

        return certify(potential, folder / MODEL, wanted.precision, wanted.lammps)

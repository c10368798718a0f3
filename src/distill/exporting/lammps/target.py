"""LAMMPS as a program that students are exported to: on processors, and on GPUs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from distill.exporting.target import Target, Wanted, refuse_unknown_elements

if TYPE_CHECKING:
    from distill.exporting.certificate import Certificate
    from distill.exporting.lammps.styles import Style
    from distill.potentials.interface.potential import Potential


class Lammps(Target):
    """LAMMPS with ``pair_style distill`` for PaiNN and TensorNet students, and with ``pair_style pace`` for ACE."""

    title = "LAMMPS"
    architectures: ClassVar[tuple[str, ...]] = ("painn", "tensornet", "ace")
    engines: ClassVar[tuple[str, ...]] = ("lammps", "mpich")
    licence = "LAMMPS is GPL-2.0, the pair style MIT."
    usage = """```sh
distill lammps --build     # once, but for ACE; it prints the line export LAMMPS_PLUGIN_PATH=...
lmp -in in.example         # or: mpiexec -n 4 lmp -in in.example
```"""

    @classmethod
    def versions(cls) -> dict[str, str]:
        """Return the versions of LAMMPS and its MPI, and the compiler that builds the pair style."""
        compiler = os.environ.get("CXX") or "g++"
        return super().versions() | {"compiler": compiler if shutil.which(compiler) else ""}

    def style(self, potential: Potential) -> Style:
        """Return the pair style that computes a student."""
        from distill.exporting.lammps.styles import style_of

        return style_of(potential)

    def check(self, potential: Potential, wanted: Wanted) -> None:
        """Refuse students that no pair style computes, and structures with elements that the student does not know."""
        self.style(potential).check(potential, wanted.precision)
        refuse_unknown_elements(potential.elements or (), wanted.structure)

    def write(self, potential: Potential, folder: Path, wanted: Wanted) -> list[Path]:
        """Write the student, an input and a README."""
        from distill.exporting.lammps.folder import write_folder

        return write_folder(potential, folder, self.style(potential), wanted)

    def certify(self, potential: Potential, folder: Path, wanted: Wanted) -> Certificate:
        """Compare LAMMPS on one, two and four ranks."""
        from distill.exporting.lammps.certificate import certify

        return certify(potential, folder, wanted.precision, wanted.lammps)


class LammpsMliap(Lammps):
    """LAMMPS on GPUs, by its interface ML-IAP to Python."""

    title = "LAMMPS on GPUs"
    architectures = ("painn", "tensornet")
    engines = ()
    usage = """```sh
lmp -k on g 1 -sf kk -pk kokkos newton on neigh half -in in.example     # LAMMPS with KOKKOS, ML-IAP and PYTHON
```"""

    @classmethod
    def versions(cls) -> dict[str, str]:
        """Return nothing: its certificate is never run."""
        return {}

    def style(self, potential: Potential) -> Style:
        """Return the pair style, one for all."""
        from distill.exporting.lammps.mliap import Mliap

        return Mliap()

    def certify(self, potential: Potential, folder: Path, wanted: Wanted) -> Certificate:
        """Say that it was not run."""
        from distill.exporting.certificate import begun

        why = "not run: it needs a GPU, and a LAMMPS with its packages KOKKOS, ML-IAP and PYTHON"
        return begun(self.title, wanted.precision) | {"verdict": why}

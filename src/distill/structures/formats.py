"""Recognise what a file is that is not extended XYZ, and say by which command it becomes it.

ASE guesses formats by the ending of the name, so that the command names the format: a POSCAR is often called otherwise.
"""

from __future__ import annotations

import re
from pathlib import Path

from distill.base.errors import UserError

_NUMBERS = r"\s*[-+.\deEdD]+(?:\s+[-+.\deEdD]+){2}\s*\n"
_STARTS: tuple[tuple[str, str, str], ...] = (
    (r"- of Ulm", "a trajectory of ASE", "traj"),
    (r"SQLite format 3", "a database of ASE", "db"),
    (r"\s*\{[\s\S]*(__ase_objtype__|\"(ids|nextid|numbers)\")", "JSON of ASE", "json"),
    (r"(\s*<\?xml[^>]*>)?\s*<modeling", "a vasprun.xml", "vasp-xml"),
    (r"\s*vasp\.\d", "an OUTCAR", "vasp-out"),
    (r"[\s\S]{0,400}Program PWSCF", "an output of Quantum ESPRESSO", "espresso-out"),
    (r"[\s\S]{0,2000}Invoking FHI-aims", "an output of FHI-aims", "aims-output"),
    (r"ITEM: TIMESTEP", "a dump of LAMMPS", "lammps-dump-text"),
    (r"(#.*\n\s*)*data_\S", "a CIF", "cif"),
    (r"(HEADER|CRYST1|ATOM  |HETATM|MODEL |REMARK|TITLE )", "a PDB file", "proteindatabank"),
    (rf"[^\n]*\n\s*[-+.\d]+\s*\n(?:{_NUMBERS}){{3}}", "a POSCAR", "vasp"),
    (r"[\s\S]{0,800}\n\s*\d+\s+atoms\s*\n", "a data file of LAMMPS", "lammps-data"),
)
"""Beginning of a file, what it is, and its name among ASE's formats."""
_BARE = ("cif", "proteindatabank", "vasp", "lammps-data", "lammps-dump-text")
"""Formats without energies."""


def not_xyz(path: Path, why: str, head: bytes) -> UserError:
    """Return the error for a file that does not begin as extended XYZ does; ``head`` are its first bytes."""
    text = head.decode("latin-1")
    for start, what, name in _STARTS:
        if re.match(start, text):
            remedy = f"Convert it: ase convert -i {name} {path} structures.extxyz"
            if name in _BARE:
                remedy += ". It holds no energies: label it, or convert the output of the calculation instead"
            return UserError(f"not an extended XYZ file but {what}", str(path), remedy)
    if head.startswith(b"PK"):
        return UserError("not an extended XYZ file but a ZIP archive", str(path), f"Unpack it: unzip {path}")
    remedy = (
        "A frame begins with a line that holds nothing but its number of atoms. "
        "From Python, ase.io.write('structures.extxyz', frames) writes such files"
    )
    return UserError(f"not an extended XYZ file: {why}", str(path), remedy)

"""One structure from a file of any format that ASE reads: a start of simulations, not data to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distill.base.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms


def last_structure(path: Path) -> Atoms:
    """Return the last structure of a file.

    Raises:
        UserError: there is no such file, or ASE cannot read it.
    """
    from ase.io import read
    from ase.io.formats import UnknownFileTypeError

    if not path.is_file():
        raise UserError("there is no such file", str(path), "Give a file of structures: extended XYZ, CIF, POSCAR ...")
    try:
        found: Atoms = read(path, index=-1)
    except (UnknownFileTypeError, ValueError, KeyError, IndexError, OSError, StopIteration) as error:
        raise UserError(f"cannot be read as structures ({error})", str(path)) from None
    return found

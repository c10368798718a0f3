"""Structures from a file of any format that ASE reads: starts of simulations and references, not data to learn from."""

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
    return _read(path, "-1:")[-1]


def all_structures(path: Path) -> list[Atoms]:
    """Return every structure of a file; raises :class:`UserError` as :func:`last_structure` does."""
    return _read(path, ":")


def _read(path: Path, which: str) -> list[Atoms]:
    """Return structures of a file by ASE's index, at least one."""
    from ase.io import read
    from ase.io.formats import UnknownFileTypeError

    if not path.is_file():
        raise UserError("there is no such file", str(path), "Give a file of structures: extended XYZ, CIF, POSCAR ...")
    try:
        found: list[Atoms] = read(path, index=which)
    except (UnknownFileTypeError, ValueError, KeyError, IndexError, OSError, StopIteration) as error:
        raise UserError(f"cannot be read as structures ({error})", str(path)) from None
    if not found:
        raise UserError("has no structures", str(path), "Give a file of structures: extended XYZ, CIF, POSCAR ...")
    return found

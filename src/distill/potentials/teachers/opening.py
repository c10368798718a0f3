"""Open the teacher that a recipe names, wherever it is from: a package, a file, a download, another interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distill.base.errors import UserError
from distill.potentials import teacher_row
from distill.potentials.base import Source

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential


def open_teacher(
    model: str, seed: int = 0, *, file: Path | None = None, function: str = "", environment: str | None = None
) -> Potential:
    """Return the teacher with its published weights, on the CPU, in evaluation mode.

    Args:
        model: its name in the table, for instance ``"chgnet-0.3"`` or ``"mace"``.
        seed: for what is drawn at random, if anything.
        file: the file that it is in, for ``mace``, ``graph-pes`` and for ``ase`` with a Python file.
        function: ``module:function`` of a calculator, or the function alone where ``file`` is a Python file.
        environment: the Python interpreter to run it in; None for this one.

    Raises:
        UserError: there is no such teacher, a package or file is missing or not what it should be.
    """
    row = teacher_row(model)
    if row.argument == "file" and file is None:
        raise UserError(f"{model} needs a file", where="teacher.model", remedy=f"Write {model}:<file>")
    if row.own_environment and environment is None:
        raise UserError(
            f"{model} runs in an environment of its own", where="teacher.environment", remedy="See: distill doctor"
        )
    if environment is not None:
        from distill.potentials.teachers.external import External

        row = External
    row.check_installed()
    potential: Potential = row.open(Source(model, file, function, environment), seed)
    return potential

"""The potentials, teachers and students. Adding one is one file and one line here; listing them imports nothing."""

from __future__ import annotations

from typing import Any

from distill.base.errors import UserError, nearest
from distill.base.registry import Registry

POTENTIALS = Registry(
    "potential",
    {
        "chgnet-0.3": "distill.potentials.chgnet:CHGNet03",
        "chgnet-r2scan": "distill.potentials.chgnet:CHGNetR2SCAN",
        "painn": "distill.potentials.painn:PaiNN",
        "tensornet": "distill.potentials.tensornet:TensorNet",
    },
)


def names(role: str) -> list[str]:
    """Return the names of the ``"teacher"`` or ``"student"`` rows."""
    return [name for name in POTENTIALS if POTENTIALS[name].role == role]


def teacher_row(model: str) -> Any:
    """Return the row of the teacher that a recipe names, for instance of ``chgnet-0.3`` or ``mace:my.model``.

    Raises:
        UserError: there is no such teacher, or what has to follow its name is missing or too much.
    """
    name, colon, argument = model.partition(":")
    if name not in names("teacher"):
        raise UserError(f"unknown teacher {model!r}", where="teacher.model", remedy=nearest(name, names("teacher")))
    row = POTENTIALS[name]
    if row.argument and colon and not argument:
        raise UserError(f"{model!r} names no {row.argument}", where="teacher.model", remedy=f"{name}:<{row.argument}>")
    if colon and not row.argument:
        raise UserError(f"nothing follows the name {name!r}", where="teacher.model", remedy=f"Write {name}")
    return row

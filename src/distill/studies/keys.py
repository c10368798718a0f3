"""The swept keys of a table: which columns they are, what they are called in studies, and what an axis says of them.

A key of students is one key, whichever student it is of: ``students.painn.cutoff`` and ``students.tensornet.cutoff``
are both the cut-off, each of its own models.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from distill.base.errors import UserError, nearest

STUDENTS = "students"
WORDS = {
    "cutoff": ("cut-off", "Å"),
    "students.structures": ("synthetic structures", "number"),
    "synthetic.structures": ("synthetic structures", "number"),
    "n_train": ("DFT training structures", "number"),
    "channels": ("channels", "number"),
    "layers": ("layers", "number"),
    "functions": ("functions per element", "number"),
    "synthetic.temperature": ("temperature of selection", "K"),
    "exploration": ("exploration", "0 to 1"),
    "max_force": ("largest accepted force", "eV/Å"),
    "min_displacement": ("smallest displacement", "Å"),
    "cell_strain": ("strain of the cell", "dimensionless"),
    "max_relax_steps": ("relaxation steps at most", "number"),
    "steps": ("optimisation steps", "number"),
    "batch_size": ("structures a step", "number"),
    "learning_rate": ("learning rate", "dimensionless"),
    "loss.energy": ("weight of the energy in the loss", "dimensionless"),
    "loss.forces": ("weight of the forces in the loss", "dimensionless"),
    "loss.virial": ("weight of the virial in the loss", "dimensionless"),
    "kappa": ("share of the forces in the loss", "0 to 1"),
}
"""What the end of a key means, and its unit; all others are written as in the recipe."""


@dataclass(frozen=True)
class Key:
    """One swept key.

    Attributes:
        name: its column in the tables of studies: the shortest end of the path that no other key has.
        path: the dotted key; ``students.*.cutoff`` whichever student it is of.
        columns: the columns of ``metrics.csv`` that hold it.
        meaning: words and unit, where they are not those of :data:`WORDS`.
    """

    name: str
    path: str
    columns: tuple[str, ...]
    meaning: tuple[str, str] | None = None

    @property
    def label(self) -> str:
        """What an axis says: the key in words, and its unit."""
        words, unit = self._words()
        return f"{words} ({unit})"

    @property
    def words(self) -> str:
        """The key in words, without its unit."""
        return self._words()[0]

    def said(self, value: Any) -> str:
        """Return a value as it is read in a line of text, e.g. ``cut-off 4.5 Å``."""
        words, unit = self._words()
        return f"{words} {text(value)}" + (f" {unit}" if unit in ("Å", "K", "eV/Å") else "")

    def _words(self) -> tuple[str, str]:
        if self.meaning is not None:
            return self.meaning
        parts = [part for part in self.path.split(".") if part != "*"]
        ends = (".".join(parts[-many:]) for many in range(len(parts), 0, -1))
        return next((WORDS[end] for end in ends if end in WORDS), (self.name, "as in the recipe"))


def keys_of(columns: Iterable[str], taken: Iterable[str]) -> tuple[Key, ...]:
    """Return the swept keys among the columns of a table, which are those with a dot in their name.

    Args:
        columns: all columns.
        taken: names that columns of the studies' tables have already.
    """
    paths: dict[str, list[str]] = {}
    for column in map(str, columns):
        if "." in column:
            paths.setdefault(_path(column), []).append(column)
    names = _names(list(paths), set(taken))
    return tuple(Key(names[path], path, tuple(found)) for path, found in paths.items())


def find_key(keys: Sequence[Key], asked: str) -> Key:
    """Return the key of that name, path, column or end; raises UserError where there is none, or more than one."""
    exact = [key for key in keys if asked in (key.name, key.path, *key.columns)]
    found = exact or [key for key in keys if key.path.endswith(f".{asked}")]
    if len(found) == 1:
        return found[0]
    if found:
        remedy = f"Name one of {', '.join(key.path for key in found)}"
        raise UserError(f"{asked!r} is the end of several swept keys", where="key", remedy=remedy)
    known = [key.path for key in keys]
    remedy = nearest(asked, known) if known else "The table has no swept key: a recipe's section sweep names them"
    raise UserError(f"{asked!r} is not a swept key", where="key", remedy=remedy)


def values(rows: pd.DataFrame, key: Key) -> pd.Series:
    """Return the value of a key for each row, ``[R]``; NaN where the row's model does not depend on it.

    Numbers are numbers where all values are; truth values and lists are text, as CSV has them.
    """
    found = pd.Series(np.nan, index=rows.index, dtype=object)
    for column in sorted(key.columns, key=lambda name: f"{STUDENTS}.*." in name):  # a student's own before that of all
        if column in rows.columns:
            free = found.isna() & (_of_student(rows, column) if key.path.startswith(f"{STUDENTS}.*") else True)
            found = found.where(~free, rows[column])
    found = found.map(lambda one: str(one) if isinstance(one, list | tuple | dict) else one)
    numbers = pd.to_numeric(found, errors="coerce")
    if (numbers.notna() == found.notna()).all() and not found.map(lambda one: isinstance(one, bool | np.bool_)).any():
        return numbers.astype(float)
    return found.map(lambda one: np.nan if missing(one) else text(one)).astype(object)


def text(value: Any) -> str:
    """Return a value as people write it: ``4`` for 4.0, an empty text for what is missing."""
    if missing(value):
        return ""
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return f"{number:.10g}" if math.isfinite(number) else str(value)


def missing(value: Any) -> bool:
    """Whether a cell of a table is empty."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _path(column: str) -> str:
    section, *rest = column.split(".")
    return ".".join([STUDENTS, "*", *rest[1:]]) if section == STUDENTS and len(rest) > 1 else column


def _names(paths: Sequence[str], taken: set[str]) -> dict[str, str]:
    """Return for each path the shortest end that neither another path nor a column has."""
    parts = {path: [part for part in path.split(".") if part != "*"] for path in paths}
    names = {}
    for path, own in parts.items():
        others = [other for name, other in parts.items() if name != path]
        ends = [own[-many:] for many in range(1, len(own) + 1)]
        free = (e for e in ends if ".".join(e) not in taken and not any(o[-len(e) :] == e for o in others))
        names[path] = ".".join(next(free, path.split(".")))
    return names


def _of_student(rows: pd.DataFrame, column: str) -> pd.Series:
    """Return for each row whether a column of ``students.<name>`` is about its model."""
    name = column.split(".")[1]
    return (rows["model"] != "teacher") if name == "*" else (rows["model"] == name)

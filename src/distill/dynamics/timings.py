"""Timings of the user's own, to be drawn beside ours: a table in CSV, converted to milliseconds a step."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.base.errors import UserError

FASTEST, SLOWEST = 1e-8, 1e6
"""Milliseconds a step for each atom: pair potentials on a whole machine of GPUs take longer, and plane waves on one
core less."""


@dataclass(frozen=True)
class GivenTiming:
    """One row of a user's table: a model's name, atoms, milliseconds of one step."""

    model: str
    atoms: int
    ms_per_step: float


def read_timings(path: Path, atoms_per_molecule: int | None, timestep_fs: float | None) -> list[GivenTiming]:
    """Read a CSV file of timings with the column ``model``, one for the size and one for the time.

    Args:
        path: the file. The size is in ``atoms`` or ``molecules``, the time in ``ms_per_step`` or ``mins_per_ps``;
            further columns are not read.
        atoms_per_molecule: turns ``molecules`` into atoms.
        timestep_fs: turns minutes of computing for a picosecond into milliseconds for a step of so many fs.

    Raises:
        UserError: a column, or what would convert it, is missing; a number is none, not positive, or no time of a step.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            rows = csv.DictReader(file)
            header = rows.fieldnames or ()
            if "model" not in header:
                raise UserError("has no column 'model'", where=str(path), remedy=_found(header))
            size, per_unit = _column(path, header, "atoms", "molecules", "atoms_per_molecule", atoms_per_molecule)
            span, step = _column(path, header, "ms_per_step", "mins_per_ps", "timestep_fs", timestep_fs)
            # a picosecond has 1000 / timestep steps, a minute 60 000 ms
            per_step = 1.0 if span == "ms_per_step" else 60 * step
            return [_row(path, rows.line_num, row, (size, per_unit), (span, per_step)) for row in rows]
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"is not a CSV file ({error})", where=str(path)) from error


def _row(
    path: Path, line: int, row: Mapping[str, str | None], size: tuple[str, float], span: tuple[str, float]
) -> GivenTiming:
    """Return a row in our units, once it can be what it is taken for; columns come with their factors."""
    atoms, ms = (factor * _positive(path, line, row, column) for column, factor in (size, span))
    if round(atoms) < 1 or not FASTEST <= ms / atoms <= SLOWEST:
        raise UserError(
            f"a step of {atoms:g} atoms would take {ms:.3g} ms, which no potential takes",
            f"{path}, line {line}, column {span[0]!r}",
            f"Check the units: {size[0]!r} is a number, {span[0]!r} is a time",
        )
    return GivenTiming(str(row["model"]), round(atoms), ms)


def _column(
    path: Path, header: Sequence[str], plain: str, other: str, setting: str, factor: float | None
) -> tuple[str, float]:
    """Return the column to read and what to multiply it with: one that needs nothing, or the one that needs a setting.

    A setting that would not be used is refused, since it says that the columns are not what the user takes them for.
    """
    where, key = str(path), f"benchmark.timings.{setting}"
    if plain in header:
        if factor is not None:
            raise UserError(f"has a column {plain!r}, which needs no conversion", where, f"Remove {key}")
        return plain, 1.0
    if other in header:
        if factor is None:
            raise UserError(f"has a column {other!r}, which has to be converted", where, f"Give {key}")
        return other, factor
    raise UserError(f"has neither a column {plain!r} nor {other!r}", where, _found(header))


def _found(header: Sequence[str]) -> str:
    return f"The columns are: {', '.join(header) or 'none'}"


def _positive(path: Path, line: int, row: Mapping[str, str | None], column: str) -> float:
    """Return a positive number of a row."""
    text = row[column]
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"{text or 'nothing'!r} is not a positive number", f"{path}, line {line}, column {column!r}")
    return value

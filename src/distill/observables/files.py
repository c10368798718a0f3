"""Measured quantities of a replica on disk: arrays to calculate with, a table to look at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from distill.analysis.samples import Samples
from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.files import replacing, write_table
from distill.observables.base import Measured
from distill.structures.any_format import all_structures
from distill.structures.frames import Frames

ARRAYS, TABLE = "observables.npz", "observables.csv"
COLUMNS = ("observable", "place", "value", "why")


def write_measured(folder: Path, measured: Mapping[str, Measured]) -> None:
    """Write ``observables.npz`` and ``observables.csv``: a row a number, and a row a place of a curve."""
    arrays: dict[str, Array] = {}
    rows: list[dict[str, object]] = []
    for name, one in measured.items():
        arrays[f"{name}/values"], arrays[f"{name}/most"] = one.values, np.array(one.most)
        arrays[f"{name}/why"] = np.frombuffer(one.why.encode(), dtype=np.uint8)
        if one.places is not None:
            arrays[f"{name}/places"] = one.places
        places = [""] if one.places is None else one.places.tolist()
        values = np.atleast_1d(one.values).tolist()
        rows += [
            {"observable": name, "place": place, "value": value, "why": one.why}
            for place, value in zip(places, values, strict=True)
        ]
    with replacing(folder / ARRAYS) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]
    write_table(folder / TABLE, COLUMNS, rows)


def read_measured(path: Path) -> dict[str, Measured]:
    """Return what :func:`write_measured` wrote into ``observables.npz``, by name."""
    with np.load(path, allow_pickle=False) as archive:
        names = dict.fromkeys(key.rpartition("/")[0] for key in archive.files)
        return {
            name: Measured(
                archive[f"{name}/values"],
                archive[f"{name}/places"] if f"{name}/places" in archive.files else None,
                float(archive[f"{name}/most"]),
                archive[f"{name}/why"].tobytes().decode(),
            )
            for name in names
        }


def read_curve(path: Path) -> tuple[Array, Array]:
    """Return places and values, ``[P]`` each, of a table of a user's: its first two columns, by spaces or commas.

    Lines that do not begin with two numbers are left out, such as a header.

    Raises:
        UserError: it has no two such lines, or places that do not ascend.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [line.replace(",", " ").replace(";", " ").split()[:2] for line in lines]
    pairs = [pair for row in rows if (pair := _numbers(row)) is not None]
    if len(pairs) < 2:
        raise UserError("has no two columns of numbers", str(path), "Give places and values, separated by , or spaces")
    places, values = np.array(pairs).T
    if not (np.diff(places) > 0).all():
        raise UserError("has places that do not ascend in its first column", str(path), "Sort the table by it")
    return places, values


def _numbers(row: list[str]) -> tuple[float, float] | None:
    """Return the first two entries of a row as finite numbers, None where they are none."""
    try:
        first, second = float(row[0]), float(row[1])
    except (ValueError, IndexError):
        return None
    return (first, second) if math.isfinite(first) and math.isfinite(second) else None


BLOCKS = 4
"""Parts of a user's structures, in the order of time, that count as replicas."""


def read_samples(path: Path) -> Samples:
    """Return the structures of a user's file as samples.

    Raises:
        UserError: it cannot be read, has fewer than eight structures, or structures of different atoms.
    """
    structures = all_structures(path)
    if len(structures) < 2 * BLOCKS:
        raise UserError(f"has {len(structures)} structures", str(path), f"A reference needs {2 * BLOCKS} at least")
    try:
        return Samples.of_structures(Frames.from_atoms(structures, constraints=False))
    except UserError as error:
        raise UserError(error.what, str(path), error.remedy) from None


def blocks(samples: Samples) -> list[Samples]:
    """Return samples in parts of neighbouring ones."""
    parts = np.array_split(np.arange(len(samples)), BLOCKS)
    return [replace(samples, positions=samples.positions[part], cells=samples.cells[part]) for part in parts]

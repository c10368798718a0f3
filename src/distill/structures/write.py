"""Write structures as extended XYZ with the standard keys, whole or not at all.

Numbers are written as the shortest decimals that read back as the same double (ASE's own writer keeps eight decimals),
so that what one stage writes and the next reads is the same structure to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from distill.base.arrays import Array
from distill.base.conventions import MOVE_MASK
from distill.base.files import replacing
from distill.structures.extxyz import format_comment
from distill.structures.frames import Frames

RESERVED = frozenset({"lattice", "properties", "pbc", "energy", "forces", "stress"})
"""Keys whose values come from the structure itself; an ``info`` of that name, whatever its case, is left out."""


def write_frames(path: str | Path, frames: Frames) -> None:
    """Write ``frames`` to ``path`` atomically; keys are ``energy`` (eV), ``forces`` (eV/Å), ``stress`` (eV/Å³).

    A label that is missing is written as ``nan``, a stress left out. Frames in which something is fixed get ASE's
    column ``move_mask``, true for what is free to move.
    ``info`` is kept: numbers, booleans, strings and lists of numbers as the format has them, everything else that JSON
    can say as ``_JSON`` (which ASE reads too). Raises TypeError for an ``info`` that JSON cannot say.
    """
    with replacing(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
        for text in _texts(frames):
            file.write(text)


def _texts(frames: Frames) -> Iterator[str]:
    """Yield each structure as text."""
    symbols = np.array(chemical_symbols)[frames.numbers]
    vectors = frames.positions if frames.forces is None else np.hstack([frames.positions, frames.forces])
    properties = "species:S:1:pos:R:3" + ("" if frames.forces is None else ":forces:R:3")
    offsets = frames.offsets
    for i in range(len(frames)):
        atoms = slice(offsets[i], offsets[i + 1])
        rows = [f"{s} {' '.join(map(repr, v))}" for s, v in zip(symbols[atoms], vectors[atoms].tolist(), strict=True)]
        columns = properties
        if frames.fixed is not None and frames.fixed[atoms].any():
            masks, n = _move_masks(frames.fixed[atoms])
            rows = [f"{row} {mask}" for row, mask in zip(rows, masks, strict=True)]
            columns += f":{MOVE_MASK}:L:{n}"
        yield "\n".join([str(len(rows)), format_comment(_comment(frames, i, columns)), *rows, ""])


def _move_masks(fixed: Array) -> tuple[list[str], int]:
    """Return what is free of each atom as text, and the number of its columns: one where atoms are fixed as a whole."""
    whole = (fixed == fixed[:, :1]).all()
    letters = np.where(fixed[:, :1] if whole else fixed, "F", "T")
    return [" ".join(row) for row in letters.tolist()], letters.shape[1]


def _comment(frames: Frames, i: int, properties: str) -> dict[str, Any]:
    """Return the keys of a structure's comment line."""
    keys: dict[str, Any] = {}
    if frames.cells[i].any():
        keys["Lattice"] = frames.cells[i].ravel()
    keys["Properties"] = properties
    keys |= {k: v for k, v in frames.info[i].items() if str(k).lower() not in RESERVED}
    if frames.energy is not None:
        keys["energy"] = frames.energy[i]
    if frames.stress is not None and np.isfinite(frames.stress[i]).all():
        keys["stress"] = frames.stress[i].ravel()
    keys["pbc"] = frames.pbc[i]
    return keys

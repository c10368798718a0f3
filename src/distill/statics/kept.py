"""What a task that is killed need not do again: finished relaxations, and the band as it was some steps ago."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from distill.base.arrays import Array
from distill.base.files import replacing
from distill.potentials.interface.calculator import PotentialCalculator
from distill.statics.relax import Relaxed, relaxed


class Relaxations:
    """Relaxations in a fixed order, of which finished ones are read again.

    Args:
        work: the folder where they are kept; None keeps nothing.
    """

    def __init__(self, work: Path | None) -> None:
        self.work = work
        self.begun = 0

    def __call__(self, atoms: Atoms, calculator: PotentialCalculator, **options: Any) -> Relaxed:
        """Return what :func:`distill.statics.relax.relaxed` does, or did when it was asked the same before."""
        path = None if self.work is None else self.work / f"relaxed-{self.begun:05d}.npz"
        self.begun += 1
        if path is not None and (found := _read(path, atoms, calculator)) is not None:
            return found
        end = relaxed(atoms, calculator, **options)
        if path is not None:
            with replacing(path) as temporary:
                np.savez(temporary, start=_state(atoms), end=_state(end.atoms), why=end.why)
        return end


def _state(atoms: Atoms) -> Array:
    """Return the cell and the positions, ``[3 + N, 3]`` Å."""
    return np.concatenate([atoms.cell.array, atoms.positions])


def _read(path: Path, atoms: Atoms, calculator: PotentialCalculator) -> Relaxed | None:
    """Return the end of a relaxation that began as ``atoms``; None where there is none."""
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as kept:
        start, end, why = kept["start"], kept["end"], str(kept["why"])
    if not np.array_equal(start, _state(atoms)):
        return None
    copied = atoms.copy()
    copied.set_cell(end[:3])
    copied.set_positions(end[3:], apply_constraint=False)
    copied.calc = calculator
    return Relaxed(copied, why)


def save_band(work: Path | None, images: Sequence[Atoms]) -> None:
    """Keep the positions of a band."""
    if work is not None:
        with replacing(work / "band.npz") as temporary:
            np.savez(temporary, positions=np.array([one.positions for one in images]))


def load_band(work: Path | None, images: Sequence[Atoms]) -> bool:
    """Move the images between the ends to where they were kept; return whether they were."""
    if work is None or not (work / "band.npz").exists():
        return False
    with np.load(work / "band.npz", allow_pickle=False) as kept:
        positions = kept["positions"]
    if positions.shape != (len(images), len(images[0]), 3):
        return False
    for one, at in zip(images[1:-1], positions[1:-1], strict=True):
        one.positions = at
    return True

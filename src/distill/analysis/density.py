"""Mass densities, which dynamics at constant pressure gives."""

from __future__ import annotations

import numpy as np
from ase import units
from ase.data import atomic_masses

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.structures.frames import Frames


def density(frames: Frames, masses: Array | None = None) -> Array:
    """Return the density of each structure, ``[B]`` g/cm³.

    Args:
        frames: structures that are periodic in all directions.
        masses: of all atoms, ``[N]`` u; None: those of the elements, whatever masses dynamics was run with.

    Raises:
        UserError: a structure is not periodic in all directions.
    """
    if not frames.pbc.all():
        raise UserError("a density needs a volume: structures must be periodic in all directions")
    heavy = atomic_masses[frames.numbers] if masses is None else np.asarray(masses, dtype=float)
    sums = np.bincount(frames.structure_of_atom, heavy, minlength=len(frames))
    return np.asarray(sums / frames.volumes * units._amu * 1e3 / 1e-24)

"""How often a cell is repeated."""

from __future__ import annotations

import numpy as np
from ase import Atoms


def repetitions(atoms: Atoms, length: float) -> tuple[int, int, int]:
    """Return how often a cell is repeated so that opposite faces are ``length`` Å apart."""
    heights = atoms.get_volume() / np.linalg.norm(np.cross(atoms.cell[[1, 2, 0]], atoms.cell[[2, 0, 1]]), axis=1)
    first, second, third = (int(np.ceil(length / height - 1e-6)) for height in heights)
    return first, second, third

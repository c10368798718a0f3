"""A small structure on which a network that was read is compared with the one that wrote the file."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from distill.base.random import stream
from distill.potentials.interface.potential import Potential
from distill.structures.frames import Frames


def probe(potential: Potential) -> Frames:
    """Return a cluster of up to eight elements that the potential knows, close enough to interact."""
    elements = np.array(potential.elements or (8, 14))
    numbers = elements[np.linspace(0, len(elements) - 1, 8).astype(int)]
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
    positions = 0.4 * potential.cutoff * (corners + 0.1 * stream(0, "probe").normal(size=corners.shape))
    return Frames.from_atoms([Atoms(numbers=numbers, positions=positions)])

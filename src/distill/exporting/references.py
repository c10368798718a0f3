"""The crystals that a potential is tried on before it is given away, chosen from structures that it was made for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from distill.analysis.random_cells import random_cells
from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.potentials.interface.potential import Potential
from distill.statics.supercell import repetitions
from distill.structures.compression import lowest_structures
from distill.structures.frames import Frames

MOST_STRUCTURES, MOST_CRYSTALS = 200, 4
"""Structures that are evaluated to find the lowest where there are no labels, and crystals, the smallest ones."""
VACUUM = 6.0
"""Å without an atom, along a lattice vector, from which on what is periodic is no crystal."""
APART = 5.0
"""Å between opposite faces of a cell whose atoms move, at least."""


@dataclass(frozen=True)
class References:
    """What the gate starts from.

    Attributes:
        structures: all that were given.
        crystals: the structure of lowest energy of each composition, of those that are periodic without a vacuum; the
            smallest few.
        repeated: the same, each repeated until its faces are :data:`APART` Å apart: a single atom cannot be rattled.
        names: of the crystals, by composition.
        cells: hard spheres of the elements, put at random.
        left_out: how many more compositions there were.
    """

    structures: Frames
    crystals: Frames
    repeated: Frames
    names: tuple[str, ...]
    cells: Frames
    left_out: int


def references(structures: Frames, potential: Potential) -> References:
    """Return the crystals among structures; without energies of theirs, the lowest in those of the potential.

    Raises:
        UserError: there are no structures, or an element that the potential does not know.
    """
    if not len(structures):
        raise UserError("there are no structures", where="structures", remedy="Give those that the model was fitted to")
    potential.check(structures)
    dense = structures[[k for k, one in enumerate(structures) if one.pbc.all() and not has_vacuum(one)]]
    if len(dense) and (dense.energy is None or not np.isfinite(dense.energy).all()):
        chosen = np.unique(np.linspace(0, len(dense) - 1, MOST_STRUCTURES).astype(int))
        dense = potential.evaluate(dense[chosen], stress=False)
    lowest = lowest_structures(dense) if len(dense) else []
    lowest = sorted(lowest, key=lambda k: (dense.n_atoms[k], k))
    crystals = dense[lowest[:MOST_CRYSTALS]]
    atoms = replace(crystals, fixed=None, info=()).to_atoms()
    names = tuple(one.symbols.formula.reduce()[0].format() for one in atoms)
    repeated = Frames.from_atoms([one.repeat(repetitions(one, APART)) for one in atoms])
    return References(
        structures, crystals, repeated, names, random_cells(structures, 0), max(0, len(lowest) - MOST_CRYSTALS)
    )


def has_vacuum(one: Frames) -> bool:
    """Return whether a structure in a cell is a slab, a chain or a molecule: pressure only closes its gap."""
    cell: Array = one.cells[0]
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    along = np.sort(np.mod(one.positions @ np.linalg.inv(cell), 1.0), axis=0)
    gaps = np.diff(np.vstack([along, along[:1] + 1]), axis=0).max(axis=0)
    return bool((gaps * heights > VACUUM).any())

"""Atoms that are held in place: ASE's constraints as a mask of Cartesian components, and back.

Only constraints that such a mask says completely are understood. Others (a fixed bond length, a spring) are refused:
whatever is made from the structure would break them without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from distill.base.arrays import Array
from distill.base.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms
    from ase.constraints import FixConstraint


def from_constraints(structures: Sequence[Atoms]) -> Array | None:
    """Return the components that ``FixAtoms`` and ``FixCartesian`` fix, ``[N, 3]`` booleans; None where they fix none.

    Raises UserError that names the structure for a constraint of any other kind.
    """
    if not any(atoms.constraints for atoms in structures):
        return None
    fixed = np.concatenate([_fixed(atoms, index) for index, atoms in enumerate(structures)])
    return fixed if fixed.any() else None


def _fixed(atoms: Atoms, index: int) -> Array:
    from ase.constraints import FixAtoms, FixCartesian

    fixed = np.zeros((len(atoms), 3), dtype=np.bool_)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            fixed[constraint.index] = True
        elif isinstance(constraint, FixCartesian):
            fixed[constraint.index] |= constraint.mask
        else:
            raise UserError(
                f"has a constraint {type(constraint).__name__}, and only FixAtoms and FixCartesian are understood",
                f"structure {index} (counted from 0), {atoms.get_chemical_formula()}",
                "Fix atoms or Cartesian components instead, or remove all constraints: atoms.set_constraint()",
            )
    return fixed


def to_constraints(fixed: Array) -> list[FixConstraint]:
    """Return ASE's constraints for the fixed components ``[n, 3]`` of one structure.

    Atoms that are fixed as a whole are in one ``FixAtoms``, others in a ``FixCartesian`` for each combination of
    components that occurs.
    """
    from ase.constraints import FixAtoms, FixCartesian

    found: list[FixConstraint] = []
    for mask in np.unique(fixed[fixed.any(axis=1)], axis=0):
        index = np.flatnonzero((fixed == mask).all(axis=1))
        found.append(FixAtoms(index) if mask.all() else FixCartesian(index, mask))
    return found

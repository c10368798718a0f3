"""Find structures whose energies come from another level of theory than those of the same composition.

Two levels (codes, pseudopotentials, functionals) differ in the energy of each element by a constant, usually of many
eV; structures of one composition then fall into groups with a gap between them.
"""

from __future__ import annotations

import numpy as np

from distill.base.arrays import Array
from distill.structures.composition import by_formula
from distill.structures.frames import Frames

GAP = 1.0
"""eV/atom. Levels of theory differ by more, structures near each other in energy by less."""


def mixed_levels(frames: Frames, offsets: Array) -> Array:
    """Return the indices, ascending, of structures whose offset is apart from most others of their composition.

    Structures of one reduced formula are sorted by offset and divided where two neighbours are more than :data:`GAP`
    apart; all but the largest group are returned (of equally large ones, those with the higher offsets).

    Args:
        frames: the structures.
        offsets: energy per atom that a model with right reference energies leaves unexplained, ``[B]`` eV/atom;
            energies per atom themselves where there is no model, which also finds structures that are very high in
            energy. What is NaN is not judged.
    """
    found: list[int] = []
    for members in by_formula(frames):
        members = members[np.isfinite(offsets[members])]
        if not len(members):
            continue
        order = members[np.argsort(offsets[members], kind="stable")]
        groups = np.split(order, np.flatnonzero(np.diff(offsets[order]) > GAP) + 1)
        largest = max(range(len(groups)), key=lambda g: len(groups[g]))
        found += [int(i) for g, group in enumerate(groups) if g != largest for i in group]
    return np.array(sorted(found), dtype=np.int64)

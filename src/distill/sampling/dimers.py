"""Isolated pairs of atoms over a range of distances: they teach a student the wall that bulk structures never show.

Default range: from 0.8 of the sum of the covalent radii (H-H 0.50 Å, O-H 0.78 Å, Si-Si 1.78 Å) to 6 Å, spaced
geometrically so that most points lie where the energy changes fastest. Nearer than that, foundation models have seen
next to no data and their energies bend the wrong way; there a student relies on its own short-range repulsion
(Ziegler-Biersack-Littmark), and labels would only fight it. Farther than its cutoff a student sees two free atoms.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from distill.base.errors import UserError
from distill.structures.frames import Frames
from distill.structures.pairs import pairs_at, pairs_of


def dimers(elements: Iterable[int], *, per_pair: int = 20, shortest: float = 0.8, longest: float = 6.0) -> Frames:
    """Return unlabelled dimers of every pair of elements, equal ones included, without cell.

    Args:
        elements: atomic numbers; repeats are ignored.
        per_pair: distances for each pair, at least 2.
        shortest: shortest distance in units of the sum of the covalent radii.
        longest: longest distance in Å, best the student's cutoff.

    Returns:
        Frames with ``config_type`` "dimer", ordered by pair, then by distance; the bond lies along x.

    Raises:
        UserError: where a shortest distance is not below ``longest``, or fewer than two points are asked for.
    """
    if per_pair < 2:
        raise UserError(f"per_pair is {per_pair}, a range needs at least 2 distances", where="dimers")
    pairs = pairs_of(elements)
    distances = []
    for a, b in pairs:
        start = shortest * float(covalent_radii[a] + covalent_radii[b])
        if not 0 < start < longest:
            name = f"{chemical_symbols[a]}-{chemical_symbols[b]}"
            raise UserError(
                f"the shortest distance {start:.2f} Å is not between 0 and the longest, {longest:.2f} Å",
                where=f"dimer {name}",
                remedy="Lower `shortest` or raise `longest`",
            )
        distances.append(np.geomspace(start, longest, per_pair))
    return pairs_at(pairs, distances)

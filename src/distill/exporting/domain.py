"""What a student was fitted to, as far as a user has to know it: where it holds, and where nobody has looked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from distill.analysis.geometry import find_pairs
from distill.exporting.references import has_vacuum
from distill.structures.frames import Frames
from distill.structures.pairs import pairs_of

FARTHEST = 1.5
"""Times the largest sum of covalent radii: no pair is looked for beyond."""


@dataclass(frozen=True)
class Closest:
    """The smallest distances of two elements among structures.

    Attributes:
        pair: for instance ``"O-H"``.
        together: in structures of more than two atoms, Å; None where they do not meet.
        alone: in isolated pairs, Å; None where there are none.
    """

    pair: str
    together: float | None
    alone: float | None


@dataclass(frozen=True)
class Domain:
    """What a student was fitted to.

    Attributes:
        structures: how many.
        elements: symbols.
        volumes: smallest and largest volume of an atom in crystals and liquids, Å³; None where there are none.
        closest: of every pair of elements.
        reach: distance beyond which no pair was looked for, Å.
    """

    structures: int
    elements: tuple[str, ...]
    volumes: tuple[float, float] | None
    closest: tuple[Closest, ...]
    reach: float


def domain_of(frames: Frames) -> Domain:
    """Return what structures cover; those without a cell, or with a vacuum in it, have no volume."""
    dense = [k for k, one in enumerate(frames) if one.pbc.all() and not has_vacuum(one)]
    volumes = frames.volumes[dense] / frames.n_atoms[dense]
    reach = FARTHEST * 2 * float(covalent_radii[list(frames.elements)].max())
    isolated = (frames.n_atoms == 2) & ~frames.pbc.any(axis=1)
    together, alone = (_smallest(frames[np.flatnonzero(chosen)], reach) for chosen in (~isolated, isolated))
    return Domain(
        structures=len(frames),
        elements=tuple(chemical_symbols[z] for z in frames.elements),
        volumes=(float(volumes.min()), float(volumes.max())) if dense else None,
        closest=tuple(
            Closest(f"{chemical_symbols[a]}-{chemical_symbols[b]}", together.get((a, b)), alone.get((a, b)))
            for a, b in pairs_of(frames.elements)
        ),
        reach=reach,
    )


def _smallest(frames: Frames, reach: float) -> dict[tuple[int, int], float]:
    """Return the smallest distance of each pair of elements within reach; one structure after another is searched."""
    found: dict[tuple[int, int], float] = {}
    for one in frames:
        pairs = find_pairs(one, reach)
        for numbers in np.unique(pairs.numbers, axis=0).tolist():
            near = float(pairs.distance[(pairs.numbers == numbers).all(axis=1)].min())
            key = (int(numbers[0]), int(numbers[1]))
            found[key] = min(near, found.get(key, np.inf))
    return found

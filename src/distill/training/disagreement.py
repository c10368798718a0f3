"""What several teachers disagree about: how much such labels count for a student, and which are left out.

A label's weight is 1 / (s² + s₀²), where s is the spread of the teachers on it and s₀ the median spread of all: the
inverse variance, with a floor that keeps labels on which they agree by chance from drowning the others (at most twice
the weight of a median one). Weights have the mean 1, so that those of the terms of a loss keep their meaning.

Dimers and compressed cells are there for the repulsion of close atoms alone. Forces are large there and so is the
spread: they keep the weight 1, and nothing is left out of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from distill.base.arrays import Array
from distill.structures.frames import Frames
from distill.structures.spread import Spread
from distill.training.targets import Targets

Weigh = Literal["none", "forces", "all"]
"""What the spread weighs; all is forces, energies and stresses."""


@dataclass(frozen=True)
class SpreadWeights:
    """How much the labels of ``B`` structures of together ``N`` atoms count.

    Attributes:
        energy: of each structure's energy and stress, ``[B]``.
        forces: of each atom's force, ``[N]``.
    """

    energy: Array
    forces: Array


def weights_by_spread(spread: Array, judged: Array) -> Array:
    """Return weights ``[M]`` from spreads ``[M]``: those of ``judged`` ones by the rule above, 1 for all others."""
    weights = np.ones(len(spread))
    floor = float(np.median(spread[judged])) if judged.any() else 0.0
    if floor > 0:
        inverse = 1.0 / (spread[judged] ** 2 + floor**2)
        weights[judged] = inverse / inverse.mean()
    return weights


def unknown_to_all(spread: Array, judged: Array, limit: float | None) -> tuple[Array, float]:
    """Return which structures no teacher knows, ``[B]`` bool, and from which spread of forces on, eV/Å.

    Args:
        spread: of the forces of each structure, see :meth:`Spread.of_structures`, ``[B]`` eV/Å.
        judged: which structures may be left out, ``[B]`` bool.
        limit: how many times the median of the judged ones; None leaves none out.
    """
    if limit is None or not judged.any():
        return np.zeros(len(spread), dtype=bool), np.inf
    most = limit * float(np.median(spread[judged]))
    return judged & (spread > most), most


def with_spread(targets: Targets, spread: Spread, frames: Frames, judged: Array, weigh: Weigh) -> Targets:
    """Return the targets of structures with how far the teachers lie apart and, where wanted, how much labels count.

    Args:
        targets: of ``frames``.
        spread: of the teachers on them.
        frames: the structures.
        judged: which of them the spread weighs, ``[B]`` bool.
        weigh: what it weighs; where it is nothing, the targets have no weights.
    """
    noted = replace(targets, energy_spread=spread.energy, forces_spread=spread.forces)
    if weigh == "none":
        return noted
    energies = judged if weigh == "all" else np.zeros(len(frames), dtype=bool)
    return replace(
        noted,
        energy_weight=weights_by_spread(spread.energy, energies),
        forces_weight=weights_by_spread(spread.forces, judged[frames.structure_of_atom]),
    )

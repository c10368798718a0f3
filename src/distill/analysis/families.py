"""Where the error of a model lies: by family of structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill.analysis.errors import ALL, groups
from distill.base.arrays import Array


@dataclass(frozen=True)
class FamilyShare:
    """The part of one family in the force error of a model.

    Attributes:
        family: its name.
        mae: mean absolute error of its force components, eV/Å.
        of_components: its share of the labelled force components.
        of_error: its share of the sum of their squared errors.
    """

    family: str
    mae: float
    of_components: float
    of_error: float


def family_shares(n_atoms: Array, family: Sequence[str], reference: Array, predicted: Array) -> list[FamilyShare]:
    """Return the part of each family in the force error, the largest mean squared error first.

    Args:
        n_atoms: of each structure, ``[B]``.
        family: of each structure, ``B`` names.
        reference: forces, ``[N, 3]`` eV/Å; NaN is no label.
        predicted: forces, ``[N, 3]`` eV/Å; nothing is returned where one that has a label is not finite.
    """
    structure = np.repeat(np.arange(len(n_atoms)), np.asarray(n_atoms, dtype=int))
    labelled = np.isfinite(reference)
    error = np.where(labelled, np.asarray(predicted) - np.asarray(reference), 0.0)
    if not labelled.any() or not np.isfinite(error).all():
        return []
    count, absolute, square = (
        np.bincount(structure, values.sum(axis=1), len(n_atoms)) for values in (labelled, np.abs(error), error**2)
    )
    shares = [
        FamilyShare(
            name,
            mae=float(absolute[members].sum() / count[members].sum()),
            of_components=float(count[members].sum() / count.sum()),
            of_error=float(square[members].sum() / square.sum()) if square.any() else 0.0,
        )
        for name, members in groups(list(family)).items()
        if name != ALL and count[members].any()
    ]
    return sorted(shares, key=lambda one: -one.of_error / one.of_components)

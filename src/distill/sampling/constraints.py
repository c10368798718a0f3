"""What of a structure may move: fixed atoms stay, and a free structure does not drift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.base.arrays import Array


@dataclass(frozen=True)
class ConstraintMask:
    """How the atoms of one structure may move.

    Attributes:
        free: components that may move, ``[n, 3]`` booleans.
        masses: ``[n]``; of the centre of mass.
    """

    free: Array
    masses: Array

    @property
    def any(self) -> bool:
        """Whether anything may move."""
        return bool(self.free.any())

    def allowed(self, step: Array) -> Array:
        """Return the part of a step ``[n, 3]`` Å that is allowed.

        Fixed components do not move. The centre of mass stays where it was, because the origin of a structure is
        arbitrary: the displacement between two members of a tree is then never a mere shift of the whole. Along
        directions in which some atom is fixed the origin is given, and the centre of mass is free.
        """
        step = np.where(self.free, step, 0.0)
        drifting = self.free.all(axis=0)
        return step - np.where(drifting, self.masses @ step / self.masses.sum(), 0.0)

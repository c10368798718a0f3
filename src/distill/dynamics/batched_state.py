"""Where replicas in a batch are after a step, and how one of them comes to an end within one."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from distill.base.arrays import Array


@dataclass(frozen=True)
class ReplicaState:
    """Where ``R`` replicas of ``N`` atoms are after a step.

    Attributes:
        step: how many were made.
        positions: unwrapped, ``[R, N, 3]`` float64 Å.
        velocities: ``[R, N, 3]`` float64, ASE's unit.
        forces: ``[R, N, 3]`` float64 eV/Å.
        energy: potential energy, ``[R]`` float64 eV.
        stress: ``[R, 3, 3]`` eV/Å³ where it was asked for, or None.
    """

    step: int
    positions: Tensor
    velocities: Tensor
    forces: Tensor
    energy: Tensor
    stress: Tensor | None = None


class BrokenReplica(Exception):
    """A replica came to an end within a step.

    Args:
        index: which.
        what: why, as a part of a sentence.
        positions: of its atoms, ``[N, 3]`` Å.
    """

    def __init__(self, index: int, what: str, positions: Array) -> None:
        super().__init__(what)
        self.index, self.what, self.positions = index, what, positions

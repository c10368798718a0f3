"""Whether forces and stress are the derivatives of the energy, by central differences in a random direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from distill.base.arrays import Array
from distill.structures.frames import Frames, concatenate

STEP = 1e-5
"""Å, or relative strain, of the finite differences; in double precision their error is of the order of its square."""

Evaluate = Callable[[Frames], Frames]
"""What labels structures, best in double precision."""


@dataclass(frozen=True)
class Slope:
    """How the energy changes along a direction: as it is found, and as forces or stress say; eV/Å or eV per strain."""

    found: float
    said: float

    @property
    def error(self) -> float:
        """The difference, relative where the slope is above 1."""
        return abs(self.found - self.said) / max(1.0, abs(self.said))


def along_positions(evaluate: Evaluate, one: Frames, rng: np.random.Generator, step: float = STEP) -> Slope:
    """Return how the energy of one labelled structure changes where all atoms move along a random direction."""
    along = rng.normal(size=one.positions.shape)
    ahead, behind = (replace(one, positions=one.positions + h * along) for h in (step, -step))
    found = difference(evaluate, ahead, behind, step)
    return Slope(found, -float(np.sum(np.asarray(one.forces) * along)))


def along_strain(evaluate: Evaluate, one: Frames, rng: np.random.Generator, step: float = STEP) -> Slope:
    """Return how the energy of one labelled periodic structure changes under a random symmetric strain."""
    strain = rng.normal(size=(3, 3))
    strain += strain.T
    ahead, behind = (deform(one, np.eye(3) + h * strain) for h in (step, -step))
    found = difference(evaluate, ahead, behind, step)
    return Slope(found, float(np.sum(np.asarray(one.stress)[0] * strain) * one.volumes[0]))


def difference(evaluate: Evaluate, ahead: Frames, behind: Frames, step: float) -> float:
    """Return the central difference of the energy between two displaced structures."""
    energy = np.asarray(evaluate(concatenate([ahead, behind])).energy)
    return float(energy[0] - energy[1]) / (2 * step)


def deform(frames: Frames, deformation: Array) -> Frames:
    """Return the structures with positions and cells multiplied by ``deformation`` ``[3, 3]`` from the right."""
    return replace(frames, positions=frames.positions @ deformation, cells=frames.cells @ deformation)

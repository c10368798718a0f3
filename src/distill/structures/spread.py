"""Several labellings of the same structures: their weighted mean, and how far they lie apart.

The spread is the standard deviation of the labellings about their mean, estimated without bias for their weights: with
weights w that add up to 1, s² = Σ w (x − x̄)² / (1 − Σ w²), which for n equal weights is the familiar 1 / (n − 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.base.arrays import Array
from distill.base.files import replacing
from distill.structures.frames import Frames


@dataclass(frozen=True)
class Spread:
    """How far several potentials lie apart on ``B`` structures of together ``N`` atoms.

    Attributes:
        energy: standard deviation of the energy per atom, ``[B]`` eV/atom.
        forces: of the force on each atom: root of the summed variances of its three components, ``[N]`` eV/Å.
    """

    energy: Array
    forces: Array

    def of_structures(self, frames: Frames) -> Array:
        """Return the root mean square of ``forces`` over the atoms of each structure, ``[B]`` eV/Å."""
        squares = np.bincount(frames.structure_of_atom, self.forces**2, len(frames))
        return np.asarray(np.sqrt(squares / frames.n_atoms))

    def noted(self, frames: Frames) -> Frames:
        """Return the structures with ``energy_spread`` (eV/atom) and ``forces_spread`` (eV/Å) of each in ``info``."""
        return frames.with_info(energy_spread=self.energy.tolist(), forces_spread=self.of_structures(frames).tolist())

    def of(self, frames: Frames, chosen: Array) -> Spread:
        """Return that of the chosen structures, given by their numbers, of ``frames``."""
        return Spread(self.energy[chosen], self.forces[frames.atom_indices(chosen)])

    def save(self, path: Path) -> None:
        """Write it to an ``.npz`` file, whole or not at all."""
        with replacing(path) as temporary:
            np.savez(temporary, energy=self.energy, forces=self.forces)

    @classmethod
    def load(cls, path: Path) -> Spread:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(stored["energy"], stored["forces"])


def weighted_mean(values: Array, shares: Array) -> Array:
    """Return Σ w x of labellings ``[M, ...]`` with weights ``[M]`` that add up to 1."""
    return np.asarray(np.tensordot(shares, values, axes=1))


def deviation(values: Array, shares: Array) -> Array:
    """Return the unbiased standard deviation of labellings ``[M, ...]`` with weights ``[M]``; zero for a single one."""
    left = 1.0 - float(np.square(shares).sum())
    if left <= 0:
        return np.zeros(values.shape[1:])
    away = values - weighted_mean(values, shares)
    return np.asarray(np.sqrt(weighted_mean(away**2, shares) / left))


def shares_by_error(mean_squares: Array) -> Array:
    """Return weights proportional to the inverse of mean squared errors ``[M]``, which add up to 1.

    They make the variance of the mean smallest where the errors of the labellings are independent of each other. A
    labelling whose error is not finite has the weight 0.

    Raises:
        ValueError: no error is finite.
    """
    known = np.isfinite(mean_squares)
    if not known.any():
        raise ValueError("no error is finite")
    if (exact := known & (mean_squares == 0)).any():
        return exact / exact.sum()
    inverse = np.where(known, 1.0 / np.where(known, mean_squares, 1.0), 0.0)
    return np.asarray(inverse / inverse.sum())


def spread_of(labelled: Sequence[Frames], shares: Array) -> Spread:
    """Return how far several labellings of the same structures, all with energies and forces, lie apart."""
    energy = np.array([frames.energy_per_atom for frames in labelled])
    forces = np.array([frames.forces for frames in labelled])
    return Spread(deviation(energy, shares), np.sqrt(np.square(deviation(forces, shares)).sum(axis=1)))


def mean_of(labelled: Sequence[Frames], shares: Array) -> Frames:
    """Return the structures with the mean of several labellings; a stress only where all of them have one."""
    energy = weighted_mean(np.array([frames.energy for frames in labelled]), shares)
    forces = weighted_mean(np.array([frames.forces for frames in labelled]), shares)
    stresses = [frames.stress for frames in labelled]
    stress = None if any(one is None for one in stresses) else weighted_mean(np.array(stresses), shares)
    return labelled[0].with_labels(energy, forces, stress)

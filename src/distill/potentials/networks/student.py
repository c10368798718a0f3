"""What students have in common: a network that starts untrained, on top of the repulsion of nuclei.

Before training, atomic reference energies (E0s) and scale are set from the data, so that the network has only to learn
numbers of order one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from distill.base.arrays import Array
from distill.potentials.interface.batch import Batch
from distill.potentials.interface.potential import MAX_Z, Potential
from distill.potentials.networks.compiled import FEWEST, derivatives
from distill.potentials.networks.zbl import ZBLRepulsion
from distill.structures.composition import element_counts
from distill.structures.frames import Frames


class Student(Potential):
    """Base of students; a subclass writes :meth:`network_energies` and names its energy scale.

    Args:
        cutoff: the distance up to which neighbours are listed, Å.
        short_range_repulsion: whether the repulsion of nuclei is added.
    """

    def __init__(self, cutoff: float, short_range_repulsion: bool) -> None:
        super().__init__(cutoff, learn_reference_energies=True)
        self.short_range_repulsion = ZBLRepulsion() if short_range_repulsion else None

    @property
    def scale(self) -> Tensor:
        """The parameter by which the network's energies are multiplied, one value for each atomic number."""
        raise NotImplementedError

    def network_energies(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Return the network's energy of each atom, ``[N]`` eV; ``vectors`` are those of the edges, ``[P, 3]`` Å."""
        raise NotImplementedError

    def atomic_energies(self, batch: Batch) -> Tensor:
        """Return the network's energy of each atom and, if wanted, the short-range repulsion, ``[N]`` eV."""
        vectors = batch.vectors()
        energies = self.network_energies(batch, vectors)
        if self.short_range_repulsion is None:
            return energies
        repulsion: Tensor = self.short_range_repulsion(batch, vectors)
        return energies + repulsion

    def _derivatives(self, batch: Batch, stress: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return what the base class does, by a compiled function where one is wanted and worth it."""
        if self.compiled == "no" or min(len(batch.numbers), batch.edges.shape[1]) < FEWEST:
            return super()._derivatives(batch, stress)
        with torch.set_grad_enabled(self.compiled == "fit"):
            return derivatives(self, batch, stress)

    @torch.no_grad()
    def initialise(self, frames: Frames) -> None:
        """Set reference energies, scale and known elements from training data, before the first step.

        Reference energies are the least-squares energies per element (the shortest solution where the compositions
        leave a choice). The scale of every element is the root mean square of the force components times 1 Å, as in
        NequIP (Batzner et al., Nat. Commun. 13, 2453, 2022). Without forces it is the spread of the energies per atom
        that the reference energies leave, and 1 where that is zero.
        """
        self.elements = frames.elements
        residual = np.zeros(len(frames))
        if frames.energy is not None:
            energies, residual = fit_reference_energies(frames)
            self.reference_energies.copy_(torch.from_numpy(energies))
        values = frames.forces if frames.forces is not None else residual / frames.n_atoms
        squares = values[np.isfinite(values)] ** 2
        spread = float(np.sqrt(squares.mean())) if len(squares) else 0.0
        self.scale.fill_(spread if spread > 1e-6 else 1.0)


def fit_reference_energies(frames: Frames) -> tuple[Array, Array]:
    """Return energies per element ``[119]`` eV by least squares, and what they leave of each energy, ``[B]`` eV.

    Structures whose energy is NaN are left out of the fit, and NaN is what is left of it.

    Raises:
        ValueError: the structures have no energies.
    """
    if frames.energy is None:
        raise ValueError("these structures have no energies")
    counts = element_counts(frames)
    energies = np.zeros(MAX_Z + 1)
    known = np.isfinite(frames.energy)
    energies[list(frames.elements)] = np.linalg.lstsq(counts[known], frames.energy[known], rcond=1e-8)[0]
    return energies, frames.energy - counts @ energies[list(frames.elements)]

"""The adapter of graph-pes' models: their network, our derivatives.

graph-pes differentiates each summand of a model on its own; here the network's ``forward`` gives the energies of the
atoms, the core repulsion is added, and one backward pass serves all.
"""

from __future__ import annotations

import numpy as np
import torch
from graph_pes.atomic_graph import AtomicGraph
from graph_pes.graph_pes_model import GraphPESModel
from torch import Tensor

from distill.potentials.core_repulsion import CoreRepulsion
from distill.potentials.graph import Batch
from distill.potentials.potential import MAX_Z, Potential
from distill.structures.frames import Array, Frames


class GraphPESPotential(Potential):
    """A graph-pes model as a student.

    Args:
        model: a model with local energies and graph-pes' per-element energy scale in ``model.scaler``.
        core: whether the repulsion of nuclei is added.
    """

    def __init__(self, model: GraphPESModel, core: bool) -> None:
        super().__init__(float(model.cutoff), learn_offsets=True)
        self.model = model
        self.core = CoreRepulsion() if core else None

    def atomic_energies(self, batch: Batch) -> Tensor:
        """Return the network's energy of each atom and, if wanted, the core repulsion, ``[N]`` eV."""
        vectors = batch.vectors()
        energies = self.many_body(batch, vectors)
        return energies if self.core is None else energies + self.core(batch, vectors)

    def many_body(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Return the network's energy of each atom, ``[N]`` eV; ``vectors`` are those of the pairs, ``[P, 3]``."""
        return self.model(atomic_graph(batch, self.cutoff))["local_energies"].reshape(-1)

    @torch.no_grad()
    def initialise(self, frames: Frames) -> None:
        """Set offsets, energy scale and known elements from training data, before the first step.

        Offsets are the least-squares energies per element (the shortest solution where the compositions leave a
        choice). The scale of every element is the root mean square of the force components times 1 Å, as in NequIP
        (Batzner et al., Nat. Commun. 13, 2453, 2022): the network then has forces of order one to learn. Without forces
        it is the spread of the energies per atom that the offsets leave, and 1 where that is zero.
        """
        self.elements = frames.elements
        residual = np.zeros(len(frames))
        if frames.energy is not None:
            offsets, residual = fit_offsets(frames)
            self.offsets.copy_(torch.from_numpy(offsets))
        values = frames.forces if frames.forces is not None else residual / frames.n_atoms
        scale = float(np.sqrt(np.mean(values**2)))
        self.model.scaler.per_element_scaling.fill_(scale if scale > 1e-6 else 1.0)


def fit_offsets(frames: Frames) -> tuple[Array, Array]:
    """Return energies per element ``[119]`` eV by least squares, and what they leave of each energy, ``[B]`` eV."""
    if frames.energy is None:
        raise ValueError("these structures have no energies")
    counts = np.zeros((len(frames), MAX_Z + 1))
    np.add.at(counts, (frames.structure_of_atom, frames.numbers), 1.0)
    offsets = np.linalg.lstsq(counts, frames.energy, rcond=1e-8)[0]
    return offsets, frames.energy - counts @ offsets


def atomic_graph(batch: Batch, cutoff: float) -> AtomicGraph:
    """Return the batch as graph-pes' graph, differentiable in the same positions and cells."""
    counts = torch.bincount(batch.structure, minlength=batch.n_structures)
    return AtomicGraph(
        Z=batch.numbers,
        R=batch.positions,
        cell=batch.cells,
        neighbour_list=torch.stack([batch.centres, batch.neighbours]),
        neighbour_cell_offsets=torch.cat([batch.shifts, -batch.shifts]),
        properties={},
        cutoff=cutoff,
        other={},
        batch=batch.structure,
        ptr=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
    )

"""The adapter of graph-pes' models: their network, our derivatives.

graph-pes differentiates each summand of a model on its own; here the network's ``forward`` gives the energies of the
atoms, the core repulsion is added, and one backward pass serves all.
"""

from __future__ import annotations

import torch
from graph_pes.atomic_graph import AtomicGraph
from graph_pes.graph_pes_model import GraphPESModel
from torch import Tensor

from distill.potentials.graph import Batch
from distill.potentials.student import Student


class GraphPESPotential(Student):
    """A graph-pes model as a student.

    Args:
        model: a model with local energies and graph-pes' per-element energy scale in ``model.scaler``.
        core: whether the repulsion of nuclei is added.
    """

    def __init__(self, model: GraphPESModel, core: bool) -> None:
        super().__init__(float(model.cutoff), core)
        self.model = model

    @property
    def scale(self) -> Tensor:
        """graph-pes' per-element scale, ``[119, 1]``."""
        scale: Tensor = self.model.scaler.per_element_scaling
        return scale

    def many_body(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Return the network's energy of each atom, ``[N]`` eV; graph-pes computes its own vectors."""
        energies: Tensor = self.model(atomic_graph(batch, self.cutoff))["local_energies"]
        return energies.reshape(-1)


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

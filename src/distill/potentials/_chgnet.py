"""CHGNet as a potential: its angles are found once for each structure and travel with it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from distill.potentials._chgnet_network import CUTOFF, CHGNetNetwork, find_angles
from distill.potentials.graph import Batch, Graph
from distill.potentials.potential import Potential


class CHGNetPotential(Potential):
    """CHGNet; the energies of free atoms that it was fitted with are part of the network, ``offsets`` start at zero."""

    def __init__(self, elements: tuple[int, ...]) -> None:
        super().__init__(CUTOFF, elements=elements, learn_offsets=False)
        self.network = CHGNetNetwork()

    def atomic_energies(self, batch: Batch) -> Tensor:
        """Return CHGNet's energy of each atom, ``[N]`` eV."""
        return self.network(batch)

    def complete(self, graph: Graph) -> Graph:
        """Add the angles between bonds shorter than 3 Å."""
        pairs, positions = graph.pairs.numpy(), graph.positions.numpy()
        vectors = positions[pairs[1]] - positions[pairs[0]] + graph.shifts.numpy() @ graph.cell.numpy()
        angles = find_angles(pairs, np.sqrt(np.square(vectors).sum(axis=1)), len(positions))
        graph.extra = {name: torch.from_numpy(values) for name, values in angles.items()}
        graph.extra["angle_sign"] = graph.extra["angle_sign"].to(graph.positions.dtype)
        return graph

    def extra_increments(self, graph: Graph) -> Mapping[str, int]:
        """Return the numbers of pairs, bonds and atoms, which the angles point to."""
        bonds = len(graph.extra["short"])
        return {"short": graph.pairs.shape[1], "angle_bonds": bonds, "angle_centre": len(graph.numbers)}

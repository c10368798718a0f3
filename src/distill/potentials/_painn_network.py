"""PaiNN with graph-pes' parameters and a quicker way through them.

The numbers are those of graph-pes (a test compares them); what differs is the order of work. Distances and radial
filters are computed once for each pair instead of for both directions, vectors are stored as ``(N, 3, D)`` so that
linear maps need no transposition, the first layer skips the vectors that are still zero, the last one those that nobody
reads.
"""

from __future__ import annotations

from graph_pes.models.painn import Interaction, PaiNN, Update
from torch import Tensor, cat, split
from torch.nn.functional import linear

from distill.potentials._graph_pes import GraphPESPotential
from distill.potentials.graph import Batch


class PaiNNNetwork(PaiNN):
    """graph-pes' PaiNN (same parameters, same names) evaluated on pairs."""

    def local_energies(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Return the energy of each atom, ``[N]`` eV; ``vectors`` are those of the pairs, ``[P, 3]`` Å."""
        distances = vectors.norm(dim=-1, keepdim=True)  # (P, 1)
        directions = vectors / distances
        directions = cat([directions, -directions])  # (2P, 3)
        edges = batch.centres, batch.neighbours
        s = self.z_embedding(batch.numbers)  # (N, D)
        v = None  # (N, 3, D), zero at first
        last = len(self.interactions) - 1
        for layer, (interaction, update) in enumerate(zip(self.interactions, self.updates, strict=True)):
            filters = interaction.filter_generator(distances)  # (P, 3D)
            s, v = message(interaction, s, v, edges, filters, directions)
            s, v = mix(update, s, v, vectors_needed=layer < last)
        energies = self.read_out(s).reshape(-1)
        return energies * self.scaler.per_element_scaling[batch.numbers].reshape(-1)


def message(
    interaction: Interaction,
    s: Tensor,
    v: Tensor | None,
    edges: tuple[Tensor, Tensor],
    filters: Tensor,
    directions: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return scalars ``(N, D)`` and vectors ``(N, 3, D)`` after messages from neighbours (the paper's figure 2b)."""
    centres, neighbours = edges
    n, width = s.shape
    x = interaction.Phi(s).index_select(0, neighbours)  # (2P, 3D)
    x = (x.view(2, -1, 3 * width) * filters).view(-1, 3 * width)
    a, b, c = split(x, width, dim=-1)  # (2P, D)
    arrows = b.unsqueeze(1) * directions.unsqueeze(2)  # (2P, 3, D)
    if v is not None:
        arrows = arrows + c.unsqueeze(1) * v.view(n, 3 * width).index_select(0, neighbours).view(-1, 3, width)
    both = cat([a, arrows.view(-1, 3 * width)], dim=-1)  # (2P, 4D)
    received = s.new_zeros(n, 4 * width).index_add(0, centres, both)
    ds, dv = received[:, :width], received[:, width:].reshape(n, 3, width)
    return s + ds, dv if v is None else v + dv


def mix(update: Update, s: Tensor, v: Tensor, vectors_needed: bool) -> tuple[Tensor, Tensor]:
    """Return scalars and vectors after each has changed the other on every atom (the paper's figure 2c)."""
    width = s.shape[1]
    uv = linear(v, cat([update.U._linear.weight, update.V._linear.weight]))  # (N, 3, 2D)
    u, w = split(uv, width, dim=-1)  # (N, 3, D)
    norm = (w.square().sum(1) + 1e-8).sqrt()  # (N, D)
    a, b, c = split(update.mlp(cat([s, norm], dim=-1)), width, dim=-1)  # (N, D)
    s = s + b + c * (u * w).sum(1)
    return s, v + u * a.unsqueeze(1) if vectors_needed else v


class PaiNNPotential(GraphPESPotential):
    """PaiNN as a student."""

    model: PaiNNNetwork

    def many_body(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Return the network's energy of each atom, ``[N]`` eV."""
        return self.model.local_energies(batch, vectors)

"""graph-pes' EDDP as a student: its triplets are found once, with all of a batch at a time, and travel with it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from graph_pes.atomic_graph import AtomicGraph
from graph_pes.models.eddp import EDDP as Network
from graph_pes.utils.threebody import _cache_threebody_terms
from torch import Tensor

from distill.potentials.interface.batch import Batch
from distill.potentials.networks.graph_pes import GraphPESPotential


class EDDPPotential(GraphPESPotential):
    """EDDP as a student.

    Args:
        network: graph-pes' model.
        short_range_repulsion: whether the repulsion of nuclei is added.
    """

    def __init__(self, network: Network, short_range_repulsion: bool) -> None:
        super().__init__(network, short_range_repulsion)
        self.reach = float(network.three_body_cutoff)

    def add_features(self, batch: Batch) -> Batch:
        """Add the triplets of neighbours nearer than the cutoff of three bodies."""
        near = (batch.vectors().norm(dim=-1) < self.reach).nonzero().squeeze(-1)
        edges = torch.cat([near, near])
        backward = torch.arange(2 * len(near), device=near.device) >= len(near)
        centres = torch.where(backward, batch.edges[1][edges], batch.edges[0][edges])
        first, second = ordered_pairs(centres, len(batch.numbers))
        batch.extra = {
            "first": edges[first],
            "first_backward": backward[first],
            "second": edges[second],
            "second_backward": backward[second],
        }
        return batch

    def extra_increments(self, batch: Batch) -> Mapping[str, int]:
        """Return the number of pairs, which the triplets point to."""
        return {"first": batch.edges.shape[1], "second": batch.edges.shape[1]}

    def graph(self, batch: Batch) -> AtomicGraph:
        """Return the batch as graph-pes' graph that knows its triplets."""
        graph = super().graph(batch)
        extra, pairs = batch.extra, batch.edges.shape[1]
        first = extra["first"] + pairs * extra["first_backward"]
        second = extra["second"] + pairs * extra["second_backward"]
        edges, shifts = graph.neighbour_list, graph.neighbour_cell_offsets
        _cache_threebody_terms(graph, self.reach, edges[:, first], shifts[first], edges[:, second], shifts[second])
        return graph


def ordered_pairs(centres: Tensor, n_atoms: int) -> tuple[Tensor, Tensor]:
    """Return all ordered pairs of different edges that share their centre, as two lists of indices of edges."""
    order = centres.argsort(stable=True)
    counts = torch.bincount(centres, minlength=n_atoms)
    starts = counts.cumsum(0) - counts
    of_edge = counts[centres[order]]  # how many edges share the centre of each
    first = torch.repeat_interleave(torch.arange(len(order), device=order.device), of_edge)
    ends = of_edge.cumsum(0)
    within = torch.arange(len(first), device=order.device) - torch.repeat_interleave(ends - of_edge, of_edge)
    second = starts[centres[order[first]]] + within
    different = first != second
    return order[first[different]], order[second[different]]

"""The adapter of graph-pes' models: their network, our derivatives.

graph-pes differentiates each summand of a model on its own; here the network's ``forward`` gives the energies of the
atoms, the short-range repulsion is added, and one backward pass serves all.
"""

from __future__ import annotations

import torch
from ase.data import atomic_numbers
from graph_pes.atomic_graph import AtomicGraph, trim_edges
from graph_pes.graph_pes_model import GraphPESModel
from graph_pes.interfaces.base import InterfaceModel
from graph_pes.models.addition import AdditionModel
from graph_pes.models.components.distances import PolynomialEnvelope
from graph_pes.models.components.scaling import LocalEnergiesScaler
from graph_pes.utils.nn import AtomicOneHot
from torch import Tensor, nn

from distill.base.errors import UserError
from distill.potentials.interface.batch import Batch
from distill.potentials.interface.potential import MAX_Z, Potential
from distill.potentials.networks.student import Student
from distill.potentials.settings import OfElements
from distill.structures.frames import Frames

FITTED_ON = 64
"""Structures that constants of a network, such as the mean number of neighbours, are taken from at most."""


class GraphPESPotential(Student):
    """A graph-pes model as a student.

    Args:
        model: a model with local energies. Where it has no scale of its own (graph-pes' ``LocalEnergiesScaler`` in
            ``model.scaler``), one is added.
        short_range_repulsion: whether the repulsion of nuclei is added.
    """

    def __init__(self, model: GraphPESModel, short_range_repulsion: bool) -> None:
        super().__init__(float(model.cutoff), short_range_repulsion)
        one_hot = [child for child in model.modules() if isinstance(child, AtomicOneHot)]
        if one_hot:
            self.elements = tuple(sorted(atomic_numbers[symbol] for symbol in one_hot[0].elements))
        self.model = with_own_one_hot(model)
        scaled = isinstance(getattr(model, "scaler", None), LocalEnergiesScaler)
        self.scales = None if scaled else nn.Parameter(torch.ones(MAX_Z + 1))

    @property
    def scale(self) -> Tensor:
        """The scale by atomic number: graph-pes' ``[119, 1]``, or our own ``[119]``."""
        scale: Tensor = self.model.scaler.per_element_scaling if self.scales is None else self.scales
        return scale

    def graph(self, batch: Batch) -> AtomicGraph:
        """Return the batch as the network reads it."""
        return atomic_graph(batch, self.cutoff)

    def network_energies(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Return the network's energy of each atom, ``[N]`` eV; graph-pes computes its own vectors."""
        energies = local_energies(self.model, self.graph(batch)).reshape(-1)
        return energies if self.scales is None else energies * self.scales.index_select(0, batch.numbers)

    @torch.no_grad()
    def initialise(self, frames: Frames) -> None:
        """Set reference energies and scale, and what else the network takes from the data, as graph-pes does."""
        known = self.elements
        super().initialise(frames)
        self.elements = known or self.elements
        step = -(-len(frames) // FITTED_ON)
        graph = self.graph(self.batch(frames[::step]))
        for part in self.model.modules():
            if hasattr(part, "pre_fit") and not isinstance(part, LocalEnergiesScaler):
                part.pre_fit(graph)
        self.model.to(device=self.device, dtype=self.scale.dtype)


class GraphPESFilePotential(Potential):
    """A graph-pes model of a file; energies of atoms are part of the network, ``reference_energies`` begin at 0."""

    def __init__(self, model: GraphPESModel) -> None:
        seen = tuple(atomic_numbers[symbol] for symbol in model.elements_seen)
        super().__init__(float(model.cutoff), elements=seen or None, learn_reference_energies=False)
        self.model = model

    def atomic_energies(self, batch: Batch) -> Tensor:
        """Return the model's energy of each atom, ``[N]`` eV."""
        return local_energies(self.model, atomic_graph(batch, self.cutoff)).reshape(-1)


class OneHot(nn.Module):
    """graph-pes' encoding of elements, in the precision of the network and without a look at the values.

    Args:
        symbols: the elements, in the order of the columns.
    """

    table: Tensor

    def __init__(self, symbols: list[str]) -> None:
        super().__init__()
        table = torch.zeros(MAX_Z + 1, len(symbols))
        for column, symbol in enumerate(symbols):
            table[atomic_numbers[symbol], column] = 1
        self.register_buffer("table", table, persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return ``(N, elements)``."""
        return self.table.index_select(0, numbers)


class EndingAtCutoff(nn.Module):
    """A function of a distance, taken smoothly to zero at the cutoff."""

    def __init__(self, function: nn.Module, cutoff: float) -> None:
        super().__init__()
        self.function = function
        self.envelope = PolynomialEnvelope(cutoff)

    def forward(self, distances: Tensor) -> Tensor:
        """Return ``(E, features)`` from ``(E,)`` Å."""
        values: Tensor = self.function(distances) * self.envelope(distances).unsqueeze(-1)
        return values


def with_own_one_hot(model: GraphPESModel) -> GraphPESModel:
    """Return the model with graph-pes' one-hot encodings, which are single precision always, replaced in place."""
    for part in list(model.modules()):
        for name, child in part.named_children():
            if isinstance(child, AtomicOneHot):
                setattr(part, name, OneHot(child.elements))
    return model


def elements_of(settings: OfElements) -> list[str]:
    """Return the elements to build a network for; raises :class:`UserError` where none are given."""
    if not settings.elements:
        raise UserError("the network is made for certain elements, and none are given", remedy="Give elements: [...]")
    return list(settings.elements)


def local_energies(model: GraphPESModel, graph: AtomicGraph) -> Tensor:
    """Return the energy of each atom; a sum of models is taken apart, as each has a cutoff of its own."""
    if isinstance(model, AdditionModel):
        parts = [local_energies(part, within(graph, float(part.cutoff))).reshape(-1) for part in model.models.values()]
        return torch.stack(parts).sum(0)
    if isinstance(model, InterfaceModel):
        found = model.raw_forward_pass(model.convert_to_underlying_input(graph), True, ["local_energies"])
    else:
        found = model(graph)
    energies: Tensor = found["local_energies"]
    return energies


def within(graph: AtomicGraph, cutoff: float) -> AtomicGraph:
    """Return the graph with no edges longer than ``cutoff`` Å."""
    return trim_edges(graph, cutoff) if cutoff < graph.cutoff else graph


def atomic_graph(batch: Batch, cutoff: float) -> AtomicGraph:
    """Return the batch as graph-pes' graph, differentiable in the same positions and cells."""
    counts = batch.atoms_per_structure()
    return AtomicGraph(
        Z=batch.numbers,
        R=batch.positions.to(batch.dtype),
        cell=batch.cells.to(batch.dtype),
        neighbour_list=torch.stack([batch.centres, batch.neighbours]),
        neighbour_cell_offsets=torch.cat([batch.shifts, -batch.shifts]).to(batch.dtype),
        properties={},
        cutoff=cutoff,
        other={},
        batch=batch.structure,
        ptr=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
    )

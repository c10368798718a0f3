"""Orb's network: a graph network that reads directions as they are, without rotation symmetry built in.

Versions 2 (Neumann et al., arXiv:2410.22570) and 3 (Rhodes et al., arXiv:2504.06231) differ in the basis of edges, the
activation and the norm. Perceptrons of concatenated features are written as sums of linear maps, so that each atom is
mapped once and not once for each of its edges. What only the published training read (the decoder of displacements, the
confidence) is left out. Results agree with the package to rounding.

The energy is a function of the *mean* of the atoms' features, times their number. It grows with the size of a crystal,
but is not a sum over atoms: parts that are far from each other still influence each other's energy. Directions enter as
they are, so that a rotated structure has the same energy only as far as training taught it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from ase.data import covalent_radii
from torch import Tensor, nn

from distill.potentials.interface.batch import Batch
from distill.potentials.interface.potential import MAX_Z, Potential
from distill.potentials.networks.harmonics import COMPONENTS, spherical_harmonics
from distill.potentials.networks.silu import silu

CUTOFF = 6.0
ELEMENTS = 118
BESSEL = 8
GAUSSIANS = 20
GAUSSIAN_RANGE = 10.0


def shifted_softplus(x: Tensor) -> Tensor:
    """Return log(1 + eˣ) − log 2."""
    return nn.functional.softplus(x) - math.log(2)


class MultiInputPerceptron(nn.Module):
    """Linear maps with an activation between, of several inputs that come together, and a norm at the end if wanted.

    Args:
        inputs: widths of the inputs, which the published networks concatenate.
        widths: of the hidden layers and the output.
        activation: between the layers.
        norm: its class, or None.
    """

    def __init__(
        self,
        inputs: list[int],
        widths: list[int],
        activation: Callable[[Tensor], Tensor],
        norm: type[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.inputs = nn.ModuleList(nn.Linear(width, widths[0], bias=k == 0) for k, width in enumerate(inputs))
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.norm = nn.Identity() if norm is None else norm(widths[-1])
        self.activation = activation

    def forward(self, *features: Tensor) -> Tensor:
        """Return ``(…, widths[-1])`` from one feature for each input."""
        return self.finish(sum((first(x) for first, x in zip(self.inputs, features, strict=True)), torch.zeros(())))

    def finish(self, mapped: Tensor) -> Tensor:
        """Return the output from the sum of the mapped inputs, ``(…, widths[0])``."""
        for layer in self.layers:
            mapped = layer(self.activation(mapped))
        result: Tensor = self.norm(mapped)
        return result


class Edges:
    """The directed edges that the network keeps: from an atom to its nearest neighbours.

    Attributes:
        senders: the atom whose neighbour it is, ``(E,)``.
        receivers: that neighbour, ``(E,)``.
        vectors: from sender to receiver, ``(E, 3)`` Å.
        lengths: ``(E,)`` Å.
    """

    def __init__(self, batch: Batch) -> None:
        chosen = batch.extra["kept_edges"]
        pair, backward = chosen.div(2, rounding_mode="floor"), chosen % 2
        i, j = batch.edges.index_select(1, pair)
        self.senders, self.receivers = torch.where(backward > 0, j, i), torch.where(backward > 0, i, j)
        vectors = batch.vectors().index_select(0, pair)
        self.vectors = vectors * (1 - 2 * backward).to(vectors.dtype).unsqueeze(-1)
        self.lengths = self.vectors.norm(dim=-1)


def envelope(x: Tensor, p: int) -> Tensor:
    """Return the polynomial of order ``p`` that falls from 1 at 0 to 0 at 1, with two derivatives; 0 beyond."""
    inner = 1 - x**p * ((p + 1) * (p + 2) / 2 - p * (p + 2) * x + p * (p + 1) / 2 * x**2)
    return torch.where(x < 1, inner, 0.0)


class Interaction(nn.Module):
    """Edges learn from their two atoms, atoms from the edges that leave and reach them."""

    def __init__(self, width: int, hidden: int, activation: Callable[[Tensor], Tensor], norm: type[nn.Module]) -> None:
        super().__init__()
        widths = [hidden, hidden, width]
        self.edges = MultiInputPerceptron(3 * [width], widths, activation, norm)
        self.atoms = MultiInputPerceptron(3 * [width], widths, activation, norm)
        self.receive = nn.Linear(width, 1)
        self.send = nn.Linear(width, 1)

    def forward(self, atoms: Tensor, edges: Tensor, graph: Edges, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return atoms ``(N, D)`` and edges ``(E, D)``; ``weights`` ``(E, 1)`` vanish at the cutoff."""
        of_edge, of_sender, of_receiver = self.edges.inputs
        mapped = of_edge(edges) + of_sender(atoms).index_select(0, graph.senders)
        change = self.edges.finish(mapped + of_receiver(atoms).index_select(0, graph.receivers))
        sent = change * (torch.sigmoid(self.send(edges)) * weights)
        received = change * (torch.sigmoid(self.receive(edges)) * weights)
        nothing = torch.zeros_like(atoms)
        update = self.atoms(
            atoms, nothing.index_add(0, graph.receivers, received), nothing.index_add(0, graph.senders, sent)
        )
        return atoms + update, edges + change


class OrbNetwork(nn.Module):
    """Features of atoms from edges within 6 Å.

    Args:
        version: 2 or 3.
        width: of the features.
        hidden: of the perceptrons.
        layers: interactions.
    """

    bessel: Tensor
    gaussians: Tensor

    def __init__(self, version: int, width: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.version = version
        self.width = width
        self.activation = activation = silu if version == 3 else shifted_softplus
        norm: type[nn.Module] = nn.RMSNorm if version == 3 else nn.LayerNorm
        widths = [hidden, hidden, width]
        self.elements = nn.Embedding(ELEMENTS + 1, width)
        basis = BESSEL * COMPONENTS if version == 3 else GAUSSIANS + 3
        self.encode_atoms = MultiInputPerceptron([width], widths, activation, norm)
        self.encode_edges = MultiInputPerceptron([basis], widths, activation, norm)
        self.interactions = nn.ModuleList(Interaction(width, hidden, activation, norm) for _ in range(layers))
        self.register_buffer("bessel", math.pi / CUTOFF * torch.arange(1, BESSEL + 1), persistent=False)
        self.register_buffer("gaussians", GAUSSIAN_RANGE / GAUSSIANS * torch.arange(GAUSSIANS), persistent=False)

    def forward(self, numbers: Tensor, graph: Edges) -> Tensor:
        """Return the features of the atoms, ``(N, D)``."""
        weights = envelope(graph.lengths / CUTOFF, 4).unsqueeze(-1)
        atoms = self.encode_atoms(self.elements(numbers))
        edges = self.encode_edges(self.basis(graph, weights))
        for interaction in self.interactions:
            atoms, edges = interaction(atoms, edges, graph, weights)
        return atoms

    def basis(self, graph: Edges, weights: Tensor) -> Tensor:
        """Return what the network sees of the edges: lengths and directions, multiplied (3) or side by side (2)."""
        lengths = graph.lengths.unsqueeze(-1)
        directions = graph.vectors / lengths
        if self.version == 2:
            return torch.cat([torch.exp(-((lengths - self.gaussians) ** 2)), directions], dim=-1)
        radial = math.sqrt(2 / CUTOFF) * torch.sin(lengths * self.bessel) / lengths  # (E, 8)
        products = radial.unsqueeze(-1) * spherical_harmonics(directions).unsqueeze(-2)  # (E, 8, 16)
        return weights * products.flatten(1)


class PairRepulsion(nn.Module):
    """Orb's repulsion of nuclei: that of Ziegler, Biersack and Littmark below the sum of the covalent radii.

    The published models were trained with the atomic numbers one too high here, which is therefore kept.
    """

    radii: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("radii", torch.tensor(covalent_radii, dtype=torch.float32), persistent=False)

    def forward(self, numbers: Tensor, graph: Edges) -> Tensor:
        """Return the energy of each atom, ``(N,)`` eV, the half of each of its edges."""
        numbers = (numbers + 1).clamp(max=ELEMENTS)
        reach = self.radii[numbers[graph.senders]] + self.radii[numbers[graph.receivers]]
        close = (graph.lengths.detach() < reach).nonzero().squeeze(-1)
        senders = graph.senders.index_select(0, close)
        first, second = numbers[senders], numbers[graph.receivers.index_select(0, close)]
        r, reach = graph.lengths.index_select(0, close), reach.index_select(0, close)
        x = r * (first**0.3 + second**0.3) / (0.4543 * 0.529)
        amplitudes, exponents = (0.1818, 0.5099, 0.2802, 0.02817), (3.2, 0.9423, 0.4028, 0.2016)
        screening = sum((a * torch.exp(-b * x) for a, b in zip(amplitudes, exponents, strict=True)), torch.zeros(()))
        energies = 14.3996 * first * second / r * screening * envelope(r / reach, 6) / 2
        return graph.lengths.new_zeros(len(numbers)).index_add(0, senders, energies)


def nearest(centres: Tensor, distances: Tensor, most: int) -> Tensor:
    """Return which entries are among the ``most`` nearest of their centre, ``(K,)``, sorted by centre and distance."""
    order = distances.argsort(stable=True)
    order = order.index_select(0, centres.index_select(0, order).argsort(stable=True))
    sorted_centres = centres.index_select(0, order)
    counts = sorted_centres.bincount()
    rank = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts).index_select(0, sorted_centres)
    return order[rank < most]


def total(per_atom: Tensor, batch: Batch) -> Tensor:
    """Return the sum over the atoms of each structure, ``(B, …)``."""
    return per_atom.new_zeros(batch.n_structures, *per_atom.shape[1:]).index_add(0, batch.structure, per_atom)


def mean(per_atom: Tensor, batch: Batch) -> Tensor:
    """Return the mean over the atoms of each structure, ``(B, D)``."""
    return total(per_atom, batch) / batch.atoms_per_structure().to(per_atom.dtype).unsqueeze(-1)


BYTES_PER_EDGE = 150_000
"""Memory of one directed edge in an evaluation with derivatives, roughly."""

USUAL_NEIGHBOURS = 60
"""Atoms within 6 Å in dense matter."""


class Head(nn.Module):
    """A perceptron on features, whose outputs are scaled and shifted by what was measured in the published training.

    Args:
        network: gives the features.
        hidden: width of the hidden layer.
        outputs: how many.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, network: OrbNetwork, hidden: int, outputs: int) -> None:
        super().__init__()
        self.perceptron = MultiInputPerceptron([network.width], [hidden, outputs], network.activation)
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("scale", torch.ones(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Return outputs before scaling, ``(…, outputs)``."""
        result: Tensor = self.perceptron(features)
        return result

    def scaled(self, outputs: Tensor) -> Tensor:
        """Return the outputs in their unit."""
        return outputs * self.scale + self.mean


class OrbPotential(Potential):
    """Orb with conservative forces; energies of free atoms are part of the network, ``reference_energies`` begin at 0.

    Args:
        network: gives the features of the atoms.
        head: hidden width of the heads.
        neighbours: how many of an atom's nearest neighbours within 6 Å are seen.
        elements: atomic numbers that it knows.
    """

    reference: Tensor
    violated_symmetries: tuple[str, ...] = ("rotation", "separation")

    def __init__(self, network: OrbNetwork, head: int, *, neighbours: int, elements: tuple[int, ...]) -> None:
        super().__init__(CUTOFF, elements=elements, learn_reference_energies=False)
        self.neighbours = neighbours
        if neighbours < USUAL_NEIGHBOURS:  # which of several neighbours at one distance are seen is chance
            self.violated_symmetries = (*self.violated_symmetries, "smoothness")
        self.memory_per_atom = BYTES_PER_EDGE * min(neighbours, USUAL_NEIGHBOURS)
        self.network = network
        self.energy_head = Head(network, head, 1)
        self.repulsion = PairRepulsion() if network.version == 3 else None
        self.register_buffer("reference", torch.zeros(MAX_Z + 1, dtype=torch.float64))

    @property
    def predicts_atomic_energies(self) -> bool:
        """No: the network gives the mean over the atoms, and every atom is given an equal share."""
        return False

    def add_features(self, batch: Batch) -> Batch:
        """Add which directed edges are kept, ``kept_edges``: twice the pair, plus one where it is taken backward."""
        centres = batch.edges.t().reshape(-1)
        edges = torch.arange(len(centres), device=centres.device)
        if len(centres) and int(centres.bincount().max()) > self.neighbours:
            edges = nearest(centres, batch.vectors().norm(dim=-1).repeat_interleave(2), self.neighbours)
        batch.extra = {"kept_edges": edges}
        return batch

    def extra_increments(self, batch: Batch) -> Mapping[str, int]:
        """Return the number of directed edges."""
        return {"kept_edges": 2 * batch.edges.shape[1]}

    def atomic_energies(self, batch: Batch) -> Tensor:
        """Return the energy of each structure shared equally by its atoms, ``[N]`` float64 eV."""
        graph = Edges(batch)
        energy = self.mean_energy(self.network(batch.numbers, graph), batch)
        if self.repulsion is not None:  # the published models were trained with its mean over the atoms as the energy
            energy = (
                energy + total(self.repulsion(batch.numbers, graph).double(), batch) / batch.atoms_per_structure() ** 2
            )
        return energy.index_select(0, batch.structure) + self.reference.index_select(0, batch.numbers)

    def mean_energy(self, features: Tensor, batch: Batch) -> Tensor:
        """Return the network's energy per atom, ``[B]`` float64 eV."""
        return self.energy_head.scaled(self.energy_head(mean(features, batch)).double()).squeeze(-1)

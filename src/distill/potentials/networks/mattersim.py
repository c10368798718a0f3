"""MatterSim's network, M3GNet (Chen and Ong, Nat. Comput. Sci. 2, 718, 2022; Yang et al., arXiv:2405.04967).

Its three-body terms sum over all pairs of an atom's bonds a product of radial functions and Legendre polynomials of the
angle between them. By the addition theorem of spherical harmonics that sum is a product of two sums over bonds, so
that no list of angles is made, and it is the same in every block, so that it is computed once. Perceptrons of
concatenated features are sums of linear maps. Results agree with the package to rounding.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from distill.potentials.interface.batch import Batch
from distill.potentials.interface.potential import Potential
from distill.potentials.networks.harmonics import DEGREES, spherical_harmonics
from distill.potentials.networks.silu import silu

RADIAL = 4
ELEMENTS = 94
BASIS = len(DEGREES) * RADIAL

ZEROS = (
    (3.141592653589793, 6.283185307179586, 9.42477796076938, 12.566370614359172),
    (4.493409457909064, 7.725251836937707, 10.904121659428899, 14.066193912831473),
    (5.763459196894550, 9.095011330476355, 12.322940970566582, 15.514603010886749),
    (6.987932000500520, 10.417118547379365, 13.698023153249249, 16.923621285213840),
)
"""The first four zeros of the spherical Bessel functions of order 0 to 3."""


def spherical_bessel(x: Tensor, orders: int) -> list[Tensor]:
    """Return j_0, j_1, … of positive numbers, by the recurrence in the order."""
    found = [torch.sin(x) / x, (torch.sin(x) / x - torch.cos(x)) / x]
    for order in range(1, orders - 1):
        found.append((2 * order + 1) / x * found[order] - found[order - 1])
    return found


class OrthogonalBesselBasis(nn.Module):
    """Bessel functions that vanish smoothly at the cutoff (Kocer et al., J. Chem. Phys. 150, 154102, 2019)."""

    mixing: Tensor

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        n = torch.arange(RADIAL, dtype=torch.float64)
        e = n**2 * (n + 2) ** 2 / (4 * (n + 1) ** 4 + 1)
        f = (
            (-1) ** n
            * math.sqrt(2)
            * math.pi
            / cutoff**1.5
            * (n + 1)
            * (n + 2)
            / torch.sqrt((n + 1) ** 2 + (n + 2) ** 2)
        )
        d, rows = torch.ones(()), [torch.eye(RADIAL, dtype=torch.float64)[0] * f[0]]
        for k in range(1, RADIAL):  # g_n = (f_n + √(e_n / d_{n-1}) g_{n-1}) / √d_n
            before, d = d, 1 - e[k] / d
            own = torch.eye(RADIAL, dtype=torch.float64)[k] * f[k]
            rows.append((own + torch.sqrt(e[k] / before) * rows[-1]) / torch.sqrt(d))
        self.register_buffer("mixing", torch.stack(rows, dim=1).float(), persistent=False)

    def forward(self, distances: Tensor) -> Tensor:
        """Return the functions at distances ``(P,)`` Å, ``(P, 4)``."""
        n = torch.arange(1, RADIAL + 2, device=distances.device)
        x = distances.unsqueeze(-1) * (n * (math.pi / self.cutoff))
        waves = torch.sin(x) / x  # (P, 5)
        return (waves[:, :-1] + waves[:, 1:]) @ self.mixing


class ThreeBody(nn.Module):
    """For each directed bond, the sum over the other bonds of its atom of radial functions times Legendre polynomials.

    Args:
        range_: of the radial functions, Å.
        cutoff: beyond which bonds are left out, Å.
    """

    zeros: Tensor
    norms: Tensor

    def __init__(self, range_: float, cutoff: float) -> None:
        super().__init__()
        self.range, self.cutoff = range_, cutoff
        zeros = torch.tensor(ZEROS, dtype=torch.float64)
        bessel = spherical_bessel(zeros, len(DEGREES) + 1)
        norms = torch.stack([bessel[degree + 1][degree] for degree in DEGREES]).abs()
        self.register_buffer("zeros", (zeros / range_).float(), persistent=False)
        self.register_buffer("norms", (math.sqrt(2 / range_**3) / norms).float(), persistent=False)

    def radial(self, distances: Tensor) -> Tensor:
        """Return √(2/c³) j_l(z_ln r/c) / |j_{l+1}(z_ln)| times the envelope of the cutoff, ``(S, 4, 4)``."""
        x = distances.view(-1, 1, 1) * self.zeros  # (S, l, n)
        bessel = torch.stack([spherical_bessel(x[:, degree], 4)[degree] for degree in DEGREES], dim=1)
        return bessel * self.norms * self.envelope(distances).view(-1, 1, 1)

    def envelope(self, distances: Tensor) -> Tensor:
        """Return 1 − 6x⁵ + 15x⁴ − 10x³, ``(S,)``."""
        x = distances / self.cutoff
        return (1 - x**3 * (10 - 15 * x + 6 * x**2)).clamp(min=0)

    def forward(self, vectors: Tensor, distances: Tensor, centres: Tensor, n_atoms: int) -> Tensor:
        """Return the sums of directed bonds, ``(2S, 16)``: forward, then backward.

        Args:
            vectors: of the bonds, ``(S, 3)`` Å.
            distances: ``(S,)`` Å.
            centres: the atom of each directed bond, ``(2S,)``.
            n_atoms: number of atoms.
        """
        directions = vectors / distances.unsqueeze(-1)
        harmonics = spherical_harmonics(torch.cat([directions, -directions]))  # (2S, 16)
        radial = self.radial(distances)  # (S, l, n)
        envelope = self.envelope(distances).repeat(2)
        sums = []
        for degree in DEGREES:
            of_degree = harmonics[:, degree**2 : (degree + 1) ** 2].unsqueeze(-1)  # (2S, m, 1)
            weight = radial[:, degree].repeat(2, 1)  # (2S, n)
            density = weight.new_zeros(n_atoms, 2 * degree + 1, RADIAL)
            density = density.index_add(0, centres, of_degree * weight.unsqueeze(1))
            products = (density.index_select(0, centres) * of_degree).sum(1)  # over m
            itself = (2 * degree + 1) * weight  # a bond makes no angle with itself
            sums.append((products - itself) / math.sqrt(4 * math.pi * (2 * degree + 1)))
        return torch.cat(sums, dim=-1) * envelope.unsqueeze(-1)


class Gate(nn.Module):
    """A gated perceptron of several inputs: core times sigmoid(gate), each with hidden layers.

    Args:
        inputs: widths of the inputs, which come together.
        widths: of the layers.
        active: whether the core's last layer has an activation.
    """

    def __init__(self, inputs: list[int], widths: list[int], active: bool = True) -> None:
        super().__init__()
        self.inputs = nn.ModuleList(nn.Linear(width, 2 * widths[0], bias=k == 0) for k, width in enumerate(inputs))
        self.core = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.gate = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.active = active

    def forward(self, mapped: Tensor) -> Tensor:
        """Return the output from the sum of the mapped inputs, ``(…, 2 · widths[0])``: core first, then gate."""
        core, gate = mapped.chunk(2, dim=-1)
        for of_core, of_gate in zip(self.core, self.gate, strict=True):
            core, gate = of_core(silu(core)), of_gate(silu(gate))
        return (silu(core) if self.active else core) * torch.sigmoid(gate)


class Block(nn.Module):
    """Edges learn from angles and from their atoms, then atoms from their edges.

    Args:
        width: of the features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.atom_gate = nn.Linear(width, BASIS)
        self.three_body = nn.Linear(BASIS, 2 * width, bias=False)
        self.edges = Gate(3 * [width], [width, width])
        self.edge_weights = nn.Linear(RADIAL, width, bias=False)
        self.atoms = Gate(3 * [width], [width, width])
        self.atom_weights = nn.Linear(RADIAL, width, bias=False)

    def forward(
        self, atoms: Tensor, edges: Tensor, radial: Tensor, angles: Tensor, graph: Bonds
    ) -> tuple[Tensor, Tensor]:
        """Return atoms ``(N, D)`` and directed edges ``(2P, D)``; ``angles`` are those of the bonds, ``(2S, 16)``."""
        gated = angles * torch.sigmoid(self.atom_gate(atoms)).index_select(0, graph.bond_centres)
        core, gate = self.three_body(gated).chunk(2, dim=-1)
        edges = edges.index_add(0, graph.bonds, silu(core) * torch.sigmoid(gate))
        edges = edges + self.edges(self.join(self.edges, atoms, edges, graph)) * self.edge_weights(radial).repeat(2, 1)
        weights = silu(self.atom_weights(radial)).repeat(2, 1)
        messages = self.atoms(self.join(self.atoms, atoms, edges, graph)) * weights
        return atoms.index_add(0, graph.centres, messages), edges

    @staticmethod
    def join(gate: Gate, atoms: Tensor, edges: Tensor, graph: Bonds) -> Tensor:
        """Return the sum of the mapped inputs of each directed edge."""
        of_centre, of_neighbour, of_edge = gate.inputs
        mapped = of_centre(atoms).index_select(0, graph.centres) + of_edge(edges)
        return mapped + of_neighbour(atoms).index_select(0, graph.neighbours)


class Bonds:
    """Directed edges, pairs forward and then backward, and which of them are short enough for angles.

    Attributes:
        centres, neighbours: the two atoms of each directed edge, ``(2P,)``.
        short: which pairs are bonds, ``(S,)``.
        bonds: which directed edges are bonds, ``(2S,)``.
        bond_centres: their centres, ``(2S,)``.
    """

    def __init__(self, batch: Batch, distances: Tensor, cutoff: float) -> None:
        self.centres, self.neighbours = batch.centres, batch.neighbours
        self.short = (distances.detach() < cutoff).nonzero().squeeze(-1)
        self.bonds = torch.cat([self.short, self.short + len(distances)])
        self.bond_centres = self.centres.index_select(0, self.bonds)


class M3GNet(nn.Module):
    """The energies of atoms from pairs within ``cutoff`` and angles between bonds shorter than ``angle_cutoff``.

    Args:
        width: of the features of atoms and edges.
        blocks: rounds of message passing.
        cutoff: of pairs, Å.
        angle_cutoff: of bonds that make angles, Å.
    """

    scale: Tensor
    reference: Tensor

    def __init__(self, width: int, blocks: int, cutoff: float, angle_cutoff: float) -> None:
        super().__init__()
        self.angle_cutoff = angle_cutoff
        self.radial = OrthogonalBesselBasis(cutoff)
        self.angles = ThreeBody(cutoff, angle_cutoff)
        self.elements = nn.Embedding(ELEMENTS + 1, width)
        self.edge_embedding = nn.Linear(RADIAL, width, bias=False)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.read_out = Gate([width], [width, width, 1], active=False)
        self.register_buffer("scale", torch.ones(ELEMENTS + 1))
        self.register_buffer("reference", torch.zeros(ELEMENTS + 1, dtype=torch.float64))

    def forward(self, batch: Batch) -> Tensor:
        """Return the energy of each atom, ``[N]`` float64 eV."""
        vectors = batch.vectors()
        distances = vectors.norm(dim=-1)  # (P,)
        graph = Bonds(batch, distances, self.angle_cutoff)
        bonds = vectors.index_select(0, graph.short), distances.index_select(0, graph.short)
        angles = self.angles(*bonds, graph.bond_centres, len(batch.numbers))  # (2S, 16)
        radial = self.radial(distances)  # (P, 4)
        edges = silu(self.edge_embedding(radial)).repeat(2, 1)
        atoms = self.elements(batch.numbers)
        for block in self.blocks:
            atoms, edges = block(atoms, edges, radial, angles, graph)
        energies = self.read_out(self.read_out.inputs[0](atoms)).squeeze(-1)
        scaled = energies * self.scale.index_select(0, batch.numbers)
        return scaled.double() + self.reference.index_select(0, batch.numbers)


class MatterSimPotential(Potential):
    """MatterSim; energies of free atoms are part of the network, ``reference_energies`` begin at 0."""

    def __init__(self, network: M3GNet, cutoff: float, elements: tuple[int, ...]) -> None:
        super().__init__(cutoff, elements=elements, learn_reference_energies=False)
        self.network = network

    def atomic_energies(self, batch: Batch) -> Tensor:
        """Return MatterSim's energy of each atom, ``[N]`` eV."""
        energies: Tensor = self.network(batch)
        return energies

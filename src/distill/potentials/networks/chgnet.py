"""CHGNet's network, written for batches of pairs and with as little work as its weights allow.

The published network (Deng et al., Nat. Mach. Intell. 5, 1031, 2023) concatenates the features of atoms, bonds and
angles on every edge and maps them linearly. A linear map of a concatenation is a sum of linear maps, so that here each
atom, pair and angle is mapped once and the sums are formed on the edges. Bonds shorter than 3 Å have their own, short
list, and what no later layer reads (magnetic moments, the last angle update) is not computed. Results agree to
rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from distill.potentials.interface.batch import Batch
from distill.potentials.interface.potential import Potential
from distill.potentials.networks.bond_angles import bond_pairs
from distill.potentials.networks.silu import silu

WIDTH = 64
RADIAL = 31
ANGULAR = 15
LAYERS = 4
ELEMENTS = 94
CUTOFF = 6.0
BOND_CUTOFF = 3.0
ENVELOPE_POWER = 8


class LearnableBesselBasis(nn.Module):
    """Bessel functions with learnable frequencies times a smooth envelope: ``(M,)`` Å to ``(M, 31)``."""

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.frequencies = nn.Parameter(math.pi * torch.arange(1, RADIAL + 1))

    def forward(self, distances: Tensor) -> Tensor:
        """Return the envelope times √(2/r_c) sin(f r/r_c) / r."""
        x, p = distances / self.cutoff, ENVELOPE_POWER
        inner = x**p * (-(p + 1) * (p + 2) / 2 + p * (p + 2) * x - p * (p + 1) / 2 * x**2)
        envelope = torch.where(x < 1, 1 + inner, 0.0) * math.sqrt(2 / self.cutoff) / distances
        return envelope.unsqueeze(-1) * torch.sin(x.unsqueeze(-1) * self.frequencies)


class AngularBasis(nn.Module):
    """A Fourier series with learnable frequencies: ``(A,)`` radians to ``(A, 31)``."""

    def __init__(self) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.arange(1, ANGULAR + 1, dtype=torch.float32))

    def forward(self, angles: Tensor) -> Tensor:
        """Return 1/√2, sines and cosines, divided by √π."""
        arguments = angles.unsqueeze(-1) * self.frequencies
        constant = torch.full_like(angles, math.sqrt(0.5)).unsqueeze(-1)
        return torch.cat([constant, torch.sin(arguments), torch.cos(arguments)], dim=-1) / math.sqrt(math.pi)


class Gate(nn.Module):
    """A gated perceptron of several inputs: silu(norm(core)) · sigmoid(norm(gate)).

    Args:
        inputs: how many features come together, each ``(…, 64)``.
        hidden: whether core and gate have a hidden layer.
    """

    def __init__(self, inputs: int, hidden: bool) -> None:
        super().__init__()
        self.inputs = nn.ModuleList(nn.Linear(WIDTH, 2 * WIDTH, bias=k == 0) for k in range(inputs))
        self.core = nn.Linear(WIDTH, WIDTH) if hidden else None
        self.gate = nn.Linear(WIDTH, WIDTH) if hidden else None
        self.core_norm = nn.LayerNorm(WIDTH)
        self.gate_norm = nn.LayerNorm(WIDTH)

    def forward(self, mapped: Tensor) -> Tensor:
        """Return ``(…, 64)`` from the sum of the mapped inputs, ``(…, 128)``: core first, then gate."""
        if self.core is None or self.gate is None:
            core, gate = mapped.chunk(2, dim=-1)
        else:
            core, gate = silu(mapped).chunk(2, dim=-1)
            core, gate = self.core(core), self.gate(gate)
        return silu(self.core_norm(core)) * torch.sigmoid(self.gate_norm(gate))


class AtomConvolution(nn.Module):
    """Atoms learn from all neighbours within 6 Å."""

    def __init__(self) -> None:
        super().__init__()
        self.message = Gate(3, hidden=True)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, atoms: Tensor, bonds: Tensor, weights: Tensor, centres: Tensor, neighbours: Tensor) -> Tensor:
        """Return atoms ``(N, 64)`` from atoms, bonds and weights ``(P, 64)`` and directed edges ``(2P,)``."""
        of_centre, of_bond, of_neighbour = self.message.inputs
        mapped = of_centre(atoms).index_select(0, centres) + of_neighbour(atoms).index_select(0, neighbours)
        mapped = mapped.view(2, -1, 2 * WIDTH) + of_bond(bonds)  # (2, P, 128): a bond is the same both ways
        messages = (self.message(mapped) * weights).view(-1, WIDTH)
        return atoms + self.out(torch.zeros_like(atoms).index_add(0, centres, messages))


class Angles:
    """Which short bonds ``first`` and ``second`` and which atom ``centre`` make each angle, ``(A,)``."""

    def __init__(self, bonds: Tensor, centre: Tensor) -> None:
        self.first, self.second = bonds[:, 0], bonds[:, 1]
        self.centre = centre


class BondConvolution(nn.Module):
    """Short bonds learn from the angles that they are part of."""

    def __init__(self) -> None:
        super().__init__()
        self.message = Gate(4, hidden=True)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, atoms: Tensor, bonds: Tensor, angles: Tensor, weights: Tensor, where: Angles) -> Tensor:
        """Return the change of the short bonds ``(S, 64)``; ``bonds`` and ``weights`` are theirs."""
        weight = weights.index_select(0, where.first) * weights.index_select(0, where.second)
        messages = self.message(join(self.message, atoms, bonds, angles, where)) * weight
        return self.out(torch.zeros_like(bonds).index_add(0, where.first, messages))


class AngleUpdate(nn.Module):
    """Angles learn from their two bonds and their atom."""

    def __init__(self) -> None:
        super().__init__()
        self.message = Gate(4, hidden=False)

    def forward(self, atoms: Tensor, bonds: Tensor, angles: Tensor, where: Angles) -> Tensor:
        """Return the change of the angles, ``(A, 64)``; ``bonds`` are the short ones."""
        change: Tensor = self.message(join(self.message, atoms, bonds, angles, where))
        return change


def join(gate: Gate, atoms: Tensor, bonds: Tensor, angles: Tensor, where: Angles) -> Tensor:
    """Return the sum of the mapped inputs of each angle, ``(A, 128)``."""
    of_first, of_second, of_angle, of_centre = gate.inputs
    first = of_first(bonds).index_select(0, where.first)
    second = of_second(bonds).index_select(0, where.second)
    return first + second + of_angle(angles) + of_centre(atoms).index_select(0, where.centre)


class CHGNetNetwork(nn.Module):
    """The energies of atoms from pairs within 6 Å and angles between bonds shorter than 3 Å."""

    reference: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.elements = nn.Embedding(ELEMENTS, WIDTH)
        self.pair_basis = LearnableBesselBasis(CUTOFF)
        self.bond_basis = LearnableBesselBasis(BOND_CUTOFF)
        self.angle_basis = AngularBasis()
        self.bond_embedding = nn.Linear(RADIAL, WIDTH, bias=False)
        self.angle_embedding = nn.Linear(2 * ANGULAR + 1, WIDTH, bias=False)
        self.pair_weights = nn.Linear(RADIAL, WIDTH, bias=False)
        self.bond_weights = nn.Linear(RADIAL, WIDTH, bias=False)
        self.atom_layers = nn.ModuleList(AtomConvolution() for _ in range(LAYERS))
        self.bond_layers = nn.ModuleList(BondConvolution() for _ in range(LAYERS - 1))
        self.angle_layers = nn.ModuleList(AngleUpdate() for _ in range(LAYERS - 2))
        self.read_out = nn.Sequential(
            nn.LayerNorm(WIDTH),
            *[layer for _ in range(3) for layer in (nn.Linear(WIDTH, WIDTH), nn.SiLU())],
            nn.Linear(WIDTH, 1),
        )
        self.register_buffer("reference", torch.zeros(ELEMENTS, dtype=torch.float64))

    def forward(self, batch: Batch) -> Tensor:
        """Return the energy of each atom, ``[N]`` float64 eV; ``batch.extra`` is from :func:`find_angles`."""
        vectors = batch.vectors()
        distances = vectors.norm(dim=-1)  # (P,)
        short, sign = batch.extra["short"], batch.extra["angle_sign"]
        where = Angles(batch.extra["angle_bonds"], batch.extra["angle_centre"])
        edges = batch.centres, batch.neighbours

        basis = self.pair_basis(distances)  # (P, 31)
        bonds, pair_weights = self.bond_embedding(basis), self.pair_weights(basis)  # (P, 64)
        lengths = distances.index_select(0, short)  # (S,)
        bond_weights = self.bond_weights(self.bond_basis(lengths))  # (S, 64)
        directions = vectors.index_select(0, short) / lengths.unsqueeze(-1)  # (S, 3)
        cosines = (directions.index_select(0, where.first) * directions.index_select(0, where.second)).sum(-1) * sign
        angles = self.angle_embedding(self.angle_basis(torch.acos(cosines * (1 - 1e-6))))  # (A, 64)

        atoms = self.elements(batch.numbers - 1)  # (N, 64)
        for layer in range(LAYERS - 1):
            atoms = self.atom_layers[layer](atoms, bonds, pair_weights, *edges)
            if len(sign):
                near = bonds.index_select(0, short)
                change = self.bond_layers[layer](atoms, near, angles, bond_weights, where)
                bonds = bonds.index_add(0, short, change)
                if layer < len(self.angle_layers):
                    angles = angles + self.angle_layers[layer](atoms, near + change, angles, where)
        atoms = self.atom_layers[-1](atoms, bonds, pair_weights, *edges)
        return self.read_out(atoms).squeeze(-1).double() + self.reference.index_select(0, batch.numbers - 1)


def find_angles(pairs: Tensor, distances: Tensor, n_atoms: int) -> dict[str, Tensor]:
    """Return the bonds shorter than 3 Å and their angles: every ordered pair of different directed bonds of an atom.

    Args:
        pairs: atoms i and j, ``[2, p]``.
        distances: ``[p]`` Å.
        n_atoms: number of atoms.

    Returns:
        ``short`` ``[s]``: which pairs are bonds; ``angle_bonds`` ``[a, 2]``: indices into ``short``; ``angle_centre``
        ``[a]``: the shared atom; ``angle_sign`` ``[a]``: −1 where one of the two bonds points towards the shared atom.
    """
    short = (distances < BOND_CUTOFF).nonzero().squeeze(-1)
    found = bond_pairs(pairs.index_select(1, short), n_atoms)
    return {
        "short": short,
        "angle_bonds": torch.stack([found.first, found.second], dim=1),
        "angle_centre": found.centre,
        "angle_sign": (found.first_sign * found.second_sign).to(distances.dtype),
    }


class CHGNetPotential(Potential):
    """CHGNet; energies of free atoms are part of the network, ``reference_energies`` begin at 0.

    Its energy is not smooth over a hundredth of an ångström: the gates' hidden units receive numbers of the order of
    100 while silu bends within 1, so that each is nearly a kink, and angles enter by sin(kθ), which has a tip at 180°.
    Force constants of a perfect crystal therefore change with the displacement, by a third and more.
    """

    violated_symmetries = ("smoothness",)

    def __init__(self, elements: tuple[int, ...]) -> None:
        super().__init__(CUTOFF, elements=elements, learn_reference_energies=False)
        self.network = CHGNetNetwork()

    def atomic_energies(self, batch: Batch) -> Tensor:
        """Return CHGNet's energy of each atom, ``[N]`` eV."""
        return self.network(batch)

    def add_features(self, batch: Batch) -> Batch:
        """Add the angles between bonds shorter than 3 Å."""
        batch.extra = find_angles(batch.edges, batch.vectors().norm(dim=-1), len(batch.numbers))
        return batch

    def extra_increments(self, batch: Batch) -> Mapping[str, int]:
        """Return the numbers of pairs, bonds and atoms, which the angles point to."""
        bonds = len(batch.extra["short"])
        return {"short": batch.edges.shape[1], "angle_bonds": bonds, "angle_centre": len(batch.numbers)}

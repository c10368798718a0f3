"""PaiNN (Schütt, Unke, Gastegger, arXiv:2102.03150), evaluated on edges.

The function is that of graph-pes' PaiNN (a test compares them) but for the lengths of vectors, which are smooth here:
at sites of high symmetry all vectors vanish, and a length itself has the tip of a cone there, so that force constants
of a perfect crystal would depend on the displacement. What differs besides is the order of work. Distances and radial
filters are computed once for each pair instead of for both directions, vectors are stored as ``(N, 3, D)`` so that
linear maps need no transposition, the first layer skips the vectors that are still zero, the last one those that nobody
reads.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from distill.potentials.interface.batch import Batch
from distill.potentials.interface.potential import MAX_Z
from distill.potentials.networks.rows import rows
from distill.potentials.networks.silu import silu
from distill.potentials.networks.student import Student

ENVELOPE_POWER = 6

SOFTENING = 0.01
"""ε of the smooth length sqrt(|v|² + ε): its square root is the length below which a vector counts by its square.
Vectors of silicon are 0.01 long where atoms are displaced by 0.01 Å, 0.1 by 0.1 Å."""

FORMER_SOFTENING = 1e-8
"""ε of models that were saved before lengths were smooth; it is that of graph-pes."""


class TwoLayerPerceptron(nn.Module):
    """Two linear maps with silu between them."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.second = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(…, outputs)``."""
        result: Tensor = self.second(silu(self.first(x)))
        return result


class Filter(nn.Module):
    """Bessel functions of a distance with learnable frequencies, mapped linearly, times a smooth envelope."""

    def __init__(self, cutoff: float, radial_features: int, outputs: int) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.frequencies = nn.Parameter(torch.arange(1, radial_features + 1) * (math.pi / cutoff))
        self.linear = nn.Linear(radial_features, outputs)

    def forward(self, distances: Tensor) -> Tensor:
        """Return ``(P, outputs)`` from ``(P, 1)`` Å."""
        bessel = math.sqrt(2 / self.cutoff) * torch.sin(distances * self.frequencies) / distances
        filters: Tensor = self.linear(bessel) * envelope(distances / self.cutoff)
        return filters


def envelope(x: Tensor) -> Tensor:
    """Return a polynomial that falls from 1 at x = 0 to 0 at x = 1 with two vanishing derivatives, 0 beyond."""
    p = ENVELOPE_POWER
    inner = 1 + x**p * (-(p + 1) * (p + 2) / 2 + p * (p + 2) * x - p * (p + 1) / 2 * x**2)
    return torch.where(x < 1, inner, 0.0)


class Interaction(nn.Module):
    """Messages from neighbours (figure 2b of the paper)."""

    def __init__(self, cutoff: float, radial_features: int, channels: int) -> None:
        super().__init__()
        self.filter = Filter(cutoff, radial_features, 3 * channels)
        self.phi = TwoLayerPerceptron(channels, channels, 3 * channels)

    def forward(
        self, s: Tensor, v: Tensor | None, edges: tuple[Tensor, Tensor], distances: Tensor, directions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return scalars ``(N, D)`` and vectors ``(N, 3, D)``.

        Args:
            s: scalars, ``(N, D)``.
            v: vectors, ``(N, 3, D)``; None while they are zero.
            edges: receiving and sending atoms, ``(2P,)`` each, edges forward and then backward.
            distances: of edges, ``(P, 1)`` Å.
            directions: unit vectors of edges, ``(2P, 3)``.
        """
        centres, neighbours = edges
        n, width = s.shape
        x = rows(self.phi(s), neighbours).view(2, distances.shape[0], 3 * width)
        x = (x * self.filter(distances)).view(-1, 3 * width)  # (2P, 3D): a filter is the same both ways
        a, b, c = x.split(width, dim=-1)  # (2P, D)
        arrows = b.unsqueeze(1) * directions.unsqueeze(2)  # (2P, 3, D)
        if v is not None:
            sent = rows(v.view(n, 3 * width), neighbours).view(-1, 3, width)
            arrows = arrows + c.unsqueeze(1) * sent
        messages = torch.cat([a, arrows.view(-1, 3 * width)], dim=-1)  # (2P, 4D)
        received = s.new_zeros(n, 4 * width).index_add(0, centres, messages)
        ds, dv = received[:, :width], received[:, width:].reshape(n, 3, width)
        return s + ds, dv if v is None else v + dv


class Update(nn.Module):
    """Scalars and vectors of an atom change each other (figure 2c of the paper)."""

    softening: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("softening", torch.tensor(SOFTENING))
        self.uv = nn.Linear(channels, 2 * channels, bias=False)
        self.mlp = TwoLayerPerceptron(2 * channels, channels, 3 * channels)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Load weights; those saved without a softening have the former one."""
        state_dict.setdefault(f"{prefix}softening", torch.tensor(FORMER_SOFTENING))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, s: Tensor, v: Tensor, vectors_needed: bool) -> tuple[Tensor, Tensor]:
        """Return scalars ``(N, D)`` and vectors ``(N, 3, D)``; the vectors unchanged where they are not needed."""
        width = s.shape[1]
        u, w = self.uv(v).split(width, dim=-1)  # (N, 3, D): U v and V v of the paper
        length = (w.square().sum(1) + self.softening).sqrt()  # (N, D)
        a, b, c = self.mlp(torch.cat([s, length], dim=-1)).split(width, dim=-1)  # (N, D)
        s = s + b + c * (u * w).sum(1)
        return s, v + u * a.unsqueeze(1) if vectors_needed else v


class PaiNNPotential(Student):
    """PaiNN as a student; the arguments are those of its settings."""

    def __init__(
        self, cutoff: float, channels: int, layers: int, radial_features: int, short_range_repulsion: bool
    ) -> None:
        super().__init__(cutoff, short_range_repulsion)
        self.embedding = nn.Embedding(MAX_Z + 1, channels)
        self.interactions = nn.ModuleList(Interaction(cutoff, radial_features, channels) for _ in range(layers))
        self.updates = nn.ModuleList(Update(channels) for _ in range(layers))
        self.read_out = TwoLayerPerceptron(channels, channels, 1)
        self.scales = nn.Parameter(torch.ones(MAX_Z + 1))

    @property
    def scale(self) -> Tensor:
        """Energy scale by atomic number, ``[119]`` eV."""
        return self.scales

    def network_energies(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Return the network's energy of each atom, ``[N]`` eV."""
        distances = vectors.norm(dim=-1, keepdim=True)  # (P, 1)
        directions = vectors / distances
        directions = torch.cat([directions, -directions])  # (2P, 3)
        edges = batch.centres, batch.neighbours
        s, v = self.embedding(batch.numbers), None  # (N, D)
        for layer, (interaction, update) in enumerate(zip(self.interactions, self.updates, strict=True)):
            s, v = interaction(s, v, edges, distances, directions)
            s, v = update(s, v, vectors_needed=layer + 1 < len(self.updates))
        energies: Tensor = self.read_out(s).squeeze(-1)
        return energies * rows(self.scales, batch.numbers)

"""TensorNet (Simeon, De Fabritiis, arXiv:2306.06482), evaluated on edges.

The function is that of graph-pes' TensorNet (a test compares them); what differs is the order of work. A 3 × 3 tensor
is kept as its nine independent components, one scalar, three of a vector, five of a symmetric traceless tensor, instead
of three matrices: messages have a third of the numbers. Distances and radial functions are computed once for each pair
instead of for both directions, and embeddings of elements for each atom instead of for each edge.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from distill.potentials.interface.batch import Batch
from distill.potentials.interface.potential import MAX_Z
from distill.potentials.networks.rows import rows
from distill.potentials.networks.silu import silu
from distill.potentials.networks.student import Student

PARTS = (1, 3, 5)
"""Components of the scalar, the vector and the symmetric traceless tensor of a 3 × 3 matrix."""


def _basis() -> Tensor:
    """Return the matrices of the nine components, ``[9, 9]``: row 3 a + b is element (a, b).

    The identity; the matrices of the cross products with x, y, z; and five symmetric traceless ones, orthonormal.
    """
    matrices = torch.zeros(9, 3, 3, dtype=torch.float64)
    matrices[0] = torch.eye(3)
    for k, (a, b) in enumerate(((2, 1), (0, 2), (1, 0))):
        matrices[1 + k, a, b], matrices[1 + k, b, a] = 1, -1
    for k, (a, b) in enumerate(((0, 1), (1, 2), (0, 2))):
        matrices[4 + k, a, b] = matrices[4 + k, b, a] = math.sqrt(0.5)
    matrices[7] = torch.diag(torch.tensor([1.0, -1.0, 0.0])) * math.sqrt(0.5)
    matrices[8] = torch.diag(torch.tensor([-1.0, -1.0, 2.0])) / math.sqrt(6)
    return matrices.reshape(9, 9).T.contiguous()


def squared_norms(x: Tensor) -> Tensor:
    """Return the sums of squared elements of the three parts of each matrix, ``(N, 3, C)`` from ``(N, 9, C)``."""
    squares = x.square()
    scalar, vector, tensor = squares.split(PARTS, dim=1)
    return torch.cat([3 * scalar, 2 * vector.sum(1, keepdim=True), tensor.sum(1, keepdim=True)], dim=1)


class MultiLayerPerceptron(nn.Module):
    """Linear maps with silu between them and, where wanted, after the last."""

    def __init__(self, widths: list[int], activate_last: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.activate_last = activate_last

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(…, widths[-1])``."""
        for k, layer in enumerate(self.layers):
            x = layer(x)
            if self.activate_last or k + 1 < len(self.layers):
                x = silu(x)
        return x


class Radial(nn.Module):
    """Exponential functions of a distance, mapped, times a cosine that ends at the cutoff."""

    def __init__(self, cutoff: float, features: int, mapping: nn.Module) -> None:
        super().__init__()
        self.cutoff = cutoff
        end = math.exp(-cutoff)
        self.beta = nn.Parameter(torch.full((features,), (2 * (1 - end) / features) ** -2))
        self.centres = nn.Parameter(torch.linspace(end, 1, features))
        self.mapping = mapping

    def forward(self, distances: Tensor) -> Tensor:
        """Return ``(P, 3, C)`` from ``(P, 1)`` Å: a factor for each part of a tensor."""
        expanded = torch.exp(-self.beta * (torch.exp(-distances) - self.centres).square())
        envelope = 0.5 * (1 + torch.cos(math.pi * distances / self.cutoff)) * (distances <= self.cutoff)
        factors: Tensor = self.mapping(expanded) * envelope
        return factors.view(distances.shape[0], 3, factors.shape[1] // 3)


class PartwiseLinear(nn.Module):
    """A linear map between channels for each of the three parts of a tensor."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in PARTS)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, 9, C)`` from the same."""
        return torch.cat([one(part) for one, part in zip(self.maps, x.split(PARTS, dim=1), strict=True)], dim=1)


class Matrices(nn.Module):
    """Products of tensors that are given by their components."""

    basis: Tensor
    inverse: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("basis", _basis().float(), persistent=False)
        self.register_buffer("inverse", torch.linalg.inv(_basis()).float(), persistent=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the components of X Y + Y X, ``(N, 9, C)`` from the same."""
        n, _, channels = x.shape
        left, right = ((self.basis @ one).view(n, 3, 3, channels) for one in (x, y))
        both = [(one.unsqueeze(3) * other.unsqueeze(1)).sum(2) for one, other in ((left, right), (right, left))]
        return self.inverse @ (both[0] + both[1]).view(n, 9, channels)


class Embedding(nn.Module):
    """Tensors of atoms from their neighbours."""

    def __init__(self, cutoff: float, radial_features: int, channels: int) -> None:
        super().__init__()
        self.elements = nn.Embedding(MAX_Z + 1, channels)
        self.pair_of_elements = nn.Linear(2 * channels, channels, bias=False)
        self.radial = Radial(cutoff, radial_features, nn.Linear(radial_features, 3 * channels))
        self.norm = nn.LayerNorm(channels)
        self.mlp = MultiLayerPerceptron([channels, 2 * channels, 3 * channels], activate_last=True)
        self.linear = PartwiseLinear(channels)

    def forward(self, batch: Batch, distances: Tensor, directions: Tensor) -> Tensor:
        """Return ``(N, 9, C)``.

        Args:
            batch: the structures.
            distances: of edges, ``(P, 1)`` Å.
            directions: unit vectors of edges, ``(P, 3)``.
        """
        z = self.elements(batch.numbers)
        n, channels = z.shape
        weight_own, weight_other = self.pair_of_elements.weight.split(channels, dim=1)
        own, other = z @ weight_own.T, z @ weight_other.T  # (N, C)
        factors = self.radial(distances)  # (P, 3, C), the same both ways
        shape = components(directions)  # (P, 9, 1)
        received = z.new_zeros(n, 9 * channels)
        i, j = batch.edges
        for to, source, sign in ((i, j, 1.0), (j, i, -1.0)):
            species = (rows(own, to) + rows(other, source)).unsqueeze(1)
            messages = spread(factors * species, shape, sign)
            received = received.index_add(0, to, messages.view(-1, 9 * channels))
        x = received.view(n, 9, channels)
        coefficients = self.mlp(self.norm(squared_norms(x).sum(1))).view(n, 3, channels)
        return spread_parts(coefficients) * self.linear(x)


class Interaction(nn.Module):
    """Tensors of atoms and what their neighbours send change each other."""

    def __init__(self, cutoff: float, radial_features: int, channels: int) -> None:
        super().__init__()
        mlp = MultiLayerPerceptron([radial_features, 2 * channels, 3 * channels], activate_last=True)
        self.radial = Radial(cutoff, radial_features, mlp)
        self.before = PartwiseLinear(channels)
        self.after = PartwiseLinear(channels)

    def forward(self, x: Tensor, batch: Batch, distances: Tensor, product: Matrices) -> Tensor:
        """Return the change of the tensors, ``(N, 9, C)`` from the same."""
        n, _, channels = x.shape
        factors = spread_parts(self.radial(distances)).view(-1, 9 * channels)  # the same both ways
        flat = x.view(n, 9 * channels)
        received = torch.zeros_like(flat)
        i, j = batch.edges
        for to, source in ((i, j), (j, i)):
            received = received.index_add(0, to, factors * rows(flat, source))
        mixed = product(self.before(x), received.view(n, 9, channels))
        y = self.after(mixed / (squared_norms(mixed).sum(1, keepdim=True) + 1))
        return y + product(y, y) / 2


class TensorNetPotential(Student):
    """TensorNet as a student; the arguments are those of its settings."""

    def __init__(
        self, cutoff: float, channels: int, layers: int, radial_features: int, short_range_repulsion: bool
    ) -> None:
        super().__init__(cutoff, short_range_repulsion)
        self.embedding = Embedding(cutoff, radial_features, channels)
        self.interactions = nn.ModuleList(Interaction(cutoff, radial_features, channels) for _ in range(layers))
        self.product = Matrices()
        self.norm = nn.LayerNorm(3 * channels)
        self.read_out = MultiLayerPerceptron([3 * channels, 2 * channels, 1])
        self.scales = nn.Parameter(torch.ones(MAX_Z + 1))

    @property
    def scale(self) -> Tensor:
        """Energy scale by atomic number, ``[119]`` eV."""
        return self.scales

    def network_energies(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Return the network's energy of each atom, ``[N]`` eV."""
        distances = vectors.norm(dim=-1, keepdim=True)  # (P, 1)
        x = self.embedding(batch, distances, vectors / distances)
        for interaction in self.interactions:
            x = x / (squared_norms(x).sum(1, keepdim=True) + 1)
            x = x + interaction(x, batch, distances, self.product)
        energies: Tensor = self.read_out(self.norm(squared_norms(x).flatten(1))).squeeze(-1)
        return energies * rows(self.scales, batch.numbers)


def components(directions: Tensor) -> Tensor:
    """Return the components of Id, of the cross product with a unit vector, and of r rᵀ − Id / 3, ``(P, 9, 1)``."""
    x, y, z = directions.unbind(-1)
    root = math.sqrt(2)
    xx, yy, zz = x.square(), y.square(), z.square()
    tensor = [root * x * y, root * y * z, root * x * z, (xx - yy) / root, (2 * zz - xx - yy) / math.sqrt(6)]
    return torch.stack([torch.ones_like(x), x, y, z, *tensor], dim=1).unsqueeze(-1)


def spread(factors: Tensor, shape: Tensor, sign: float) -> Tensor:
    """Return factors ``(P, 3, C)`` of the parts times components ``(P, 9, 1)``; ``sign`` is that of the vector."""
    scalar, vector, tensor = factors.split(1, dim=1)
    return torch.cat([scalar, vector * (sign * shape[:, 1:4]), tensor * shape[:, 4:]], dim=1)


def spread_parts(factors: Tensor) -> Tensor:
    """Return a factor for each component, ``(…, 9, C)``, from one for each part, ``(…, 3, C)``."""
    scalar, vector, tensor = factors.split(1, dim=1)
    n, _, channels = factors.shape
    return torch.cat([scalar, vector.expand(n, 3, channels), tensor.expand(n, 5, channels)], dim=1)

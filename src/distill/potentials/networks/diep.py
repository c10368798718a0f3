"""DIEP's network, written for batches of pairs and with as little work as its weights allow.

Direct integration of the external potential (Tawfik et al., Digital Discovery, 2024): two or three atoms are laid into
a plane, and the density of their charges times the potential of their nuclei, at the points of a grid, is what the
network knows of a bond or a triplet. The rest is the graph convolution of M3GNet (Chen and Ong, Nat. Comput. Sci. 2,
718, 2022).

A triplet is the same seen from either of its two bonds, and a bond seen from its other end is its mirror image, so that
each is drawn once. A linear map of concatenated features is a sum of linear maps, of atoms, pairs and edges. Results
agree with the published package to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distill.potentials.interface.batch import Batch
from distill.potentials.interface.potential import Potential
from distill.potentials.networks.bond_angles import bond_pairs
from distill.potentials.networks.silu import silu

WIDTH = 64
BLOCKS = 3
CUTOFF = 5.0
TRIPLET_CUTOFF = 4.0
HALF_LENGTH = 5
AXIS = 2 * HALF_LENGTH + 1
"""Points of the grid along an axis, 1 Å apart."""
POINTS = AXIS * AXIS
SOFTENING = 0.5
"""Å, in the potential of a nucleus."""
TIE = 1e-6
"""Å; lengths of a triangle that differ by less are equal, and atoms in one line are no farther from it."""

SIDES = ((0, 1), (1, 2), (0, 2))
"""Corners of each side of a triangle; corner 1 is the atom that both bonds share."""
LEGS = ((2, 1), (0, 2), (0, 1))
"""For each longest side (u, v), the sides that join u and v to the third corner."""
THIRD = (2, 0, 1)
"""That corner."""


def envelope(distances: Tensor, cutoff: float) -> Tensor:
    """Return 1 − 10x³ + 15x⁴ − 6x⁵ of x = r/r_c, 0 beyond the cutoff."""
    x = distances / cutoff
    return torch.where(x <= 1, 1 - x**3 * (10 - 15 * x + 6 * x**2), 0.0)


class Grid(nn.Module):
    """Density times potential of a few charges at the points of a plane."""

    axis: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("axis", torch.linspace(-HALF_LENGTH, HALF_LENGTH, AXIS), persistent=False)

    def forward(self, x: Tensor, y: Tensor, charges: Tensor) -> Tensor:
        """Return ``(M, 121)``, rows of the grid one after the other, of ``(M, k)`` coordinates in Å and charges."""
        along = (self.axis - x.unsqueeze(-1)).square()  # (M, k, 11)
        across = (self.axis - y.unsqueeze(-1)).square()
        density = torch.einsum("mka,mkb->mba", torch.exp(-along), torch.exp(-across)) / math.pi
        squared = along.unsqueeze(2) + across.unsqueeze(3) + SOFTENING**2  # (M, k, 11 of y, 11 of x)
        potential = (charges[..., None, None] * squared.rsqrt()).sum(1)
        return (density * potential).flatten(1)

    def of(self, drawing: Drawing, numbers: Tensor) -> Tensor:
        """Return ``(T, 121)`` of triangles, ``numbers`` of their corners as they were given; a charge is √Z."""
        charges = numbers.gather(1, drawing.order).to(drawing.x.dtype).sqrt()
        found: Tensor = self(drawing.x, drawing.y, charges)
        return found


@dataclass(frozen=True)
class Drawing:
    """Triangles in the plane: the longest side along x, the third corner above it, the centroid at the origin.

    The end of the longest side that is nearer to the third corner comes first. Where lengths are equal the higher
    atomic numbers decide: between different elements the drawing, and with it the energy, then has a step.

    Attributes:
        x: of each corner, ``(T, 3)`` Å.
        y: the same.
        order: which corners these are, ``(T, 3)``.
        tied: whether another choice was as good, ``(T,)``.
    """

    x: Tensor
    y: Tensor
    order: Tensor
    tied: Tensor

    @classmethod
    def of(cls, first: Tensor, second: Tensor, numbers: Tensor) -> Drawing:
        """Return the drawing of triangles.

        Args:
            first: from the shared atom to the first neighbour, ``(T, 3)`` Å.
            second: to the second.
            numbers: atomic numbers of first neighbour, shared atom and second neighbour, ``(T, 3)``.
        """
        squared = torch.stack([v.square().sum(1) for v in (first, second, first - second)], dim=1)  # of the sides
        with torch.no_grad():
            side, order, legs, tied = choose(squared.sqrt(), numbers)
        length = squared.gather(1, side).sqrt()  # (T, 1)
        near, far = squared.gather(1, legs).split(1, dim=1)
        x = (near - far) / (2 * length)
        height = torch.linalg.cross(first, second).square().sum(1, keepdim=True) / length.square()
        y = height * (height + TIE**2).rsqrt()
        corners = torch.cat([-length / 2, length / 2, x], dim=1) - x / 3
        return cls(corners, torch.cat([-y / 3, -y / 3, 2 * y / 3], dim=1), order, tied)


def choose(lengths: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the longest side ``(T, 1)``, corners in order ``(T, 3)``, sides to the third ``(T, 2)``, and ``tied``."""
    ends = numbers[:, torch.tensor(SIDES, device=numbers.device)]  # (T, 3, 2)
    alive = torch.ones_like(lengths, dtype=torch.bool)
    for key in (torch.round(lengths / TIE), ends.amax(2).to(lengths), ends.amin(2).to(lengths)):
        alive &= key >= key.masked_fill(~alive, -torch.inf).amax(1, keepdim=True)
    side = alive.to(torch.uint8).argmax(1, keepdim=True)  # (T, 1): the first of those that are still equal
    corners = torch.tensor(SIDES, device=side.device)[side.squeeze(1)]  # (T, 2)
    legs = torch.tensor(LEGS, device=side.device)[side.squeeze(1)]
    of_first, of_second = lengths.gather(1, legs).unbind(1)
    first, second = numbers.gather(1, corners).unbind(1)
    equal = (of_first - of_second).abs() <= TIE
    swap = torch.where(equal, second > first, of_second + TIE < of_first).unsqueeze(1)
    corners, legs = (torch.where(swap, pair.flip(1), pair) for pair in (corners, legs))
    third = torch.tensor(THIRD, device=side.device)[side]
    return side, torch.cat([corners, third], dim=1), legs, (alive.sum(1) > 1) | (equal & (first == second))


class Gated(nn.Module):
    """Two perceptrons side by side, core · σ(gate), that read several inputs.

    Args:
        inputs: how many features come together, each ``(…, 64)``.
        outputs: how wide it ends.
        hidden: how many hidden layers there are.
        last: whether the core ends with silu.
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, last: bool) -> None:
        super().__init__()
        self.last = last
        self.inputs = nn.ModuleList(nn.Linear(WIDTH, 2 * WIDTH, bias=k == 0) for k in range(inputs))
        widths = [WIDTH] * hidden + [outputs]
        self.core = nn.ModuleList(nn.Linear(WIDTH, width) for width in widths[1:])
        self.gate = nn.ModuleList(nn.Linear(WIDTH, width) for width in widths[1:])

    def forward(self, mapped: Tensor) -> Tensor:
        """Return ``(…, outputs)`` from the sum of the mapped inputs, ``(…, 128)``: core first, then gate."""
        core, gate = silu(mapped).chunk(2, dim=-1)
        for k, (of_core, of_gate) in enumerate(zip(self.core, self.gate, strict=True)):
            core, gate = of_core(core), of_gate(gate)
            if k < len(self.core) - 1:
                core, gate = silu(core), silu(gate)
        return (silu(core) if self.last else core) * torch.sigmoid(gate)


class Block(nn.Module):
    """Edges learn from their triplets and their atoms, then atoms from their edges."""

    def __init__(self) -> None:
        super().__init__()
        self.of_end = nn.Linear(WIDTH, POINTS)
        self.of_triplets = nn.Linear(POINTS, 2 * WIDTH, bias=False)
        self.edge_update = Gated(3, WIDTH, hidden=2, last=True)
        self.node_update = Gated(3, WIDTH, hidden=2, last=True)
        self.weights = nn.Linear(POINTS, 2 * WIDTH, bias=False)

    def forward(
        self, atoms: Tensor, edges: Tensor, drawn: Tensor, triplets: Triplets, ends: Ends
    ) -> tuple[Tensor, Tensor]:
        """Return atoms ``(N, 64)`` and directed edges ``(2P, 64)``; ``drawn`` are these, ``(2P, 121)``."""
        if triplets.first.numel():
            core, gate = self.of_triplets(triplets.gathered(torch.sigmoid(self.of_end(atoms)), len(edges))).chunk(
                2, dim=-1
            )
            edges = edges + silu(core) * torch.sigmoid(gate)
        of_edge, of_node = self.weights(drawn).chunk(2, dim=-1)
        edges = edges + self.edge_update(ends.joined(self.edge_update, atoms, edges)) * of_edge
        messages = self.node_update(ends.joined(self.node_update, atoms, edges)) * of_node
        return atoms.index_add(0, ends.target, messages), edges


class Ends:
    """The atoms of directed edges: where each begins and ends, ``(2P,)``."""

    def __init__(self, batch: Batch) -> None:
        self.source, self.target = batch.centres, batch.neighbours

    def joined(self, gate: Gated, atoms: Tensor, edges: Tensor) -> Tensor:
        """Return the sum of the mapped inputs of each edge, ``(2P, 128)``."""
        of_source, of_target, of_edge = gate.inputs
        ends = of_source(atoms).index_select(0, self.source) + of_target(atoms).index_select(0, self.target)
        joined: Tensor = ends + of_edge(edges)
        return joined


class Triplets:
    """Two edges that leave one atom, each pair once: drawn, and what they bring to either edge.

    Attributes:
        first: directed edge of each, ``(T,)``.
        second: the other.
        for_first: the drawing that the first edge learns from, ``(T, 121)``, with the envelopes of both.
        for_second: the same for the second. Where a triangle is tied each edge draws it from its own side, so that a
            symmetric crystal has symmetric forces.
        first_end: the atom that the first edge reaches.
        second_end: the same of the second.
    """

    def __init__(self, batch: Batch, vectors: Tensor, distances: Tensor, grid: Grid) -> None:
        pairs, backward = batch.extra["triplet_pairs"].T, batch.extra["triplet_backward"].T  # (2, T)
        self.first, self.second = pairs + batch.edges.shape[1] * backward
        self.first_end, self.second_end = batch.neighbours[self.first], batch.neighbours[self.second]
        shared = batch.centres.index_select(0, self.first)
        numbers = batch.numbers[torch.stack([self.first_end, shared, self.second_end], dim=1)]
        signs = (1 - 2 * backward).unsqueeze(2).to(vectors.dtype)
        a, b = (vectors.index_select(0, pair) * sign for pair, sign in zip(pairs, signs, strict=True))
        near = envelope(distances, TRIPLET_CUTOFF)
        weight = (near.index_select(0, pairs[0]) * near.index_select(0, pairs[1])).unsqueeze(1)
        drawing = Drawing.of(a, b, numbers)
        self.for_first = grid.of(drawing, numbers) * weight
        self.for_second = self.for_first
        if len(tied := drawing.tied.nonzero().squeeze(1)):
            turned = numbers[tied].flip(1)
            again = grid.of(Drawing.of(b[tied], a[tied], turned), turned) * weight[tied]
            self.for_second = self.for_first.index_copy(0, tied, again)

    def gathered(self, of_end: Tensor, edges: int) -> Tensor:
        """Return for each directed edge the sum over its triplets of their drawing times ``of_end`` of the far atom."""
        sums = of_end.new_zeros(edges, POINTS)
        sums = sums.index_add(0, self.first, self.for_first * of_end.index_select(0, self.second_end))
        return sums.index_add(0, self.second, self.for_second * of_end.index_select(0, self.first_end))


class DIEPNetwork(nn.Module):
    """The energies of atoms from pairs within 5 Å and triplets of edges within 4 Å.

    Args:
        elements: atomic numbers it knows, in the order of its embedding.
    """

    reference: Tensor
    scale: Tensor
    index: Tensor

    def __init__(self, elements: tuple[int, ...]) -> None:
        super().__init__()
        self.grid = Grid()
        self.elements = nn.Embedding(len(elements), WIDTH)
        self.edge_embedding = nn.Linear(POINTS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.read_out = Gated(1, 1, hidden=3, last=False)
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("reference", torch.zeros(len(elements), dtype=torch.float64))
        index = torch.zeros(max(elements) + 1, dtype=torch.long)
        index[list(elements)] = torch.arange(len(elements))
        self.register_buffer("index", index, persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        """Return the energy of each atom, ``[N]`` float64 eV; ``batch.extra`` is from :func:`find_triplets`."""
        vectors = batch.vectors()
        distances = vectors.norm(dim=-1)  # (P,)
        ends, triplets = Ends(batch), Triplets(batch, vectors, distances, self.grid)
        drawn = self._bonds(batch, distances)  # (2P, 121)
        kinds = self.index.index_select(0, batch.numbers)
        atoms = self.elements(kinds)  # (N, 64)
        edges = silu(self.edge_embedding(drawn))  # (2P, 64)
        for block in self.blocks:
            atoms, edges = block(atoms, edges, drawn, triplets, ends)
        energies = self.read_out(self.read_out.inputs[0](atoms)).squeeze(-1).double()
        return energies * self.scale + self.reference.index_select(0, kinds)

    def _bonds(self, batch: Batch, distances: Tensor) -> Tensor:
        """Return the drawing of each directed edge, its beginning at the left; the other way it is the mirror image."""
        x = torch.stack([-distances, distances], dim=1) / 2
        charges = batch.numbers[batch.edges].T.to(x.dtype).sqrt()
        forward = self.grid(x, torch.zeros_like(x), charges) * envelope(distances, CUTOFF).unsqueeze(1)
        return torch.cat([forward, forward.view(-1, AXIS, AXIS).flip(-1).flatten(1)])


def find_triplets(edges: Tensor, distances: Tensor, n_atoms: int) -> dict[str, Tensor]:
    """Return the pairs of edges within 4 Å that leave one atom, each pair once.

    Returns:
        ``triplet_pairs`` ``[t, 2]``: indices of edges; ``triplet_backward`` ``[t, 2]``: 1 where the edge leaves the
        atom that it is listed to reach, else 0.
    """
    short = (distances <= TRIPLET_CUTOFF).nonzero().squeeze(-1)
    found = bond_pairs(edges.index_select(1, short), n_atoms)
    chosen = found.ascending.nonzero().squeeze(-1)
    bonds = torch.stack([found.first, found.second], dim=1).index_select(0, chosen)
    signs = torch.stack([found.first_sign, found.second_sign], dim=1).index_select(0, chosen)
    return {"triplet_pairs": short[bonds], "triplet_backward": (signs < 0).long()}


class DIEPPotential(Potential):
    """DIEP; energies of free atoms are part of the network, ``reference_energies`` begin at 0.

    Its energy is not smooth: a triplet is drawn with its longest side along x, and which one that is changes with the
    positions. Between different elements that is a step of about a millielectronvolt, else a kink, and triplets in one
    line give the energy a tip.
    """

    violated_symmetries = ("smoothness",)
    memory_per_atom = 8_000_000

    def __init__(self, elements: tuple[int, ...]) -> None:
        super().__init__(CUTOFF, elements=elements, learn_reference_energies=False)
        self.network = DIEPNetwork(elements)

    def atomic_energies(self, batch: Batch) -> Tensor:
        """Return DIEP's energy of each atom, ``[N]`` eV."""
        energies: Tensor = self.network(batch)
        return energies

    def add_features(self, batch: Batch) -> Batch:
        """Add the triplets of edges within 4 Å."""
        batch.extra = find_triplets(batch.edges, batch.vectors().norm(dim=-1), len(batch.numbers))
        return batch

    def extra_increments(self, batch: Batch) -> Mapping[str, int]:
        """Return the number of edges, which the triplets point to."""
        return {"triplet_pairs": batch.edges.shape[1]}

"""Orb as a potential: conservative, where forces are the gradient of the energy, or direct, with heads of their own.

The energy is a function of the *mean* of the atoms' features, times their number. It grows with the size of a crystal,
but is no sum over atoms: parts that are far from each other still influence each other's energy. Directions enter as
they are, so that a rotated structure has the same energy only as far as training taught it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from distill.potentials.interface.batch import Batch, Prediction, divide_by_volume, strained
from distill.potentials.interface.potential import MAX_Z, Potential
from distill.potentials.networks.orb_network import (
    CUTOFF,
    Edges,
    OrbNetwork,
    PairRepulsion,
    Perceptron,
    mean,
    nearest,
    removed_torque,
    total,
)

VOIGT = ((0, 5, 4), (5, 1, 3), (4, 3, 2))
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
        self.perceptron = Perceptron([network.width], [hidden, outputs], network.activation)
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
    """Orb with conservative forces; the energies of free atoms are part of the network, ``offsets`` start at zero.

    Args:
        network: gives the features of the atoms.
        head: hidden width of the heads.
        neighbours: how many of an atom's nearest neighbours within 6 Å are seen.
        elements: atomic numbers that it knows.
    """

    reference: Tensor
    breaks: ClassVar[tuple[str, ...]] = ("rotation", "separation")

    def __init__(self, network: OrbNetwork, head: int, *, neighbours: int, elements: tuple[int, ...]) -> None:
        super().__init__(CUTOFF, elements=elements, learn_offsets=False)
        self.neighbours = neighbours
        self.memory_per_atom = BYTES_PER_EDGE * min(neighbours, USUAL_NEIGHBOURS)
        self.network = network
        self.energy_head = Head(network, head, 1)
        self.repulsion = PairRepulsion() if network.version == 3 else None
        self.register_buffer("reference", torch.zeros(MAX_Z + 1, dtype=torch.float64))

    def complete(self, batch: Batch) -> Batch:
        """Add which directed edges are kept, ``edges``: twice the pair, plus one where it is taken backward."""
        centres = batch.pairs.t().reshape(-1)
        edges = torch.arange(len(centres), device=centres.device)
        if len(centres) and int(centres.bincount().max()) > self.neighbours:
            edges = nearest(centres, batch.vectors().norm(dim=-1).repeat_interleave(2), self.neighbours)
        batch.extra = {"edges": edges}
        return batch

    def extra_increments(self, batch: Batch) -> Mapping[str, int]:
        """Return the number of directed edges."""
        return {"edges": 2 * batch.pairs.shape[1]}

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


class OrbDirect(OrbPotential):
    """Orb whose forces and stress are predicted, not derived: fast, but they are not the gradient of the energy.

    Generation, where forces only propose structures, and fine-tuning do well with it. Dynamics with it may drift in
    energy, and the minimum of its energy is not exactly where its forces vanish.
    """

    breaks: ClassVar[tuple[str, ...]] = ("derivatives", "rotation", "separation")

    def __init__(self, network: OrbNetwork, head: int, *, neighbours: int, elements: tuple[int, ...]) -> None:
        super().__init__(network, head, neighbours=neighbours, elements=elements)
        self.memory_per_atom //= len(network.interactions)  # nothing is kept for a derivative
        self.force_head = Head(network, head, 3)
        self.stress_head = Head(network, head, 6)

    def forward(self, batch: Batch, stress: bool = True) -> Prediction:
        """Return energies, forces and stress, each from its head; in training mode differentiable in the parameters.

        The mean force is removed, and where there is no cell the torque. The repulsion of nuclei is added with its
        exact derivatives.
        """
        with torch.set_grad_enabled(self.training):
            features = self.network(batch.numbers, Edges(batch))
            energy = self.mean_energy(features, batch) * batch.atoms_per_structure()
            energy = energy + self._sum((self.reference + self.offsets).index_select(0, batch.numbers), batch)
            forces = self.force_head(features)
            forces = removed_torque(forces - mean(forces, batch).index_select(0, batch.structure), batch)
            forces = self.force_head.scaled(forces)
            tensor = self.stress_head.scaled(self.stress_head(mean(features, batch)))[:, VOIGT]
        tensor = torch.where(batch.periodic.view(-1, 1, 1), tensor, torch.nan)
        if self.repulsion is not None:
            extra_energy, extra_forces, extra_stress = self.repelled(self.repulsion, batch)
            energy, forces, tensor = energy + extra_energy, forces + extra_forces, tensor + extra_stress
        return Prediction(energy, forces, tensor if stress else None)

    @torch.enable_grad()
    def repelled(self, repulsion: PairRepulsion, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return energies ``[B]``, forces and stress of the repulsion of nuclei, without a graph behind them."""
        positions = batch.positions.detach().requires_grad_()
        strain = batch.cells.new_zeros(batch.cells.shape, requires_grad=True)
        graph = Edges(strained(replace(batch, positions=positions), strain))
        energy = self._sum(repulsion(batch.numbers, graph), batch)
        by_position, by_strain = torch.autograd.grad(energy.sum(), [positions, strain])
        return energy.detach(), -by_position, divide_by_volume(by_strain, batch)

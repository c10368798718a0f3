"""Orb with direct forces: they have a head of their own, as the stress has, and are not the gradient of the energy."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from distill.potentials.interface.batch import Batch, Prediction, divide_by_volume, strained
from distill.potentials.networks.orb import Edges, Head, OrbNetwork, OrbPotential, PairRepulsion, mean, total

VOIGT = ((0, 5, 4), (5, 1, 3), (4, 3, 2))


class OrbDirect(OrbPotential):
    """Orb whose forces and stress are predicted, not derived: fast, but they are not the gradient of the energy.

    Generation, where forces only propose structures, and fine-tuning do well with it. Dynamics with it may drift in
    energy, and the minimum of its energy is not exactly where its forces vanish.
    """

    violated_symmetries = ("derivatives", "rotation", "separation")

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
            energy = energy + self._sum(
                (self.reference + self.reference_energies).index_select(0, batch.numbers), batch
            )
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
        by_position, by_strain = by_position.to(batch.dtype), by_strain.to(batch.dtype)
        return energy.detach(), -by_position, divide_by_volume(by_strain, batch)


def removed_torque(forces: Tensor, batch: Batch) -> Tensor:
    """Return the forces with the smallest change that leaves no torque about the mean position, without a cell only.

    The change of the force at r is r × μ with (Σ r rᵀ − |r|²) μ = −Σ r × F. Linear molecules have no torque about their
    axis, hence the pseudoinverse.
    """
    free = (batch.cells == 0).flatten(1).all(-1)
    if not free.any():
        return forces
    r = batch.positions - mean(batch.positions, batch).index_select(0, batch.structure)
    torque = total(torch.linalg.cross(r, forces.double()), batch)
    outer = total((r.unsqueeze(-1) * r.unsqueeze(-2)).flatten(1), batch).view(-1, 3, 3)
    trace = outer.diagonal(dim1=1, dim2=2).sum(-1).view(-1, 1, 1)
    inverse = torch.linalg.pinv(outer - trace * torch.eye(3, dtype=r.dtype, device=r.device), rtol=1e-6, hermitian=True)
    mu = torch.where(free.unsqueeze(-1), -(inverse @ torque.unsqueeze(-1)).squeeze(-1), 0.0)
    return forces + torch.linalg.cross(r, mu.index_select(0, batch.structure)).to(forces.dtype)

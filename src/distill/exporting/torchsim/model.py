"""A student as TorchSim's model: energies, forces and stresses of many structures at once, on the state's device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.neighbors import torch_nl_linked_cell
from torch_sim.state import SimState

from distill.potentials.interface.batch import Batch
from distill.potentials.interface.potential import Potential


class TorchSimModel(ModelInterface):
    """A potential as a model of TorchSim.

    Args:
        potential: on the device and in the precision that simulations are to be in.
        compute_stress: whether the stress is wanted; structures that are not periodic have NaN.
    """

    def __init__(self, potential: Potential, *, compute_stress: bool = True) -> None:
        super().__init__()
        self.potential = potential.eval()
        self._device = potential.device
        self._dtype = potential.dtype
        self._compute_stress = compute_stress
        self._compute_forces = True
        self._memory_scales_with = "n_atoms_x_density"

    def forward(self, state: SimState, **_: Any) -> dict[str, Tensor]:
        """Return ``energy`` ``[B]`` eV, ``forces`` ``[N, 3]`` eV/Å and, if wanted, ``stress`` ``[B, 3, 3]`` eV/Å³."""
        found = self.potential(self._batch(state), self._compute_stress)
        results = {"energy": found.energy.to(self._dtype), "forces": found.forces.detach()}
        if self._compute_stress and found.stress is not None:
            results["stress"] = found.stress.detach()
        return results

    def _batch(self, state: SimState) -> Batch:
        """Return the state with its neighbours, each pair once.

        Of TorchSim's searches this is the one that is exact wherever it runs: its default takes room for a number of
        neighbours that it guesses, and stops where atoms are denser.
        """
        cutoff = torch.tensor(self.potential.cutoff, dtype=self._dtype, device=self._device)
        edges, _, shifts = torch_nl_linked_cell(
            state.positions, state.row_vector_cell, state.pbc, cutoff, state.system_idx
        )
        half = _first_of_two(edges, shifts)
        batch = Batch(
            numbers=state.atomic_numbers.long(),
            positions=state.positions.double(),
            cells=state.row_vector_cell.double().contiguous(),
            periodic=torch.as_tensor(state.pbc, device=self._device).all().expand(state.n_systems),
            edges=edges[:, half].long(),
            shifts=shifts[half].double(),
            structure=state.system_idx,
            dtype=self._dtype,
        )
        return self.potential.add_features(batch)


def _first_of_two(edges: Tensor, shifts: Tensor) -> Tensor:
    """Return which of the edges, each of which is there both ways, are the first of the two, ``[P]`` bool."""
    i, j = edges
    x, y, z = shifts.unbind(1)
    forward = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
    return (i < j) | ((i == j) & forward)

"""CHGNet as a potential: its angles are found once and travel with the structures."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from distill.potentials.interface.batch import Batch
from distill.potentials.interface.potential import Potential
from distill.potentials.networks.chgnet_network import CUTOFF, CHGNetNetwork, find_angles


class CHGNetPotential(Potential):
    """CHGNet; the energies of free atoms that it was fitted with are part of the network, ``offsets`` start at zero."""

    def __init__(self, elements: tuple[int, ...]) -> None:
        super().__init__(CUTOFF, elements=elements, learn_offsets=False)
        self.network = CHGNetNetwork()

    def atomic_energies(self, batch: Batch) -> Tensor:
        """Return CHGNet's energy of each atom, ``[N]`` eV."""
        return self.network(batch)

    def complete(self, batch: Batch) -> Batch:
        """Add the angles between bonds shorter than 3 Å."""
        batch.extra = find_angles(batch.pairs, batch.vectors().norm(dim=-1), len(batch.numbers))
        return batch

    def extra_increments(self, batch: Batch) -> Mapping[str, int]:
        """Return the numbers of pairs, bonds and atoms, which the angles point to."""
        bonds = len(batch.extra["short"])
        return {"short": batch.pairs.shape[1], "angle_bonds": bonds, "angle_centre": len(batch.numbers)}

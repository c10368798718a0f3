"""The potential of Lennard-Jones as a teacher: all that somebody writes who adds one, besides its line in the table.

Its two parameters are weights as those of a network are, so that it can be fine-tuned. The pair energy is multiplied by
a polynomial that takes it to zero between the onset and the cutoff, with one derivative, as ``smooth=True`` does in
ASE's ``LennardJones``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from distill.potentials.base import Architecture
from distill.potentials.settings import PotentialSettings

if TYPE_CHECKING:
    from torch import Tensor

    from distill.potentials.interface.batch import Batch
    from distill.potentials.interface.potential import Potential


class LennardJonesSettings(PotentialSettings):
    """The defaults put the minimum at the bond length of silicon (Stillinger and Weber, Phys. Rev. B 31, 5262)."""

    epsilon: float = Field(default=2.1683, gt=0)
    """Depth of the well, eV."""
    sigma: float = Field(default=2.0951, gt=0)
    """Distance at which the energy is zero, Å."""
    onset: float = Field(default=3.3, gt=0)
    """Distance from which on the energy is taken to zero, Å."""
    cutoff: float = Field(default=5.0, gt=0)
    """Distance at which it is zero, Å."""


class LennardJones(Architecture):
    """A pair potential for atoms of any element."""

    name = "lennard-jones"
    role = "teacher"
    reference = "J. E. Jones, Proc. R. Soc. Lond. A 106, 463 (1924)"
    licence = "none needed"
    level_of_theory = "Lennard-Jones"
    parameters = 2
    Settings = LennardJonesSettings

    @classmethod
    def network(cls, settings: LennardJonesSettings) -> Potential:
        """Return the potential."""
        import torch

        from distill.potentials.interface.potential import Potential

        class LennardJonesPotential(Potential):
            def __init__(self) -> None:
                super().__init__(settings.cutoff, learn_reference_energies=False)
                self.epsilon = torch.nn.Parameter(torch.tensor(settings.epsilon))
                self.sigma = torch.nn.Parameter(torch.tensor(settings.sigma))

            def atomic_energies(self, batch: Batch) -> Tensor:
                squares = batch.vectors().square().sum(-1)  # (P,)
                start, end = settings.onset**2, settings.cutoff**2
                x = ((squares - start) / (end - start)).clamp(0, 1)
                sixth = (self.sigma**2 / squares) ** 3
                energies = 4 * self.epsilon * (sixth**2 - sixth) * (1 - x) ** 2 * (1 + 2 * x)
                halves = (energies / 2).repeat(2)  # one for each atom of a pair
                return squares.new_zeros(len(batch.numbers)).index_add(0, batch.centres, halves)

        return LennardJonesPotential()

    @classmethod
    def load_pretrained(cls, potential: Potential) -> None:
        """Say where the parameters are from; they are those of the settings."""
        potential.origin = {"licence": cls.licence, "level_of_theory": cls.level_of_theory}

"""EDDP, a student that sees pairs and triplets of atoms through a small perceptron: few parameters, no messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from distill.potentials.base import Architecture
from distill.potentials.settings import OfElements

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential


class EDDPSettings(OfElements):
    """Settings of EDDP."""

    sizes: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "small": {"radial_features": 5, "three_body_features": 3, "width": 8},
        "large": {"radial_features": 12, "three_body_features": 8, "width": 32, "layers": 2},
    }

    radial_features: int = Field(default=8, ge=2)
    """Powers that a distance is expanded into."""
    largest_power: float = Field(default=8.0, gt=2)
    """The largest of these powers."""
    three_body_cutoff: float | None = Field(default=None, gt=0)
    """Distance up to which two neighbours form a triplet with the atom, Å; the cutoff if null."""
    three_body_features: int = Field(default=5, ge=2)
    """Powers that each distance of a triplet is expanded into."""
    width: int = Field(default=16, ge=1)
    """Neurons in each hidden layer."""
    layers: int = Field(default=1, ge=1)
    """Hidden layers."""


class EDDP(Architecture):
    """The ephemeral data derived potential of Pickard, as graph-pes has it."""

    name = "eddp"
    role = "student"
    reference = "C. J. Pickard, Phys. Rev. B 106, 014102 (2022)"
    licence = "MIT"
    requires = ("graph-pes",)
    install = "pip install graph-pes"
    Settings = EDDPSettings

    @classmethod
    def network(cls, settings: EDDPSettings) -> Potential:
        """Return an untrained EDDP; raises :class:`UserError` where the settings name no elements."""
        from graph_pes.models.eddp import EDDP as Network

        from distill.potentials.networks.eddp import EDDPPotential
        from distill.potentials.networks.graph_pes import elements_of

        network = Network(
            elements=elements_of(settings),
            cutoff=settings.cutoff,
            features=settings.radial_features,
            max_power=settings.largest_power,
            mlp_width=settings.width,
            mlp_layers=settings.layers,
            three_body_cutoff=min(settings.three_body_cutoff or settings.cutoff, settings.cutoff),
            three_body_features=settings.three_body_features,
        )
        return EDDPPotential(network, settings.short_range_repulsion)

"""SchNet, a student whose messages are scalars: simple, fast and less accurate than PaiNN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from distill.potentials.base import Architecture
from distill.potentials.settings import StudentSettings

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential


class SchNetSettings(StudentSettings):
    """Settings of SchNet."""

    sizes: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "small": {"channels": 32, "layers": 2, "radial_features": 25},
        "large": {"channels": 128, "layers": 4},
    }

    channels: int = Field(default=64, ge=2)
    """Scalars per atom."""
    layers: int = Field(default=3, ge=1)
    """Rounds of message passing."""
    radial_features: int = Field(default=50, ge=2)
    """Gaussian functions that a distance is expanded into."""


class SchNet(Architecture):
    """The continuous-filter network of Schütt and others as graph-pes has it, with filters that end at the cutoff."""

    name = "schnet"
    role = "student"
    reference = "K. T. Schütt et al., J. Chem. Phys. 148, 241722 (2018)"
    licence = "MIT"
    requires = ("graph-pes",)
    install = "pip install graph-pes"
    Settings = SchNetSettings

    @classmethod
    def network(cls, settings: SchNetSettings) -> Potential:
        """Return an untrained SchNet."""
        from graph_pes.models.schnet import SchNet as Network

        from distill.potentials.networks.graph_pes import EndingAtCutoff, GraphPESPotential

        network = Network(settings.cutoff, settings.channels, settings.radial_features, settings.layers)
        for interaction in network.interactions:
            interaction.cfconv.filter_generator = EndingAtCutoff(interaction.cfconv.filter_generator, settings.cutoff)
        return GraphPESPotential(network, settings.short_range_repulsion)

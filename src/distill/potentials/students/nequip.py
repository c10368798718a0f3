"""NequIP, a student whose features are spherical tensors: accurate and data-efficient, slower than PaiNN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from distill.potentials.base import Architecture
from distill.potentials.settings import OfElements

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential


class NequIPSettings(OfElements):
    """Settings of NequIP."""

    sizes: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "small": {"channels": 8, "layers": 2, "l_max": 1},
        "large": {"channels": 32, "layers": 4},
    }

    channels: int = Field(default=16, ge=1)
    """Tensors of each degree per atom."""
    layers: int = Field(default=3, ge=1)
    """Rounds of message passing."""
    l_max: int = Field(default=2, ge=0)
    """Highest degree of the spherical tensors."""
    odd: bool = False
    """Whether tensors of odd parity (pseudoscalars, ...) are kept too: more costly."""
    radial_features: int = Field(default=8, ge=1)
    """Bessel functions that a distance is expanded into."""


class NequIP(Architecture):
    """The neural equivariant interatomic potential of Batzner and others, as graph-pes has it."""

    name = "nequip"
    role = "student"
    reference = "S. Batzner et al., Nat. Commun. 13, 2453 (2022)"
    licence = "MIT"
    requires = ("graph-pes", "e3nn")
    install = "pip install graph-pes e3nn"
    Settings = NequIPSettings

    @classmethod
    def network(cls, settings: NequIPSettings) -> Potential:
        """Return an untrained NequIP; raises :class:`UserError` where the settings name no elements."""
        from graph_pes.models.e3nn.nequip import NequIP as Network

        from distill.potentials.networks.graph_pes import GraphPESPotential, elements_of

        network = Network(
            elements=elements_of(settings),
            cutoff=settings.cutoff,
            layers=settings.layers,
            features={"channels": settings.channels, "l_max": settings.l_max, "use_odd_parity": settings.odd},
            radial_features=settings.radial_features,
            neighbour_aggregation="constant_fixed",
        )
        return GraphPESPotential(network, settings.short_range_repulsion)

"""PaiNN, the default student: scalar and vector messages, fast and accurate enough for dynamics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from distill.potentials.base import Architecture
from distill.potentials.settings import StudentSettings

if TYPE_CHECKING:
    from distill.potentials.interface.calculator import PotentialCalculator
    from distill.potentials.interface.potential import Potential


class PaiNNSettings(StudentSettings):
    """Settings of PaiNN; the default has 46 thousand parameters."""

    sizes: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "small": {"channels": 16, "layers": 2},
        "large": {"channels": 64, "layers": 4},
    }

    channels: int = Field(default=32, ge=1)
    """Scalars and vectors per atom."""
    layers: int = Field(default=3, ge=1)
    """Rounds of message passing."""
    radial_features: int = Field(default=20, ge=1)
    """Functions that a distance is expanded into."""


class PaiNN(Architecture):
    """The polarizable atom interaction network of Schütt, Unke and Gastegger."""

    name = "painn"
    role = "student"
    reference = "K. T. Schütt, O. T. Unke, M. Gastegger, arXiv:2102.03150 (2021)"
    licence = "MIT"
    compiles = True
    Settings = PaiNNSettings

    @classmethod
    def network(cls, settings: PaiNNSettings) -> Potential:
        """Return an untrained PaiNN."""
        from distill.potentials.networks.painn import PaiNNPotential

        return PaiNNPotential(**settings.network_arguments(), short_range_repulsion=settings.short_range_repulsion)

    @classmethod
    def native_calculator(cls, potential: Potential) -> PotentialCalculator | None:
        """Return an ASE calculator in C++, or None where there can be none."""
        from distill.potentials.native.calculator import native_calculator

        return native_calculator(potential)

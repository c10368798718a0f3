"""TensorNet, a student whose messages are Cartesian tensors: slower than PaiNN, often more accurate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from distill.potentials.base import Architecture
from distill.potentials.settings import StudentSettings

if TYPE_CHECKING:
    from distill.potentials.interface.calculator import PotentialCalculator
    from distill.potentials.interface.potential import Potential


class TensorNetSettings(StudentSettings):
    """Settings of TensorNet."""

    sizes: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "small": {"channels": 16},
        "large": {"channels": 64, "layers": 2},
    }

    channels: int = Field(default=32, ge=1)
    """Tensors per atom."""
    layers: int = Field(default=1, ge=1)
    """Rounds of message passing."""
    radial_features: int = Field(default=16, ge=1)
    """Functions that a distance is expanded into."""


class TensorNet(Architecture):
    """TensorNet of Simeon and De Fabritiis, in the form that graph-pes has."""

    name = "tensornet"
    role = "student"
    reference = "G. Simeon, G. De Fabritiis, arXiv:2306.06482 (2023)"
    licence = "MIT"
    compiles = True
    Settings = TensorNetSettings

    @classmethod
    def network(cls, settings: TensorNetSettings) -> Potential:
        """Return an untrained TensorNet."""
        from distill.potentials.networks.tensornet import TensorNetPotential

        return TensorNetPotential(**settings.network_arguments(), short_range_repulsion=settings.short_range_repulsion)

    @classmethod
    def native_calculator(cls, potential: Potential) -> PotentialCalculator | None:
        """Return an ASE calculator in C++, or None where there can be none."""
        from distill.potentials.native.calculator import native_calculator

        return native_calculator(potential)

"""TensorNet, a student whose messages are Cartesian tensors: slower than PaiNN, often more accurate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from distill.potentials.base import Architecture, PotentialSettings

if TYPE_CHECKING:
    from distill.potentials.potential import Potential


class TensorNetSettings(PotentialSettings):
    """Settings of TensorNet."""

    cutoff: float = Field(default=5.0, gt=0)
    """Distance up to which atoms see each other directly, Å."""
    channels: int = Field(default=32, ge=1)
    """Tensors per atom."""
    layers: int = Field(default=1, ge=1)
    """Rounds of message passing."""
    radial_features: int = Field(default=16, ge=1)
    """Functions that a distance is expanded into."""
    core: bool = True
    """Whether nuclei repel each other at very short distances (Ziegler-Biersack-Littmark)."""


class TensorNet(Architecture):
    """TensorNet of Simeon and De Fabritiis, as graph-pes has it."""

    name = "tensornet"
    role = "student"
    reference = "G. Simeon, G. De Fabritiis, arXiv:2306.06482 (2023)"
    licence = "MIT"
    requires = ("graph-pes",)
    install = "pip install graph-pes"
    Settings = TensorNetSettings

    @classmethod
    def network(cls, settings: TensorNetSettings) -> Potential:
        """Return an untrained TensorNet."""
        from graph_pes.models.tensornet import TensorNet as Network

        from distill.potentials._graph_pes import GraphPESPotential

        network = Network(
            cutoff=settings.cutoff,
            channels=settings.channels,
            layers=settings.layers,
            radial_features=settings.radial_features,
        )
        return GraphPESPotential(network, settings.core)

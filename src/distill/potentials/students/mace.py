"""MACE as a student: many-body messages from products of spherical tensors, trained from nothing.

Published MACE models, and files of the package, are teachers (:mod:`distill.potentials.teachers.mace`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from distill.potentials.base import Architecture
from distill.potentials.settings import OfElements

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential


class MACEStudentSettings(OfElements):
    """Settings of MACE as a student."""

    sizes: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "small": {"channels": 8, "l_max": 2, "degree": 0},
        "large": {"channels": 32, "l_max": 3},
    }

    channels: int = Field(default=16, ge=1)
    """Tensors of each degree per atom."""
    layers: int = Field(default=2, ge=1)
    """Rounds of message passing."""
    degree: int = Field(default=1, ge=0)
    """Highest degree of the tensors that an atom keeps."""
    l_max: int = Field(default=2, ge=0)
    """Highest degree of the spherical harmonics of an edge."""
    correlation: int = Field(default=3, ge=1)
    """Body order of a message minus one."""
    radial_features: int = Field(default=8, ge=1)
    """Bessel functions that a distance is expanded into."""


class MACEStudent(Architecture):
    """The network of Batatia and others, as graph-pes has it."""

    name = "mace-student"
    role = "student"
    arch = "mace"
    reference = "I. Batatia et al., NeurIPS 2022, arXiv:2206.07697"
    licence = "MIT"
    requires = ("graph-pes", "e3nn")
    install = "pip install graph-pes e3nn"
    Settings = MACEStudentSettings

    @classmethod
    def network(cls, settings: MACEStudentSettings) -> Potential:
        """Return an untrained MACE; raises :class:`UserError` where the settings name no elements."""
        from graph_pes.models.e3nn.mace import MACE as Network

        from distill.potentials.networks.graph_pes import GraphPESPotential, elements_of

        network = Network(
            elements=elements_of(settings),
            cutoff=settings.cutoff,
            n_radial=settings.radial_features,
            channels=settings.channels,
            hidden_irreps=[f"{degree}{'oe'[degree % 2 == 0]}" for degree in range(settings.degree + 1)],
            l_max=settings.l_max,
            layers=settings.layers,
            correlation=settings.correlation,
        )
        return GraphPESPotential(network, settings.short_range_repulsion)

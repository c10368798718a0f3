"""Orb, versions 2 and 3: fast networks without built-in symmetry, with direct or conservative forces.

The network is our own (:mod:`distill.potentials.networks.orb`) and only the published weights are downloaded,
by a loader that runs no code: the package ``orb-models`` is not needed. The *direct* models predict forces and stress
with heads of their own: generation does well with them, dynamics may drift in energy. The *conservative* ones
differentiate their energy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from distill.potentials.base import MATERIALS_PROJECT, OwnSettings, TeacherSource
from distill.potentials.settings import PotentialSettings
from distill.potentials.teachers.weights import Weights, fetch

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential

BUCKET = "https://orbitalmaterials-public-models.s3.us-west-1.amazonaws.com/forcefields/"
LICENCE = "Apache-2.0"
OMAT = "PBE and PBE+U (OMat24)"
MPA = "PBE and PBE+U (MPtrj and Alexandria)"
MPA_D3 = f"{MPA} with D3 dispersion"


class OrbSettings(PotentialSettings):
    """Sizes of the network; the defaults are a tiny network without weights."""

    width: int = Field(default=16, ge=1)
    """Features of an atom and of an edge."""
    hidden: int = Field(default=16, ge=1)
    """Width of the hidden layers of the network."""
    head: int = Field(default=16, ge=1)
    """Width of the hidden layer of the heads."""
    layers: int = Field(default=2, ge=1)
    """Interactions between atoms and edges."""


class _Orb(OwnSettings):
    """What all Orb models share; of ``conservative`` ones the forces are the gradient of the energy."""

    role = "teacher"
    licence = LICENCE
    elements = MATERIALS_PROJECT
    Settings = OrbSettings
    conservative: ClassVar[bool] = True
    version: ClassVar[int]
    neighbours: ClassVar[int]
    published: ClassVar[OrbSettings]
    weights: ClassVar[Weights]

    @classmethod
    def network(cls, settings: Any) -> Potential:
        """Return Orb without its weights."""
        from distill.potentials.networks.orb import OrbNetwork, OrbPotential
        from distill.potentials.networks.orb_direct import OrbDirect

        network = OrbNetwork(cls.version, settings.width, settings.hidden, settings.layers)
        kind = OrbPotential if cls.conservative else OrbDirect
        return kind(network, settings.head, neighbours=cls.neighbours, elements=cls.elements)

    @classmethod
    def open(cls, source: TeacherSource, seed: int) -> Potential:
        """Return the published model, downloaded on first use.

        Raises:
            UserError: the file is not the published one.
            WorkError: it cannot be downloaded.
        """
        from distill.potentials.published.orb import read_weights

        path = fetch(cls.weights)
        potential = cls.create(cls.published, seed)
        read_weights(potential, path)
        potential.origin = cls.weights.origin()
        return potential


class _OrbV3(_Orb):
    """Version 3: five interactions, edges as products of radial functions and spherical harmonics."""

    reference = "B. Rhodes et al., arXiv:2504.06231 (2025)"
    version = 3
    published = OrbSettings(width=256, hidden=1024, head=256, layers=5)


class OrbV3Conservative20OMat(_OrbV3):
    """Orb v3, conservative, 20 neighbours, fitted to OMat24."""

    name = "orb-v3-conservative-20-omat"
    level_of_theory = OMAT
    parameters = 24_115_979
    neighbours = 20
    weights = Weights(f"{BUCKET}orb-v3/orb-v3-conservative-20-omat-20250404.ckpt", LICENCE, OMAT)


class OrbV3ConservativeInfOMat(OrbV3Conservative20OMat):
    """Orb v3, conservative, all neighbours within 6 Å (120 at most), fitted to OMat24."""

    name = "orb-v3-conservative-inf-omat"
    neighbours = 120
    weights = Weights(f"{BUCKET}orb-v3/orb-v3-conservative-inf-omat-20250404.ckpt", LICENCE, OMAT)


class OrbV3Conservative20MPA(OrbV3Conservative20OMat):
    """Orb v3, conservative, 20 neighbours, fitted to MPtrj and Alexandria."""

    name = "orb-v3-conservative-20-mpa"
    level_of_theory = MPA
    weights = Weights(f"{BUCKET}orb-v3/orb-v3-conservative-20-mpa-20250404.ckpt", LICENCE, MPA)


class OrbV3ConservativeInfMPA(OrbV3Conservative20MPA):
    """Orb v3, conservative, all neighbours within 6 Å (120 at most), fitted to MPtrj and Alexandria."""

    name = "orb-v3-conservative-inf-mpa"
    neighbours = 120
    weights = Weights(f"{BUCKET}orb-v3/orb-v3-conservative-inf-mpa-20250404.ckpt", LICENCE, MPA)


class OrbV3Direct20OMat(_OrbV3):
    """Orb v3, direct, 20 neighbours, fitted to OMat24: its forces are not the gradient of its energy."""

    name = "orb-v3-direct-20-omat"
    level_of_theory = OMAT
    parameters = 24_249_876
    conservative = False
    neighbours = 20
    weights = Weights(f"{BUCKET}orb-v3/orb-v3-direct-20-omat-20250404.ckpt", LICENCE, OMAT)


class OrbV3DirectInfOMat(OrbV3Direct20OMat):
    """Orb v3, direct, all neighbours within 6 Å (120 at most), fitted to OMat24."""

    name = "orb-v3-direct-inf-omat"
    neighbours = 120
    weights = Weights(f"{BUCKET}orb-v3/orb-v3-direct-inf-omat-20250404.ckpt", LICENCE, OMAT)


class OrbV3Direct20MPA(OrbV3Direct20OMat):
    """Orb v3, direct, 20 neighbours, fitted to MPtrj and Alexandria."""

    name = "orb-v3-direct-20-mpa"
    level_of_theory = MPA
    weights = Weights(f"{BUCKET}orb-v3/orb-v3-direct-20-mpa-20250404.ckpt", LICENCE, MPA)


class OrbV3DirectInfMPA(OrbV3Direct20MPA):
    """Orb v3, direct, all neighbours within 6 Å (120 at most), fitted to MPtrj and Alexandria."""

    name = "orb-v3-direct-inf-mpa"
    neighbours = 120
    weights = Weights(f"{BUCKET}orb-v3/orb-v3-direct-inf-mpa-20250404.ckpt", LICENCE, MPA)


class OrbV2(_Orb):
    """Orb v2, direct, 20 neighbours, fifteen interactions, fitted to MPtrj and Alexandria."""

    name = "orb-v2"
    reference = "M. Neumann et al., arXiv:2410.22570 (2024)"
    level_of_theory = MPA
    parameters = 24_817_704
    conservative = False
    version = 2
    neighbours = 20
    published = OrbSettings(width=256, hidden=512, head=256, layers=15)
    weights = Weights(f"{BUCKET}orb-v2-20241011.ckpt", LICENCE, MPA)


class OrbD3V2(OrbV2):
    """Orb v2 fitted to energies with D3 dispersion."""

    name = "orb-d3-v2"
    level_of_theory = MPA_D3
    weights = Weights(f"{BUCKET}orb-d3-v2-20241011.ckpt", LICENCE, MPA_D3)

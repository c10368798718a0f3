"""MatterSim v1, an M3GNet fitted to materials under wide ranges of temperature and pressure.

The network is our own (:mod:`distill.potentials.networks.mattersim`) and only the published weights are
downloaded, by a loader that runs no code: the package ``mattersim``, whose requirements contradict those of
``mace-torch``, is not needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from distill.potentials.base import MATERIALS_PROJECT, OwnSettings, TeacherSource
from distill.potentials.settings import PotentialSettings
from distill.potentials.teachers.weights import Weights, fetch

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential

FOLDER = "https://raw.githubusercontent.com/microsoft/mattersim/main/pretrained_models/"
THEORY = "PBE and PBE+U (Materials Project settings)"


class MatterSimSettings(PotentialSettings):
    """Sizes of the network; the defaults are a tiny network without weights."""

    width: int = Field(default=8, ge=1)
    """Features of an atom and of an edge."""
    blocks: int = Field(default=2, ge=1)
    """Rounds of message passing."""
    cutoff: float = Field(default=5.0, gt=0)
    """Distance up to which atoms see each other, Å."""
    angle_cutoff: float = Field(default=4.0, gt=0)
    """Length of the longest bonds that make angles, Å."""


class MatterSim1M(OwnSettings):
    """MatterSim v1.0.0, the smaller model: three blocks of 128 features.

    Its tables reach to plutonium; as known count the 89 elements of the Materials Project, whose settings its training
    data follow.
    """

    name = "mattersim-v1.0.0-1m"
    role = "teacher"
    reference = "H. Yang et al., arXiv:2405.04967 (2024)"
    licence = "MIT"
    elements = MATERIALS_PROJECT
    level_of_theory = THEORY
    parameters = 890_034
    Settings = MatterSimSettings
    weights: ClassVar[Weights] = Weights(f"{FOLDER}mattersim-v1.0.0-1M.pth", licence, THEORY)

    @classmethod
    def network(cls, settings: Any) -> Potential:
        """Return MatterSim without its weights."""
        from distill.potentials.networks.mattersim import M3GNet, MatterSimPotential

        network = M3GNet(settings.width, settings.blocks, settings.cutoff, settings.angle_cutoff)
        return MatterSimPotential(network, settings.cutoff, cls.elements or ())

    @classmethod
    def open(cls, source: TeacherSource, seed: int) -> Potential:
        """Return the published model, downloaded on first use; its sizes are those in the file.

        Raises:
            UserError: the file is not the published one.
            WorkError: it cannot be downloaded.
        """
        from distill.potentials.published.mattersim import fill, read_checkpoint

        path = fetch(cls.weights)
        arguments, published = read_checkpoint(path, cls.name)
        settings = MatterSimSettings(
            width=arguments["units"],
            blocks=arguments["num_blocks"],
            cutoff=float(arguments["cutoff"]),
            angle_cutoff=float(arguments["threebody_cutoff"]),
        )
        potential = cls.create(settings, seed)
        fill(potential, published, path)
        potential.origin = cls.weights.origin()
        return potential


class MatterSim5M(MatterSim1M):
    """MatterSim v1.0.0, the larger and more accurate model: four blocks of 256 features."""

    name = "mattersim-v1.0.0-5m"
    parameters = 4_548_930
    weights = Weights(f"{FOLDER}mattersim-v1.0.0-5M.pth", "MIT", THEORY)

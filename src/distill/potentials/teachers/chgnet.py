"""CHGNet, a teacher whose weights come with its package, which is slow to import and never is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distill.potentials.base import MATERIALS_PROJECT
from distill.potentials.settings import PotentialSettings
from distill.potentials.teachers.packaged import PackagedWeights

if TYPE_CHECKING:
    from torch import Tensor

    from distill.potentials.interface.potential import Potential


class CHGNet03(PackagedWeights):
    """CHGNet 0.3.0, fitted to the relaxations of the Materials Project (MPtrj).

    Its tables reach to plutonium, but those relaxations hold no Po, At, Rn, Fr and Ra: it knows 89 elements.
    """

    name = "chgnet-0.3"
    role = "teacher"
    reference = "B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023)"
    licence = "BSD-3-Clause-LBNL"
    elements = MATERIALS_PROJECT
    level_of_theory = "PBE and PBE+U (Materials Project)"
    requires = ("chgnet",)
    install = "pip install chgnet"
    upgrade = "pip install 'chgnet>=0.4.2'"
    parameters = 412_525
    weights = "pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar"

    @classmethod
    def network(cls, settings: PotentialSettings) -> Potential:
        """Return CHGNet without its weights."""
        from distill.potentials.networks.chgnet import CHGNetPotential

        return CHGNetPotential(cls.elements)

    @classmethod
    def state(cls, published: dict[str, Any]) -> dict[str, Tensor]:
        """Return the published weights under our names."""
        from distill.potentials.published.chgnet import convert

        return convert(published["model"]["state_dict"])


class CHGNetR2SCAN(CHGNet03):
    """CHGNet transferred to the r²SCAN functional."""

    name = "chgnet-r2scan"
    reference = (
        "Cross-functional transferability in foundation machine learning interatomic potentials, npj Comput. Mater."
    )
    level_of_theory = "r2SCAN (MP-r2SCAN)"
    weights = "pretrained/r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar"

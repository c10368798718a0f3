"""CHGNet, the teacher whose weights come with its package: nothing is downloaded.

Only the weights are taken from the installed package ``chgnet``, by a loader that runs no code; the network is
:mod:`distill.potentials.networks.chgnet`, so that the package itself, slow to import, is never imported.
"""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from distill.base.errors import UserError
from distill.base.files import hash_file
from distill.potentials.base import MATERIALS_PROJECT, Architecture
from distill.potentials.settings import PotentialSettings

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential


class CHGNet03(Architecture):
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
    parameters = 412_525
    weights: ClassVar[str] = "pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar"

    @classmethod
    def network(cls, settings: PotentialSettings) -> Potential:
        """Return CHGNet without its weights."""
        from distill.potentials.networks.chgnet import CHGNetPotential

        return CHGNetPotential(cls.elements)

    @classmethod
    def load_pretrained(cls, potential: Potential) -> None:
        """Fill in the weights of the installed package.

        Raises:
            UserError: the installed package has no such weights.
        """
        import torch

        from distill.potentials.published.chgnet import convert

        path = package_folder() / cls.weights
        if not path.exists():
            raise UserError(
                f"the installed chgnet {version('chgnet')} has no file {cls.weights}",
                where=f"potential {cls.name}",
                remedy="Run: pip install 'chgnet>=0.4.2'",
            )
        published = torch.load(path, map_location="cpu", weights_only=True)["model"]["state_dict"]
        potential.get_submodule("network").load_state_dict(convert(published), strict=True)
        potential.origin = {
            "weights": f"chgnet {version('chgnet')}: {cls.weights}",
            "sha256": hash_file(path),
            "licence": cls.licence,
            "level_of_theory": cls.level_of_theory,
        }


class CHGNetR2SCAN(CHGNet03):
    """CHGNet transferred to the r²SCAN functional."""

    name = "chgnet-r2scan"
    reference = (
        "Cross-functional transferability in foundation machine learning interatomic potentials, npj Comput. Mater."
    )
    level_of_theory = "r2SCAN (MP-r2SCAN)"
    weights = "pretrained/r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar"


def package_folder() -> Path:
    """Return where the package ``chgnet`` is installed, without importing it."""
    spec = find_spec("chgnet")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("the package 'chgnet' cannot be found", remedy=f"Run: {CHGNet03.install}")
    return Path(next(iter(spec.submodule_search_locations)))

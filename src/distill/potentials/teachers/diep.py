"""DIEP, a teacher whose weights come with its package, which is never imported: it wants PyTorch Geometric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distill.potentials.base import MATERIALS_PROJECT
from distill.potentials.settings import PotentialSettings
from distill.potentials.teachers.packaged import PackagedWeights

if TYPE_CHECKING:
    from torch import Tensor

    from distill.potentials.interface.potential import Potential


class DIEP20(PackagedWeights):
    """DIEP 2.0, fitted to MatPES at the r²SCAN level (the fold that is published)."""

    name = "diep-2.0"
    role = "teacher"
    reference = "S. A. Tawfik et al., Digital Discovery 3 (2024); A. D. Kaplan et al., arXiv:2503.04070 (MatPES)"
    licence = "BSD-3-Clause"
    elements = MATERIALS_PROJECT
    level_of_theory = "r2SCAN (MatPES)"
    requires = ("diep",)
    install = "pip install diep"
    upgrade = "pip install 'diep>=2.0.0'"
    parameters = 403_181
    weights = "pretrained_models/diep_fold1/state.pt"

    @classmethod
    def network(cls, settings: PotentialSettings) -> Potential:
        """Return DIEP without its weights."""
        from distill.potentials.networks.diep import DIEPPotential

        return DIEPPotential(cls.elements)

    @classmethod
    def state(cls, published: dict[str, Any]) -> dict[str, Tensor]:
        """Return the published weights under our names."""
        from distill.potentials.published.diep import convert

        return convert(published)

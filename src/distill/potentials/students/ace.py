"""The atomic cluster expansion as pacemaker fits it: the fastest of the students.

An expansion in products of radial functions and spherical harmonics of the neighbours, up to some order, whose sums
over functions, the densities, are embedded as in the potentials of Finnis and Sinclair. The packages that fit and
evaluate it run in a process of their own (:mod:`distill.potentials.workers.ace`), because one of them brings
TensorFlow.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.base.consent import Consent
from distill.base.errors import UserError
from distill.potentials.base import Architecture
from distill.potentials.settings import PotentialSettings
from distill.potentials.settings.ace import ACESettings
from distill.potentials.workers.environments import allowed, interpreter

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential

PINNED = ("python-ace==0.4.0rc1", "tensorpotential==0.6.2.1", "tf_keras==2.20.1", "'numpy<2.4'", "'pandas<3'")
"""What is installed into an interpreter of its own: the versions that work together."""

VERSION = "from importlib.metadata import version; version"
"""What another interpreter runs to say whether it has a package."""


class ACE(Architecture):
    """The atomic cluster expansion of Drautz, fitted by pacemaker and evaluated by its C++ library."""

    name = "ace"
    role = "student"
    reference = "R. Drautz, Phys. Rev. B 99, 014104 (2019); A. Bochkarev et al., Phys. Rev. Mater. 6, 013804 (2022)"
    licence = "academic (non-commercial use of the packages python-ace and tensorpotential)"
    requires = ("python-ace", "tensorpotential")
    install = "pip install 'mlip-distill[ace]'"
    trainer = "pacemaker"
    Settings = ACESettings

    @classmethod
    def network(cls, settings: ACESettings) -> Potential:
        """Return an expansion with small random coefficients."""
        import torch

        from distill.potentials.workers.ace_potential import ACEPotential

        return ACEPotential(settings, seed=int(torch.randint(2**31, ())))

    @classmethod
    def restore(cls, settings: PotentialSettings, folder: Path, consent: Consent) -> Potential:
        """Return the expansion that was saved in ``folder``; it runs here unless somebody names another interpreter."""
        from distill.potentials.workers.ace_potential import FILES

        environment = allowed(consent, cls, getattr(settings, "environment", None))
        potential = cls.create(settings.model_copy(update={"environment": environment}))
        potential.attachments = {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}
        return potential

    @classmethod
    def check_here(cls, settings: PotentialSettings) -> None:
        """Raise :class:`UserError` where its packages are missing, unless another interpreter has them."""
        if not getattr(settings, "environment", None):
            cls.check_installed()

    @classmethod
    def check_ready(cls, settings: Mapping[str, Any]) -> None:
        """Raise :class:`UserError` with the command to run where a package is missing in the interpreter to use."""
        environment = settings.get("environment")
        if not environment:
            cls.check_installed()
            return
        python = interpreter(environment, cls)
        for distribution in (*cls.requires, "msgpack"):
            found = subprocess.run([python, "-c", f"{VERSION}({distribution!r})"], capture_output=True, check=False)
            if found.returncode:
                what = f"the package {distribution!r} is not installed in {python}"
                raise UserError(
                    what, f"potential {cls.name}", f"Run: {python} -m pip install {' '.join(PINNED)} msgpack"
                )

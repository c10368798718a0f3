"""Teachers whose weights come inside an installed package: nothing is downloaded.

Only the weights are taken from the package, by a loader that runs no code; the networks are ours, so that the packages
themselves, slow to import, are never imported.
"""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from distill.base.errors import UserError
from distill.base.files import hash_file
from distill.potentials.base import Architecture

if TYPE_CHECKING:
    from torch import Tensor

    from distill.potentials.interface.potential import Potential


class PackagedWeights(Architecture):
    """A teacher with the weights of the first package that it requires.

    Class attributes:
        weights: the file, relative to the folder of the package.
        upgrade: the command to run where the installed package has no such file.
    """

    weights: ClassVar[str]
    upgrade: ClassVar[str]

    @classmethod
    def state(cls, published: dict[str, Any]) -> dict[str, Tensor]:
        """Return the weights of our network from the content of the file, ``published``."""
        raise NotImplementedError

    @classmethod
    def load_pretrained(cls, potential: Potential) -> None:
        """Fill in the weights of the installed package.

        Raises:
            UserError: the installed package has no such weights.
        """
        from distill.potentials.interface.tensors import read_tensors

        package = cls.requires[0]
        path = package_folder(package, cls.install) / cls.weights
        if not path.exists():
            raise UserError(
                f"the installed {package} {version(package)} has no file {cls.weights}",
                where=f"potential {cls.name}",
                remedy=f"Run: {cls.upgrade}",
            )
        published = read_tensors(path)
        potential.get_submodule("network").load_state_dict(cls.state(published), strict=True)
        potential.origin = {
            "weights": f"{package} {version(package)}: {cls.weights}",
            "sha256": hash_file(path),
            "licence": cls.licence,
            "level_of_theory": cls.level_of_theory,
        }


def package_folder(package: str, install: str) -> Path:
    """Return where a package is installed, without importing it; raises UserError where it is not."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"the package {package!r} cannot be found", remedy=f"Run: {install}")
    return Path(next(iter(spec.submodule_search_locations)))

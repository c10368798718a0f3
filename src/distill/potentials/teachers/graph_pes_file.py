"""Any model that graph-pes saved, named by the user as ``graph-pes:<file>``.

Such a file is a pickle of the whole network, and nothing else describes that network. It is therefore loaded only where
the user named it. A copy lies beside the weights that are saved: whoever opens that folder has to trust it, or to name
a file of the same content, as the recipe does that made it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distill.base.consent import Consent, refused
from distill.base.errors import UserError
from distill.base.files import hash_file
from distill.potentials.base import Architecture, TeacherSource, needs_argument
from distill.potentials.settings import PotentialSettings

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential


COPY = "network.pt"
"""Name of the copy of the user's file."""


class GraphPESFileSettings(PotentialSettings):
    """Which file the network is in; its trained weights are saved apart from it."""

    sha256: str = ""
    """SHA-256 of the file; another content is not loaded."""


class GraphPESFile(Architecture):
    """A model that graph-pes saved (``model.pt``); its derivatives are taken here."""

    name = "graph-pes"
    role = "teacher"
    reference = "J. L. A. Gardner, graph-pes, https://github.com/jla-gardner/graph-pes"
    licence = "as the file"
    level_of_theory = "as the file"
    requires = ("graph-pes",)
    install = "pip install graph-pes"
    argument = "file"
    Settings = GraphPESFileSettings

    @classmethod
    def network(cls, settings: GraphPESFileSettings) -> Potential:
        """There is no network without a file."""
        raise needs_argument(cls)

    @classmethod
    def open(cls, source: TeacherSource, seed: int) -> Potential:
        """Return the model in the file that the user named, which is a pickle: it may run code."""
        file = source.existing_file()
        sha256 = hash_file(file)
        potential = cls._read(file, sha256)
        potential.origin = {
            "weights": str(file),
            "sha256": sha256,
            "licence": cls.licence,
            "level_of_theory": cls.level_of_theory,
        }
        return potential

    @classmethod
    def restore(cls, settings: PotentialSettings, folder: Path, consent: Consent) -> Potential:
        """Return the network in the copy of the file.

        Raises:
            UserError: the copy is missing, is not that of the file, or is not trusted.
        """
        path, sha256 = folder / COPY, getattr(settings, "sha256", "")
        if not path.is_file() or hash_file(path) != sha256:
            raise UserError("it is missing or has changed", where=str(path), remedy="Make the potential again")
        named = path if consent.trust_code else consent.named_file(cls.name, "", sha256)
        if named is None:
            raise refused(f"the pickle {COPY}", folder)
        return cls._read(named, sha256)

    @classmethod
    def _read(cls, path: Path, sha256: str) -> Potential:
        from distill.potentials.published.graph_pes import read_model

        potential = read_model(path)
        potential.architecture = cls.name
        potential.settings = GraphPESFileSettings(sha256=sha256)
        potential.attachments = {COPY: path.read_bytes()}
        return potential.eval()

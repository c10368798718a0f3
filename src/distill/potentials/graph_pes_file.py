"""Any model that graph-pes saved, named by the user as ``graph-pes:<file>``.

Such a file is a pickle of the whole network, and nothing else describes that network. It is therefore loaded only where
the user named it, and from a copy beside the weights that are saved, whose SHA-256 must be that of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distill.base.errors import UserError
from distill.base.files import hash_file
from distill.potentials.base import Architecture, PotentialSettings, Source

if TYPE_CHECKING:
    from distill.potentials.potential import Potential


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
        raise UserError(f"{cls.name} needs a file", where="teacher.model", remedy=f"Write {cls.name}:<file>")

    @classmethod
    def open(cls, source: Source, seed: int) -> Potential:
        """Return the model in the file that the user named, which is a pickle: it may run code."""
        if source.file is None or not source.file.is_file():
            where = "teacher.model" if source.file is None else str(source.file)
            raise UserError("there is no such file", where=where, remedy=f"Write {cls.name}:<file>")
        potential = cls._read(source.file)
        potential.origin = {
            "weights": str(source.file),
            "sha256": hash_file(source.file),
            "licence": cls.licence,
            "level_of_theory": cls.level_of_theory,
        }
        return potential

    @classmethod
    def restore(cls, settings: PotentialSettings, folder: Path) -> Potential:
        """Return the network in the copy of the file.

        Raises:
            UserError: the copy is missing or is not that of the file.
        """
        path = folder / COPY
        if not path.is_file() or hash_file(path) != getattr(settings, "sha256", ""):
            raise UserError("it is missing or has changed", where=str(path), remedy="Make the potential again")
        return cls._read(path)

    @classmethod
    def _read(cls, path: Path) -> Potential:
        from distill.potentials._graph_pes_file import read_model

        potential = read_model(path)
        potential.architecture = cls.name
        potential.settings = GraphPESFileSettings(sha256=hash_file(path))
        potential.attachments = {COPY: path.read_bytes()}
        return potential.eval()

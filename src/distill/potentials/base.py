"""A row of the table of potentials: what an architecture is, its settings, and how to build it.

Nothing here imports torch until something is built, so that a recipe is validated and a table printed at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from distill.base.consent import Code, Consent
from distill.base.errors import UserError, nearest
from distill.potentials import POTENTIALS, names
from distill.potentials.settings import OfElements, PotentialSettings

if TYPE_CHECKING:
    from distill.potentials.interface.calculator import PotentialCalculator
    from distill.potentials.interface.potential import Potential
MATERIALS_PROJECT = (*range(1, 84), *range(89, 95))
"""Atomic numbers that occur in the relaxations of the Materials Project: no Po, At, Rn, Fr, Ra, none beyond Pu."""


class Architecture:
    """One architecture. Subclasses declare it and write :meth:`network`; teachers also :meth:`load_pretrained`.

    Class attributes:
        name: its name in the table.
        role: ``"teacher"`` (comes with weights) or ``"student"`` (comes untrained).
        arch: a student's name in a recipe where the table has a teacher of that name; otherwise that of the row.
        reference: the publication to cite.
        licence: of the weights where there are any, otherwise of the code.
        elements: atomic numbers that it knows; None for all.
        level_of_theory: what pretrained weights were fitted to; empty for students.
        requires: names of the distributions that it needs.
        install: the command that installs them.
        argument: what follows the name and a colon in ``teacher.model``: ``"file"`` (``mace:my.model``), ``"function"``
            (``ase:module:function``) or nothing.
        weights: where pretrained weights are: a ``Weights`` that is downloaded, a path in its package, or None.
        parameters: how many parameters pretrained weights have; None where that depends on a file or the settings.
        trains: whether it can be fitted; others label and generate.
        fits_elsewhere: whether it can be fitted in an interpreter of its own: ``workers/networks.py`` has an adapter.
        compiles: whether its network can be compiled; it then reads nothing but what ``Student.network_energies`` is
            given.
        trainer: what fits it: ``"gradient"`` (any network that can be differentiated) or ``"pacemaker"``.
        own_environment: whether its packages conflict with ours, so that it runs in an interpreter of its own.
        packages: what to install into such an interpreter, besides what the worker needs; ``requires`` if empty.
        folder: the name of the folder that such an interpreter is made in; that of the row if empty.
        same_torch: whether it works with the version of torch that is installed here; others choose their own.
        Settings: its settings.
    """

    name: ClassVar[str]
    role: ClassVar[str]
    arch: ClassVar[str] = ""
    reference: ClassVar[str]
    licence: ClassVar[str]
    elements: ClassVar[tuple[int, ...] | None] = None
    level_of_theory: ClassVar[str] = ""
    requires: ClassVar[tuple[str, ...]] = ()
    install: ClassVar[str] = ""
    argument: ClassVar[str] = ""
    weights: ClassVar[Any] = None
    parameters: ClassVar[int | None] = None
    trains: ClassVar[bool] = True
    fits_elsewhere: ClassVar[bool] = False
    compiles: ClassVar[bool] = False
    trainer: ClassVar[str] = "gradient"
    own_environment: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ()
    folder: ClassVar[str] = ""
    same_torch: ClassVar[bool] = True
    Settings: ClassVar[type[PotentialSettings]] = PotentialSettings

    @classmethod
    def network(cls, settings: Any) -> Potential:
        """Return the potential with untrained weights, drawn from torch's global random state."""
        raise NotImplementedError

    @classmethod
    def load_pretrained(cls, potential: Potential) -> None:
        """Fill in published weights and say in ``potential.origin`` where they are from; students have none."""

    @classmethod
    def create(cls, settings: PotentialSettings, seed: int = 0) -> Potential:
        """Return the untrained potential; equal seeds give equal weights and the global random state is untouched.

        Raises:
            UserError: a package that it needs is not installed.
        """
        cls.check_here(settings)
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            potential = cls.network(settings)
        potential.architecture = cls.name
        potential.settings = settings
        return potential.eval()

    @classmethod
    def build(cls, settings: PotentialSettings, seed: int) -> Potential:
        """Return the potential to start from: pretrained for a teacher, freshly drawn for a student."""
        potential = cls.create(settings, seed)
        cls.load_pretrained(potential)
        return potential

    @classmethod
    def for_data(cls, settings: Any, arch: str, symbols: list[str]) -> Any:
        """Return the settings completed by what the recipe and the structures say.

        Args:
            settings: as the recipe has them.
            arch: the recipe's ``arch``, which may say more than the name of the row.
            symbols: the chemical symbols of the training structures.
        """
        if isinstance(settings, OfElements) and settings.elements is None:
            return settings.model_copy(update={"elements": symbols})
        return settings

    @classmethod
    def native_calculator(cls, potential: Potential) -> PotentialCalculator | None:
        """Return an ASE calculator of the potential that computes in C++; None where there is none."""
        return None

    @classmethod
    def open(cls, source: TeacherSource, seed: int) -> Potential:
        """Return the pretrained potential that a recipe names; rows that read a file or a function replace this."""
        return cls.build(cls.Settings(), seed)

    @classmethod
    def restore(cls, settings: PotentialSettings, folder: Path, consent: Consent) -> Potential:
        """Return the potential that was saved in ``folder``, before its weights are read from there.

        Rows that run code of a user's, another interpreter or a pickle replace this, and ask ``consent`` first.

        Raises:
            UserError: an interpreter is named for a potential that has no use for one.
        """
        if consent.environment is not None:
            raise UserError(f"{cls.name} runs in this interpreter", str(folder), "Leave the environment out")
        return cls.create(settings)

    @classmethod
    def check_installed(cls) -> None:
        """Raise :class:`UserError` with the command to run where a required package is missing."""
        for distribution in cls.requires:
            try:
                version(distribution)
            except PackageNotFoundError:
                raise UserError(
                    f"the package {distribution!r} is not installed",
                    where=f"potential {cls.name}",
                    remedy=f"Run: {cls.install}",
                ) from None

    @classmethod
    def check_here(cls, settings: PotentialSettings) -> None:
        """Raise :class:`UserError` where a package is missing that these settings need in this interpreter."""
        cls.check_installed()

    @classmethod
    def check_ready(cls, settings: Mapping[str, Any]) -> None:
        """Raise :class:`UserError` where what ``settings`` ask for, as a recipe has them, cannot be made here."""
        cls.check_installed()


class OwnSettings(Architecture):
    """A teacher whose file says how large its network is; subclasses write :meth:`Architecture.open`."""

    @classmethod
    def build(cls, settings: PotentialSettings, seed: int) -> Potential:
        """Return the published model; ``settings`` give way to those that it brings."""
        return cls.open(TeacherSource(cls.name), seed)


@dataclass(frozen=True)
class TeacherSource:
    """A teacher as a recipe names it: its row in the table, and what the row has to be told.

    Attributes:
        model: its name in the table, for instance ``"chgnet-0.3"`` or ``"mace"``.
        file: the file that it is in, for ``mace``, ``graph-pes`` and for ``ase`` with a Python file.
        function: ``module:function`` of a calculator, or the function alone where ``file`` is a Python file.
        environment: the Python interpreter to run it in, or None for this one.
    """

    model: str
    file: Path | None = None
    function: str = ""
    environment: str | None = None

    @classmethod
    def named(cls, model: str, environment: str | None = None) -> TeacherSource:
        """Take apart what a recipe says: ``chgnet-0.3``, ``mace:my.model``, ``ase:my_calculators.py:make``.

        Raises:
            UserError: there is no such teacher, or what has to follow its name is missing or too much.
        """
        name, colon, argument = model.partition(":")
        row = cls(name).row
        if row.argument and colon and not argument:
            what = f"{model!r} names no {row.argument}"
            raise UserError(what, where="teacher.model", remedy=f"{name}:<{row.argument}>")
        if colon and not row.argument:
            raise UserError(f"nothing follows the name {name!r}", where="teacher.model", remedy=f"Write {name}")
        if row.argument == "file" and argument:
            return cls(name, Path(argument), environment=environment)
        file, _, function = argument.rpartition(":")
        if file.endswith(".py"):
            return cls(name, Path(file), function, environment)
        return cls(name, function=argument, environment=environment)

    @property
    def row(self) -> type[Architecture]:
        """Its row in the table; raises :class:`UserError` where there is no such teacher."""
        row: type[Architecture] | None = POTENTIALS.get(self.model) if self.model in POTENTIALS else None
        if row is None or row.role != "teacher":
            raise UserError(f"unknown teacher {self.model!r}", "teacher.model", nearest(self.model, names("teacher")))
        return row

    def code(self) -> tuple[Code, ...]:
        """Return what it runs of a user's, if anything: a function, a pickle, or another interpreter."""
        if not (self.row.argument or self.environment):
            return ()
        return (Code(self.model, self.function, str(self.file) if self.file else None, self.environment),)

    def check(self) -> None:
        """Refuse what cannot be opened because something is not named; nothing is opened or looked for.

        Raises:
            UserError: there is no such teacher, or its file, its function or its interpreter is missing.
        """
        row = self.row
        if row.argument and not (self.file if row.argument == "file" else self.function):
            raise needs_argument(row)
        if row.own_environment and not self.environment:
            what, remedy = "runs in an environment of its own", "Give its Python interpreter; distill doctor says how"
            raise UserError(f"{self.model} {what}", "teacher.environment", f"{remedy} to make one")

    def open(self, seed: int = 0) -> Potential:
        """Return the teacher with its published weights, on the CPU, in evaluation mode.

        Args:
            seed: for what is drawn at random, if anything.

        Raises:
            UserError: there is no such teacher, or a package, file or interpreter is missing or not what it should be.
            WorkError: weights cannot be downloaded.
        """
        self.check()
        row: type[Architecture] = POTENTIALS["ase"] if self.environment else self.row
        row.check_installed()
        return row.open(self, seed)

    def existing_file(self) -> Path:
        """Return the file that the user named; raises :class:`UserError` where there is none."""
        if self.file is None:
            raise needs_argument(self.row)
        if not self.file.is_file():
            raise UserError("there is no such file", str(self.file), "Correct teacher.model")
        return self.file


def needs_argument(row: type[Architecture]) -> UserError:
    """Return the error of a teacher that is named without its file or function."""
    return UserError(f"{row.name} needs a {row.argument}", "teacher.model", f"Write {row.name}:<{row.argument}>")

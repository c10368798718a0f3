"""A row of the table of potentials: what an architecture is, its settings, and how to build it.

Nothing here imports torch until something is built, so that a recipe is validated and a table printed at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from distill.base.errors import UserError
from distill.potentials.settings import OfElements, PotentialSettings

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential
MATERIALS_PROJECT = (*range(1, 84), *range(89, 95))
"""Atomic numbers that occur in the relaxations of the Materials Project: no Po, At, Rn, Fr, Ra, none beyond Pu."""


@dataclass(frozen=True)
class Source:
    """Where a teacher comes from, besides its row.

    Attributes:
        model: its name in the recipe.
        file: the file that the user named, or None.
        function: ``module:function`` of a calculator, or the function alone where ``file`` is a Python file.
        environment: the Python interpreter to run it in, or None for this one.
    """

    model: str
    file: Path | None = None
    function: str = ""
    environment: str | None = None

    def named_file(self, remedy: str) -> Path:
        """Return the file that the user named; raises :class:`UserError` with ``remedy`` where there is none."""
        if self.file is None or not self.file.is_file():
            raise UserError("there is no such file", str(self.file) if self.file else "teacher.model", remedy)
        return self.file


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
        trains: whether it can be fitted here; others label and generate.
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
        cls.check_installed()
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
    def open(cls, source: Source, seed: int) -> Potential:
        """Return the pretrained potential that a recipe names; rows that read a file or a function replace this."""
        return cls.build(cls.Settings(), seed)

    @classmethod
    def restore(cls, settings: PotentialSettings, folder: Path) -> Potential:
        """Return the potential that was saved in ``folder``, before its weights are read from there."""
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
    def check_ready(cls, settings: Mapping[str, Any]) -> None:
        """Raise :class:`UserError` where what ``settings`` ask for, as a recipe has them, cannot be made here."""
        cls.check_installed()


class OwnSettings(Architecture):
    """A teacher whose file says how large its network is; subclasses write :meth:`Architecture.open`."""

    @classmethod
    def build(cls, settings: PotentialSettings, seed: int) -> Potential:
        """Return the published model; ``settings`` give way to those that it brings."""
        return cls.open(Source(cls.name), seed)

"""A session in a process of its own, for programs that take over the one they run in: its output, signals or MPI."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.base.errors import WorkError

if TYPE_CHECKING:
    from ase import Atoms

    from distill.base.arrays import Array
    from distill.exporting.certificate import Evaluated


class Apart:
    """What a session says that is made, for each question, in a new process.

    Args:
        session: its class, as ``module:name``.
        arguments: what it is made with.
    """

    def __init__(self, session: str, *arguments: Any) -> None:
        self.session = session
        self.arguments = arguments

    def evaluate(self, structures: Sequence[Atoms]) -> Sequence[Evaluated]:
        """Return what the program says of structures."""
        found: Sequence[Evaluated] = self._asked("evaluate", list(structures))
        return found

    def constant_energy(self, atoms: Atoms) -> tuple[Array, Array]:
        """Return total and potential energy in dynamics, ``[steps + 1]`` eV each."""
        energies: tuple[Array, Array] = self._asked("constant_energy", atoms)
        return energies

    def _asked(self, question: str, about: Any) -> Any:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                return pool.submit(_answer, self.session, self.arguments, question, about).result()
            except BrokenProcessPool as error:
                raise WorkError("the program ended the process that it ran in", self.session) from error


def _answer(session: str, arguments: tuple[Path, ...], question: str, about: Any) -> Any:
    module, _, name = session.partition(":")
    return getattr(getattr(import_module(module), name)(*arguments), question)(about)

"""Potentials whose numbers come from elsewhere: they predict, but cannot be differentiated or fitted by gradients."""

from __future__ import annotations

from typing import ClassVar, NoReturn, Protocol

import numpy as np
import torch
from torch import Tensor

from distill.base.arrays import Array
from distill.base.errors import DistillError, UserError, WorkError
from distill.potentials.interface.batch import Batch, Prediction
from distill.potentials.interface.batch_size import CPU_ATOMS, BatchSize
from distill.potentials.interface.calculator import PotentialCalculator
from distill.potentials.interface.dataset import Dataset
from distill.potentials.interface.potential import Potential
from distill.structures.frames import Frames
from distill.structures.guard import UnphysicalResult


class WorkerFailure(Protocol):
    """What another process says instead of an answer, see :class:`distill.potentials.workers.protocol.WorkerError`."""

    kind: str
    what: str
    remedy: str


class GradientFree(Potential):
    """Base of potentials without a network; a subclass writes :meth:`predict`.

    Class attributes:
        no_gradients: what to say, and what to do, where gradients are asked for.

    Args:
        cutoff: how far atoms see each other, Å; infinite where that is not known.
        elements: atomic numbers that it knows; None for all.
    """

    no_gradients: ClassVar[tuple[str, str]]

    def __init__(self, cutoff: float, *, elements: tuple[int, ...] | None) -> None:
        super().__init__(cutoff, elements=elements, learn_reference_energies=False)
        self._batches = BatchSize(CPU_ATOMS)

    @property
    def where(self) -> str:
        """What it is, for messages."""
        return f"potential {self.architecture}"

    @property
    def _batch_size(self) -> BatchSize:
        """Structures are evaluated one by one elsewhere: a batch only has to be large against a message."""
        return self._batches

    def sum_of_reference_energies(self, frames: Frames) -> Array:
        """Return the sum of the per-element energies of each structure, ``[B]`` eV."""
        per_atom = self.reference_energies.detach().cpu().numpy()[frames.numbers]
        return np.bincount(frames.structure_of_atom, weights=per_atom, minlength=len(frames))

    def _calculator(self) -> PotentialCalculator:
        """Return an ASE calculator that asks :meth:`predict`, reference energies included."""
        return GradientFreeCalculator(self)

    @property
    def predicts_atomic_energies(self) -> bool:
        """No: only the energies of structures are asked for."""
        return False

    def forward(self, batch: Batch, stress: bool = True) -> Prediction:
        """Refuse: there are no gradients."""
        self._refuse()

    def batch(self, frames: Frames, neighbours: tuple[Array, Array] | tuple[Tensor, Tensor] | None = None) -> Batch:
        """Refuse: there is no network to prepare structures for."""
        self._refuse()

    def prepare(self, frames: Frames, device: torch.device | str = "cpu") -> Dataset:
        """Refuse: there is no network to prepare structures for."""
        self._refuse()

    def error(self, failure: WorkerFailure, where: str | None = None) -> DistillError:
        """Return the error that the user sees, with the traceback of what refused as a note."""
        return failure_as_error(failure, where or self.where)

    def _refuse(self) -> NoReturn:
        what, remedy = self.no_gradients
        raise UserError(what, self.where, remedy)


def failure_as_error(failure: WorkerFailure, where: str) -> DistillError:
    """Return the error that the user sees, with the traceback of what refused as a note."""
    kinds: dict[str, type[DistillError]] = {"input": UserError, "result": UnphysicalResult}
    error = kinds.get(failure.kind, WorkError)(failure.what, where, failure.remedy or None)
    for note in getattr(failure, "__notes__", []):
        error.add_note(note)
    return error


def arrays(frames: Frames) -> dict[str, Array]:
    """Return the structures as they travel to another process."""
    return {name: getattr(frames, name) for name in ("n_atoms", "numbers", "positions", "cells", "pbc")}


class GradientFreeCalculator(PotentialCalculator):
    """The calculator of :class:`GradientFree`: one structure at a time, and no list of neighbours on this side."""

    potential: GradientFree

    def _predict(self, frames: Frames) -> tuple[Prediction, Tensor | None]:
        self.potential.check(frames)
        found = self.potential.predict(frames)
        is_known = found.stress is not None and bool(torch.isfinite(found.stress).all())
        return found if is_known else found._replace(stress=None), None

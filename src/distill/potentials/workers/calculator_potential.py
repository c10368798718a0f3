"""An ASE calculator, here or in another interpreter, as a potential that predicts but cannot be differentiated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch

from distill.base.errors import DistillError
from distill.potentials.interface.batch import Prediction
from distill.potentials.interface.gradient_free import GradientFree, arrays
from distill.potentials.workers import calculator as calculator_worker
from distill.potentials.workers.places import Place
from distill.potentials.workers.process import CalculatorWorker
from distill.potentials.workers.protocol import WorkerError
from distill.structures.frames import Frames
from distill.structures.periodic import anchored


class Engine(Protocol):
    """What evaluates batches for :class:`ExternalPotential`."""

    def open(self) -> dict[str, Any]:
        """Return ``versions`` and whether there is a ``stress``; opens the calculator if need be."""

    def evaluate(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``energy``, ``forces`` and ``stress`` of a batch as :func:`calculator_worker.evaluate` does."""


class Local:
    """A calculator in this process; copies open one of their own."""

    def __init__(self, model: str, file: str | None, function: str, device: str) -> None:
        self._source = (model, file, function, device)
        self._calculator: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._source

    def open(self) -> dict[str, Any]:
        """Return the versions of the packages that the calculator is made of, and whether it has a stress."""
        if self._calculator is None:
            self._calculator = calculator_worker.open_calculator(*self._source)
        return calculator_worker.facts(self._calculator)

    def evaluate(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the calculator gives, one structure after another."""
        return calculator_worker.evaluate(self._calculator, dict(batch))


class ExternalPotential(GradientFree):
    """A potential whose numbers come from an ASE calculator, in double precision, plus ``reference_energies``.

    How far its atoms see each other is not known: the cutoff is infinite, and nothing may list neighbours by it.

    Args:
        place: the model, and where it is.
        elements: atomic numbers that it knows; None for all.
        origin: licence and level of theory.
    """

    no_gradients = (
        "a calculator has no gradients: it labels and generates, but cannot be fitted",
        "Write null at teacher.finetune",
    )

    def __init__(self, place: Place, *, elements: tuple[int, ...] | None, origin: dict[str, str]) -> None:
        super().__init__(math.inf, elements=elements)
        self.place, self.origin = place, origin
        self._engines: dict[str, Engine] = {}

    @property
    def where(self) -> str:
        """The model, and its file or interpreter, for messages."""
        return self.place.where

    def engine(self) -> Engine:
        """Return what evaluates on the present device; one for another device is ended.

        Raises:
            UserError: file, function, interpreter or package is missing or not what it should be.
            WorkError: the model cannot be opened.
        """
        device = str(self.device)
        if device not in self._engines:
            self._engines.clear()
            self._engines[device] = self._opened(device)
        return self._engines[device]

    def _opened(self, device: str) -> Engine:
        """Return an engine for a device, with its calculator open, and note what it says of itself."""
        name, file, said = self.place.name, self.place.file(), self.place.settings
        engine: Engine = Local(name, file, said.function, device)
        if said.environment is not None:
            engine = CalculatorWorker(said.environment, name, file, said.function, device, self.place.install)
        try:
            handshake = engine.open()
        except WorkerError as failure:
            raise self._error(failure) from failure
        self.predicts_stress = handshake["stress"]
        self.origin["versions"] = ", ".join(f"{name} {number}" for name, number in handshake["versions"].items())
        return engine

    def predict(self, frames: Frames, stress: bool = True) -> Prediction:
        """Return what the calculator says of structures, one after another; all of it is float64 on the CPU.

        Published networks compute in single precision: they get positions that are near the origin. What a function of
        the user's does with positions is not known (it may need whole molecules, or have a field): it gets them as
        they are.

        Raises:
            UserError: file, function, interpreter or package is missing or not what it should be.
            WorkError: the calculator failed on a structure or gave something that is not finite; the worker died twice.
        """
        batch = arrays(frames) | {"stress": stress}
        if not self.place.settings.function:
            batch["positions"] = anchored(frames)[0]
        try:
            answer = self.engine().evaluate(batch)
        except WorkerError as failure:
            raise self._error(failure, frames) from failure
        energy = torch.tensor(answer["energy"] + self.sum_of_reference_energies(frames))
        return Prediction(energy, torch.tensor(answer["forces"]), torch.tensor(answer["stress"]) if stress else None)

    def _error(self, failure: WorkerError, frames: Frames | None = None) -> DistillError:
        """Return the error that the user sees, with the traceback of the calculator as a note."""
        where = self.where
        if failure.kind in ("structure", "result") and frames is not None:
            formula = frames[failure.structure].to_atoms()[0].get_chemical_formula()
            where += f", structure {formula} ({failure.structure + 1} of a batch of {len(frames)})"
        return self.error(failure, where)


class GivenCalculator(GradientFree):
    """An ASE calculator that a caller holds, here in this process; it can be evaluated, and neither saved nor fitted.

    Args:
        calculator: of ASE.
    """

    no_gradients = ExternalPotential.no_gradients

    def __init__(self, calculator: Any) -> None:
        super().__init__(math.inf, elements=None)
        self.architecture = type(calculator).__name__
        self.predicts_stress = calculator_worker.has_stress(calculator)
        self._given = calculator

    def predict(self, frames: Frames, stress: bool = True) -> Prediction:
        """Return what the calculator says of structures, one after another; all of it is float64 on the CPU.

        Raises:
            WorkError: the calculator failed on a structure or gave something that is not finite.
        """
        try:
            answer = calculator_worker.evaluate(self._given, arrays(frames) | {"stress": stress})
        except WorkerError as failure:
            raise self.error(failure) from failure
        return Prediction(*(torch.tensor(answer[name]) for name in ("energy", "forces", "stress")))

"""Fit ACE in two phases: AdamW in small batches, which comes near quickly, then BFGS on all structures together.

Loss and gradient are those of tensorpotential, pacemaker's engine, in a process of its own; everything else is here, so
that a phase ends, resumes and is judged as the fits of other students are. AdamW (Loshchilov and Hutter,
arXiv:1711.05101) needs one pass over the data and the memory of one batch for an epoch, where BFGS needs several passes
for a step. Where the recipe passes settings on to pacemaker, pacemaker itself does the second phase.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from distill.base.arrays import Array
from distill.base.files import is_whole_zip, replacing
from distill.base.progress import Phase, Progress
from distill.base.random import stream
from distill.training.ace.axes import Axes
from distill.training.ace.evaluations import Evaluations
from distill.training.ace.settings import BFGS, Batches
from distill.training.curve import FitResult, Point, began_anew, write_curve

WORSE = 3.0
"""A phase that makes the largest error so many times larger is undone."""


@dataclass(frozen=True)
class Objective:
    """What is fitted.

    Attributes:
        train: numbers of the structures to learn from. valid: of those that choose the best state.
        n_atoms: of every structure.
        energy_weights: of every structure, zero without a label. force_weights: of every atom, likewise.
        radial: how many coefficients belong to the radial functions, which are not regularised.
        l1: weight of the sum of absolute values of the other coefficients. l2: of their squares.
    """

    train: Array
    valid: Array
    n_atoms: Array
    energy_weights: Array
    force_weights: Array
    radial: int = 0
    l1: float = 0.0
    l2: float = 0.0

    def of_errors(self, errors: Errors, chosen: Array, kappa: float) -> float:
        """Return the loss without regularisation, from the errors of structures."""
        weights = self._of_atoms(chosen)
        energy = np.mean(self.energy_weights[chosen] * errors.energy**2)
        forces = np.sum(weights * np.square(errors.forces).sum(axis=1)) / max(1, np.count_nonzero(weights))
        return float((1 - kappa) * energy + kappa * forces)

    def mean_absolute(self, errors: Errors, chosen: Array) -> tuple[float, float]:
        """Return the mean absolute errors of structures over what counts, NaN where nothing does: eV/atom, eV/Å."""
        energy, forces = errors.energy[self.energy_weights[chosen] > 0], errors.forces[self._of_atoms(chosen) > 0]
        means = (float(np.abs(part).mean()) if part.size else math.nan for part in (energy, forces))
        return next(means), next(means)

    def largest(self, errors: Errors, chosen: Array) -> tuple[float, float]:
        """Return the largest error of an energy, eV/atom, and of a component of a force, eV/Å, of what counts."""
        energy, forces = errors.energy[self.energy_weights[chosen] > 0], errors.forces[self._of_atoms(chosen) > 0]
        return float(np.abs(energy).max(initial=0.0)), float(np.abs(forces).max(initial=0.0))

    def _of_atoms(self, chosen: Array) -> Array:
        """Return the weights of the atoms of structures; zero where a force has no label."""
        ends = np.cumsum(self.n_atoms)
        return np.concatenate([self.force_weights[ends[k] - self.n_atoms[k] : ends[k]] for k in chosen])

    def regularisation(self, coefficients: Array) -> tuple[float, Array]:
        """Return what large coefficients cost, and its gradient."""
        own = coefficients[self.radial :]
        gradient = np.zeros_like(coefficients)
        gradient[self.radial :] = self.l1 * np.sign(own) + 2 * self.l2 * own
        return float(self.l1 * np.abs(own).sum() + self.l2 * np.square(own).sum()), gradient


@dataclass(frozen=True)
class Errors:
    """Errors of structures: ``energy`` ``[S]`` eV/atom and ``forces`` ``[atoms, 3]`` eV/Å."""

    energy: Array
    forces: Array


class Engine(Protocol):
    """What knows structures, labels and the expansion."""

    def gradient(self, coefficients: Array, chosen: Array, kappa: float) -> tuple[float, Array]:
        """Return loss and gradient of structures, which together are one batch."""

    def errors(self, coefficients: Array, chosen: Array) -> Errors:
        """Return the errors of structures."""

    def pacemaker(
        self,
        coefficients: Array,
        chosen: Array,
        fit: Mapping[str, Any],
        judged: Array,
        on_progress: Callable[[Mapping[str, Any]], None],
    ) -> Array:
        """Return the coefficients that pacemaker's own fit ends with.

        ``on_progress`` is given every iteration: ``loss``, ``n_coefficients`` and, where the expansion is the whole
        one, ``coefficients`` and ``errors`` of the structures ``judged``. It cannot ask the engine.
        """


@dataclass
class State:
    """Where a fit is; all that a resumed one needs.

    Attributes:
        coefficients: the present ones. best: those of lowest validation loss in the phase.
        before: those that the phase began with.
        first: AdamW's mean of the gradient. second: of its square. moments: of the products of its components,
            ``[C, C]``; empty where they are not wanted.
        phase: number of the running phase. step: finished steps of it: batches of AdamW or iterations.
        steps: of all phases.
        best_loss: of ``best``. best_row: its row of the curve.
        gained: epoch in which the validation loss last fell enough.
        result: the learning curve so far.
        phases: what every finished phase ended with.
        warnings: what has to be said.
    """

    coefficients: Array
    best: Array
    before: Array
    first: Array
    second: Array
    moments: Array
    phase: int = 0
    step: int = 0
    steps: int = 0
    best_loss: float = math.inf
    best_row: int = -1
    gained: int = 0
    result: FitResult = field(default_factory=FitResult)
    phases: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    ARRAYS = ("coefficients", "best", "before", "first", "second", "moments")
    NUMBERS = ("phase", "step", "steps", "best_loss", "best_row", "gained", "phases", "warnings")

    @classmethod
    def start(cls, coefficients: Array) -> State:
        """Return the state of a fit that has not begun."""
        zeros = np.zeros_like(coefficients)
        return cls(coefficients, coefficients.copy(), coefficients.copy(), zeros, zeros.copy(), np.zeros((0, 0)))

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        numbers = {name: getattr(self, name) for name in self.NUMBERS}
        numbers |= {"status": self.result.status, "curve": [asdict(point) for point in self.result.curve]}
        numbers["kept"] = asdict(self.result.kept) if self.result.kept else None
        arrays = {name: getattr(self, name) for name in self.ARRAYS}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, numbers=np.array(json.dumps(numbers)), **arrays)

    @classmethod
    def load(cls, path: Path) -> State:
        """Return what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as found:
            numbers = json.loads(str(found["numbers"]))
            kept = numbers.pop("kept")
            curve = [Point(**point) for point in numbers.pop("curve")]
            result = FitResult(numbers.pop("status"), curve, Point(**kept) if kept else None)
            return cls(**{name: found[name] for name in cls.ARRAYS}, **numbers, result=result)


class Fit:
    """A fit in up to two phases.

    Args:
        engine: gives loss, gradient and errors.
        objective: what is fitted.
        start: the coefficients to begin with.
        batches: the first phase, if any.
        bfgs: the second phase, if any.
        passed_on: pacemaker's ``fit`` section for the second phase, or None for the BFGS here.
        seed: of the order of the batches.
        max_time: minutes after which the phases end.
        work: folder that keeps the state.
        wrote: is given the learning curve whenever it has a new row.
    """

    STATE = "state.npz"
    EVALUATIONS = "bfgs.bin"
    CURVE = "curve.csv"

    def __init__(
        self,
        engine: Engine,
        objective: Objective,
        start: Array,
        *,
        batches: Batches | None,
        bfgs: BFGS | None,
        passed_on: Mapping[str, Any] | None = None,
        seed: int = 0,
        max_time: float | None = None,
        work: Path,
        wrote: Callable[[FitResult], None] = lambda result: None,
    ) -> None:
        self.engine, self.objective, self.work, self.wrote = engine, objective, work, wrote
        self.batches, self.bfgs, self.passed_on, self.seed, self.max_time = batches, bfgs, passed_on, seed, max_time
        work.mkdir(parents=True, exist_ok=True)
        self.state = self._found(start)
        curve = self.state.result.curve
        self._start = time.monotonic() - (curve[-1].seconds if curve else 0.0)

    def _found(self, start: Array) -> State:
        """Return the state that an interrupted fit left, or that of one that has not begun."""
        path = self.work / self.STATE
        if path.exists() and is_whole_zip(path):
            return State.load(path)
        state = State.start(start)
        if path.exists():
            state.warnings.append(began_anew(path))
        return state

    def run(self, progress: Progress) -> State:
        """Do what is not done yet and return the last state, whose ``coefficients`` are the result."""
        phases: list[tuple[str, Callable[[Progress], None]]] = []
        if self.batches is not None:
            phases.append(("AdamW", self._adamw))
        if self.bfgs is not None:
            phases.append(("pacemaker", self._pacemaker) if self.passed_on is not None else ("BFGS", self._bfgs))
        for number, (name, phase) in enumerate(phases):
            if number >= self.state.phase and self.state.result.status == "finished":
                phase(progress)
                self._conclude(name)
        return self.state

    # ---- the first phase ----

    def _adamw(self, progress: Progress) -> None:
        """Run AdamW epoch by epoch."""
        own, state, train = self.batches, self.state, self.objective.train
        assert own is not None  # noqa: S101 - run() asks
        per_epoch = math.ceil(len(train) / own.batch_size)
        with progress.phase("AdamW", own.epochs * per_epoch, "step", done=state.step) as phase:
            for epoch in range(state.step // per_epoch, own.epochs):
                order = stream(self.seed, "epoch", epoch).permutation(train)
                axes, losses = self._axes(own), []
                for begin in range(0, len(order), own.batch_size):
                    losses.append(self._step(order[begin : begin + own.batch_size], own, own.epochs * per_epoch, axes))
                    phase.update(state.step, self._note(epoch + 1, own.epochs, losses[-1]))
                gain = self._judge(float(np.mean(losses)), self._rate(own, own.epochs * per_epoch), own.kappa)
                state.gained = epoch if gain > own.min_gain else state.gained
                self._keep()
                if state.result.status != "finished" or epoch - state.gained >= own.patience:
                    return

    def _rate(self, own: Batches, total: int) -> float:
        """Return the learning rate of the next step."""
        if own.schedule == "constant":
            return own.learning_rate
        rise = min(1.0, (self.state.step + 1) / 20)
        return own.learning_rate * rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.state.step / total)))

    def _axes(self, own: Batches) -> Axes | None:
        """Return the axes of an epoch; None where they are not wanted, or in the first epoch, which gathers them."""
        state = self.state
        if own.rotate and not state.step:
            state.moments = np.zeros((len(state.coefficients),) * 2)
        if not own.rotate or not state.step:
            return None
        return Axes(state.moments, 1 - Axes.MEMORY**state.step)

    def _step(self, chosen: Array, own: Batches, total: int, axes: Axes | None) -> float:
        """Take one step of AdamW and return the loss before it."""
        state = self.state
        loss, gradient = self._loss(state.coefficients, np.sort(chosen), own.kappa)
        rate = self._rate(own, total)
        state.step += 1
        state.steps += 1
        state.first = 0.9 * state.first + 0.1 * gradient
        state.second = 0.999 * state.second + 0.001 * gradient**2
        mean, spread = state.first / (1 - 0.9**state.step), state.second / (1 - 0.999**state.step)
        if own.rotate:
            state.moments *= Axes.MEMORY
            state.moments += (1 - Axes.MEMORY) * np.outer(gradient, gradient)
        step = mean / (np.sqrt(spread) + 1e-10) if axes is None else axes.step(gradient, mean)
        state.coefficients = state.coefficients * (1 - rate * own.weight_decay) - rate * step
        return loss

    def _loss(self, coefficients: Array, chosen: Array, kappa: float) -> tuple[float, Array]:
        """Return loss and gradient with regularisation."""
        loss, gradient = self.engine.gradient(coefficients, chosen, kappa)
        penalty, of_penalty = self.objective.regularisation(coefficients)
        return loss + penalty, gradient + of_penalty

    # ---- the second phase ----

    def _bfgs(self, progress: Progress) -> None:
        """Run BFGS; a resumed phase goes its way again, without computing what it knows, and then on."""
        from scipy.optimize import minimize

        own, state = self.bfgs, self.state
        assert own is not None  # noqa: S101 - run() asks
        compute = Evaluations(self.work / self.EVALUATIONS, lambda x: self._loss(x, self.objective.train, own.kappa))
        losses: list[float] = []
        already, iterations = state.step, itertools.count(1)

        def loss(coefficients: Array) -> tuple[float, Array]:
            value, gradient = compute(coefficients)
            losses.append(value)
            return value, gradient

        with progress.phase("BFGS", own.iterations, "iteration", done=state.step) as phase:

            def after(coefficients: Array) -> None:
                if next(iterations) > already:
                    self._iteration(coefficients, min(losses), own.iterations, phase)
                if state.result.status != "finished":
                    raise StopIteration

            if already < own.iterations:
                options = {"maxiter": own.iterations, "gtol": 1e-8}
                minimize(loss, state.before, jac=True, method="BFGS", options=options, callback=after)

    def _pacemaker(self, progress: Progress) -> None:
        """Let pacemaker do the second phase by its own settings."""
        own, state, passed_on = self.bfgs, self.state, dict(self.passed_on or {})
        assert own is not None  # noqa: S101 - run() asks
        section = {"optimizer": "BFGS", "maxiter": own.iterations, **passed_on}
        section["loss"] = {"kappa": own.kappa, "L1_coeffs": self.objective.l1, "L2_coeffs": self.objective.l2}
        total = int(section["maxiter"]) * int(section.get("fit_cycles", 1))
        with progress.phase("pacemaker", total, "iteration", done=state.step) as phase:

            def on_progress(report: Mapping[str, Any]) -> None:
                if "coefficients" in report:
                    errors = Errors(np.array(report["errors"]["energy"]), np.array(report["errors"]["forces"]))
                    self._iteration(np.array(report["coefficients"]), float(report["loss"]), total, phase, errors)
                else:
                    state.step += 1
                    phase.update(state.step, f"{report['n_coefficients']} coefficients, loss {report['loss']:.3g}")

            goal = self.objective
            found = self.engine.pacemaker(state.coefficients, goal.train, section, goal.valid, on_progress)
        if len(found) == len(state.coefficients):
            self._iteration(found, math.nan, total, None)

    def _iteration(
        self, coefficients: Array, loss: float, total: int, phase: Phase | None, errors: Errors | None = None
    ) -> None:
        """Take over the coefficients of an iteration."""
        state = self.state
        state.coefficients = np.array(coefficients)
        state.step += 1
        state.steps += 1
        self._judge(loss, 0.0, self.bfgs.kappa if self.bfgs else 0.5, errors)
        self._keep()
        if phase is not None:
            phase.update(state.step, self._note(state.step, total, loss))

    # ---- what both have in common ----

    def _judge(self, train_loss: float, rate: float, kappa: float, errors: Errors | None = None) -> float:
        """Add a row to the learning curve and return by how much the best validation loss of the phase fell."""
        state = self.state
        errors = errors or self.engine.errors(state.coefficients, self.objective.valid)
        loss = self.objective.of_errors(errors, self.objective.valid, kappa)
        seconds = time.monotonic() - self._start
        state.result.curve.append(
            Point(
                state.steps,
                train_loss,
                loss,
                *self.objective.mean_absolute(errors, self.objective.valid),
                math.nan,
                rate,
                seconds,
            )
        )
        gain = state.best_loss - loss
        if gain > 0:
            state.best_loss, state.best = loss, state.coefficients.copy()
            state.best_row = len(state.result.curve) - 1
        if not math.isfinite(loss):
            state.result.status = "diverged"
        elif self.max_time is not None and seconds >= 60 * self.max_time:
            state.result.status = "out of time"
        return gain

    def _keep(self) -> None:
        """Write state and curve, and tell whoever wants to know."""
        self.state.save(self.work / self.STATE)
        write_curve(self.work / self.CURVE, self.state.result.curve)
        self.wrote(self.state.result)

    def _conclude(self, name: str) -> None:
        """End a phase: take its best coefficients, or go back where it made the worst structure much worse."""
        state = self.state
        every = np.concatenate([self.objective.train, self.objective.valid])
        energy, forces = self.objective.largest(self.engine.errors(state.before, every), every)
        errors = self.engine.errors(state.best, every)
        new_energy, new_forces = self.objective.largest(errors, every)
        mean_energy, mean_forces = self.objective.mean_absolute(errors, every)
        undone = bool(new_energy > WORSE * energy or new_forces > WORSE * forces)
        state.phases.append(
            {
                "phase": name,
                "iterations": state.step,
                "energy_mae": mean_energy,
                "forces_mae": mean_forces,
                "largest_energy_error": new_energy,
                "largest_force_error": new_forces,
                "undone": undone,
            }
        )
        if undone:
            state.warnings.append(
                f"{name} was undone: the largest errors rose from {1000 * energy:.0f} to {1000 * new_energy:.0f} "
                f"meV/atom and from {forces:.2f} to {new_forces:.2f} eV/Å"
            )
            kept = state.before
            state.result.curve = state.result.curve[: len(state.result.curve) - self._rows_of_phase()]
        else:
            kept = state.best
            state.result.kept = state.result.curve[state.best_row] if state.best_row >= 0 else None
        state.best_loss, state.best_row, state.gained = math.inf, -1, 0
        state.coefficients, state.before, state.best = kept.copy(), kept.copy(), kept.copy()
        state.phase, state.step = state.phase + 1, 0
        self._keep()

    def _rows_of_phase(self) -> int:
        """Return how many rows of the curve the running phase has added."""
        first = self.state.steps - self.state.step
        return sum(point.step > first for point in self.state.result.curve)

    def _note(self, number: int, total: int, loss: float) -> str:
        """Return what is worth showing beside the count."""
        parts = [f"step {number}/{total}", f"loss {loss:.3g}"]
        if self.state.result.curve:
            last = self.state.result.curve[-1]
            energy, forces = 1000 * last.valid_energy_mae, 1000 * last.valid_forces_mae
            parts.append(f"validation {energy:.1f} meV/atom, {forces:.0f} meV/Å")
        return ", ".join(parts)

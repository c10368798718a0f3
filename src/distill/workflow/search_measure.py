"""What came of a trial: its numbers, read from the summaries of its tasks."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from distill.base.errors import DistillError
from distill.workflow.merge import MergedPlan
from distill.workflow.runner import State
from distill.workflow.search_recipe import SearchedRecipe
from distill.workflow.store import Store
from distill.workflow.tasks import Task

ENERGY, FORCES = "energy_rmse_eV_per_sqrt_atom", "forces_rmse_eV_per_A"
BROKEN = ("diverged",)
"""How a training may end whose numbers do not count."""
APART = 2.0
"""Times the training loss from which on the validation loss is said to part from it."""


@dataclass(frozen=True)
class Measured:
    """The numbers of one trial; means over seeds, None where there is no number.

    Attributes:
        errors: alpha * energy + (1 - alpha) * forces of each seed.
        energy: RMSE of E / sqrt(N), eV.
        forces: RMSE of the components of forces, eV/Å.
        ms_per_atom: time of a step for an atom, ms.
        apart: the validation loss in units of the training loss, where the weights were kept.
        parameters: of what was trained.
        seconds: its trainings took.
        message: why there is no number.
    """

    errors: tuple[float, ...] = ()
    energy: float | None = None
    forces: float | None = None
    ms_per_atom: float | None = None
    apart: float | None = None
    parameters: int | None = None
    seconds: float | None = None
    message: str = ""

    @property
    def error(self) -> float | None:
        """The mean error over the seeds, None where one of them failed."""
        return _mean(self.errors) if not self.message else None

    def objectives(self, several: bool) -> tuple[float, ...]:
        """Return what is made small; infinite where the trial failed."""
        wanted = (self.error, self.ms_per_atom) if several else (self.error,)
        if any(one is None for one in wanted):
            return (math.inf,) * len(wanted)
        return tuple(float(one) for one in wanted if one is not None)

    def as_told(self) -> dict[str, Any]:
        """Return the numbers by the names of the columns of ``trials.csv``."""
        return {
            "error": self.error,
            "first_error": self.errors[0] if self.errors else None,
            "energy_rmse": self.energy,
            "forces_rmse": self.forces,
            "ms_per_atom": self.ms_per_atom,
            "valid_over_train": self.apart,
            "parameters": self.parameters,
            "train_s": self.seconds,
            "message": self.message,
        }


@dataclass
class _Seeds:
    """The numbers of the seeds of a trial, gathered one by one."""

    errors: list[float] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)
    forces: list[float] = field(default_factory=list)
    apart: list[float] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


def measured(searched: SearchedRecipe, name: str, plan: MergedPlan, state: State, store: Store) -> Measured:
    """Return the numbers of the trial called ``name`` once its tasks have ended."""
    alpha = searched.settings.error.alpha
    seeds, times, trainings = _Seeds(), [], []
    for task, here in plan.of_member(name):
        if task.stage == searched.trained and here in state.done:
            trainings.append(state.done[here])
            seeds.apart += _apart(task, state.done[here]["summary"], store)
            if (status := state.done[here]["summary"].get("status")) in BROKEN:
                seeds.messages.append(f"training {status}")
        if task.stage == "timing" and here in state.done:
            times.append(state.done[here]["summary"]["ms_per_atom"])
        if task.stage != searched.judged:
            continue
        if here not in state.done:
            seeds.messages.append(_why(here, state))
            continue
        summary = state.done[here]["summary"]
        energy, forces = summary.get(ENERGY), summary.get(FORCES)
        if energy is None or forces is None:
            seeds.messages.append("its predictions are not finite")
            continue
        seeds.energies.append(energy)
        seeds.forces.append(forces)
        seeds.errors.append(alpha * energy + (1 - alpha) * forces)
    slow = None in times
    return Measured(
        errors=tuple(seeds.errors),
        energy=_mean(seeds.energies),
        forces=_mean(seeds.forces),
        ms_per_atom=None if slow else _mean(times),
        apart=_mean(seeds.apart),
        parameters=next((one["summary"].get("parameters") for one in trainings), None),
        seconds=round(sum(one["wall_s"] for one in trainings), 3) if trainings else None,
        message=(seeds.messages or (["its dynamics broke"] if slow else [""]))[0],
    )


def shared_failure(searched: SearchedRecipe, plan: MergedPlan, state: State) -> DistillError | None:
    """Return what went wrong with a task that all trials need, or None."""
    own = {searched.trained, searched.judged, "timing"}
    return next((error for task, error in state.errors.items() if plan[task].stage not in own), None)


def _why(here: str, state: State) -> str:
    error = state.errors.get(here) or state.errors.get(state.skipped.get(here, ""))
    return str(error) if error is not None else "it did not end"


def _apart(task: Task, summary: Mapping[str, Any], store: Store) -> list[float]:
    """Return the validation loss over the training loss at the step whose weights were kept, where both are known."""
    if "curve" not in task.outputs or summary.get("best_step") is None:
        return []
    with (store.artifact(task) / task.outputs["curve"]).open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["step"]) == summary["best_step"]]
    losses = [(float(row["train_loss"]), float(row["valid_loss"])) for row in rows]
    return [valid / train for train, valid in losses[-1:] if train > 0 and math.isfinite(valid / train)]


def _mean(values: Any) -> float | None:
    return sum(values) / len(values) if values else None

"""Choose how to fine-tune by cross-validation over the training structures.

Every method gets the same number of steps on the same folds, starts from the same foundation model, with its reference
energies moved to the structures that it learns from, and is judged by the structures that were held out. The validation
set stops these fits as it stops the final one; the test set is never seen.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from distill.base.arrays import Array
from distill.base.files import read_json, write_json
from distill.base.progress import Progress, Record
from distill.potentials.interface.potential import Potential
from distill.structures.frames import Frames
from distill.training.gradient.judged import validation_loss
from distill.training.gradient.losses import LossWeights
from distill.training.methods import METHODS, Method
from distill.training.reference_energies import shift_reference

Tune = Callable[[Potential, Frames, Path, Progress], None]
"""Fine-tunes a potential in place on structures, with a folder of its own to continue from and a place to report."""

BASE = "not fine-tuned"


@dataclass(frozen=True)
class Selection:
    """What cross-validation found.

    Attributes:
        scores: loss on what each fold held out, by method; the foundation model itself is among them.
        steps: optimiser steps of each short fit.
        left_out: methods that could not be tried, and why.
    """

    scores: Mapping[str, list[float]]
    steps: int
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def methods(self) -> list[Method]:
        """The methods that were tried, the best one first."""
        return sorted((method for method in METHODS if method in self.scores), key=self.mean)

    @property
    def best(self) -> Method:
        """The method with the lowest mean."""
        return self.methods[0]

    def mean(self, name: str) -> float:
        """Return the mean score of a method; infinite where a fit of it is worth nothing."""
        return float(np.mean(self.scores[name]))

    def spread(self, name: str) -> float:
        """Return the standard deviation of a method's scores over the folds; infinite where one of them is."""
        return float(np.std(self.scores[name], ddof=1)) if math.isfinite(self.mean(name)) else math.inf

    def text(self) -> str:
        """Say what was chosen, by how much, and what was left out."""
        table = ", ".join(f"{name} {self.mean(name):.3g} ± {self.spread(name):.2g}" for name in [*self.methods, BASE])
        folds = len(self.scores[BASE])
        said = f"{self.best} was chosen by {folds} folds of {self.steps} steps each: loss on what was held out {table}"
        if len(self.methods) > 1:
            said += f"; {self._lead()}"
        return said + "".join(f"; {name} was left out: {why}" for name, why in self.left_out.items())

    def _lead(self) -> str:
        """Say whether the best is ahead of the next by more than the folds scatter, fold by fold."""
        second = self.methods[1]
        if not math.isfinite(self.mean(second)):
            return f"{second} diverged"
        ahead = np.subtract(self.scores[second], self.scores[self.best])
        error = float(np.std(ahead, ddof=1) / math.sqrt(len(ahead)))
        clear = np.mean(ahead) > 2 * error
        judged = "more than" if clear else "no more than"
        return f"it is ahead of {second} by {np.mean(ahead):.2g} ± {error:.1g}, {judged} the folds scatter"

    def summary(self) -> dict[str, object]:
        """Return it as the stage's summary has it."""
        table = {
            name: {
                "mean": finite(self.mean(name)),
                "spread": finite(self.spread(name)),
                "folds": [finite(score) for score in self.scores[name]],
            }
            for name in [*self.methods, BASE]
        }
        return {
            "chosen": self.best,
            "scores": table,
            "steps": self.steps,
            "left_out": dict(self.left_out),
            "text": self.text(),
        }


def cross_validate(
    teacher: Potential,
    train: Frames,
    folds: list[Array],
    methods: Mapping[Method, Tune],
    *,
    steps: int,
    weights: LossWeights,
    isolated_atoms: Mapping[str, float],
    work: Path,
    progress: Progress,
    left_out: Mapping[str, str] | None = None,
) -> Selection:
    """Return the scores of all methods on all folds; what an interrupted attempt has finished is not done again.

    Args:
        teacher: the foundation model, which stays as it is.
        train: the training structures.
        folds: indices that each fold holds out, at least two folds.
        methods: what fits a copy of ``teacher``, by the name of the method.
        steps: of each fit, to be said.
        weights: of the objective.
        isolated_atoms: energies of isolated atoms, eV by symbol, for the reference energies.
        work: folder for the fits.
        progress: where to report.
        left_out: methods that cannot be tried, and why.
    """
    scores: dict[str, list[float]] = {name: [] for name in (*methods, BASE)}
    total, number = len(folds) * len(methods), 0
    for k, held_out in enumerate(folds):
        own, judged = train[np.setdiff1d(np.arange(len(train)), held_out)], train[held_out]
        base = copy.deepcopy(teacher)
        shift_reference(base, own, isolated_atoms)
        scores[BASE].append(validation_loss(judged, base.evaluate(judged), weights))
        for name, tune in methods.items():
            number += 1
            folder = work / f"{name}-{k}"
            reporting = Within(progress, f"choosing a method, fit {number} of {total} ({name})")
            scores[name].append(_score(base, tune, own, judged, weights, folder, reporting))
    return Selection(scores, steps, left_out or {})


def _score(
    base: Potential, tune: Tune, own: Frames, judged: Frames, weights: LossWeights, folder: Path, progress: Progress
) -> float:
    """Return the loss of one fit on what was held out, from its file where it is finished."""
    done = folder / "score.json"
    if not done.exists():
        potential = copy.deepcopy(base)
        tune(potential, own, folder, progress)
        write_json(done, {"loss": finite(validation_loss(judged, potential.evaluate(judged), weights))})
    loss = read_json(done)["loss"]
    return math.inf if loss is None else float(loss)


def finite(value: float) -> float | None:
    """Return a number as JSON can hold it."""
    return value if math.isfinite(value) else None


class Within(Progress):
    """Reports to another place, with the name of what the work is a part of before each phase."""

    def __init__(self, outer: Progress, name: str) -> None:
        self.outer = outer
        self.name = name

    def publish(self, record: Record, force: bool = False) -> None:
        """Show ``record`` as a part."""
        self.outer.publish(replace(record, phase=f"{self.name}: {record.phase}"), force)

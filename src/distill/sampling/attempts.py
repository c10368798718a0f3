"""Calls of a predictor that may fail on a structure: it is asked once more, alone, and what fails then is set aside.

An exception, a missing number and a result that is not finite are one and the same here: the structure has no label.
The others go on. Only a teacher that fails on :data:`GIVE_UP` structures in a row ends the work, with what it said.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from distill.base.arrays import Array
from distill.base.errors import UserError, WorkError
from distill.base.progress import Phase
from distill.structures.frames import Frames

Predictor = Callable[[Frames], Frames]
"""Labels structures with energy, forces and, where it has one, stress; keeps their order."""

GIVE_UP = 30
"""Structures in a row on which a teacher fails before it counts as one that fails nearly always: one that fails on
every second structure gets there once in a thousand million calls."""

CHUNK = 32
"""Structures that are labelled between two reports of progress."""


@dataclass(frozen=True)
class Evaluation:
    """What a predictor says of one structure: energy eV, forces ``[n, 3]`` eV/Å, stress ``[3, 3]`` eV/Å³ or None.

    ``failure`` says why there is none.
    """

    energy: float
    forces: Array
    stress: Array | None
    failure: str = ""

    @property
    def finite(self) -> bool:
        """Whether energy and forces are numbers."""
        return bool(np.isfinite(self.energy) and np.isfinite(self.forces).all())

    def max_force(self) -> float:
        """Return the largest force on an atom, eV/Å."""
        return float(np.sqrt(np.einsum("ij,ij->i", self.forces, self.forces).max()))


def evaluate(predict: Predictor, structures: Frames) -> Iterator[Evaluation]:
    """Yield the predictor's word on each structure; raises ValueError where it gives no energy or no forces."""
    labelled = predict(structures)
    if labelled.energy is None or labelled.forces is None:
        raise ValueError("the predictor must give energies and forces")
    forces = np.split(labelled.forces, np.cumsum(structures.n_atoms)[:-1])
    for i, energy in enumerate(labelled.energy):
        stress = None if labelled.stress is None else finite_or_none(labelled.stress[i])
        yield Evaluation(float(energy), forces[i].copy(), stress)


def finite_or_none(stress: Array) -> Array | None:
    """Return a stress, or None where it is marked as missing."""
    return stress if np.isfinite(stress).all() else None


def attempt(predict: Predictor, structures: Frames) -> Iterator[Evaluation]:
    """Yield the predictor's word on each structure, with its ``failure`` where there is none.

    Where a call fails, each structure is asked about once more, alone, as it is reached.

    Raises:
        UserError: what the predictor is made of is wrong or gone; no other structure would do better.
    """
    try:
        found: Iterator[Evaluation] = iter(list(evaluate(predict, structures)))
    except UserError:
        raise
    except Exception:
        found = (_alone(predict, one) for one in structures)
    for one in found:
        failed = not one.finite and not one.failure
        yield replace(one, failure="its energy or forces are not finite") if failed else one


def _alone(predict: Predictor, structure: Frames) -> Evaluation:
    try:
        return next(evaluate(predict, structure))
    except UserError:
        raise
    except Exception as error:
        logging.getLogger(__name__).warning("the predictor failed on a structure", exc_info=True)
        text = str(error) if isinstance(error, WorkError) else f"{type(error).__name__}: {error}"
        first = text.strip().splitlines()[0].rstrip(".")
        return Evaluation(np.nan, np.full(structure.positions.shape, np.nan), None, first)


class Attempts:
    """Asks a teacher, and ends the work where it fails nearly always.

    Attributes:
        in_a_row: structures on which it has failed since it last gave an answer.
    """

    def __init__(self) -> None:
        self.in_a_row = 0

    def __call__(self, predict: Predictor, structures: Frames) -> Iterator[Evaluation]:
        """Yield what :func:`attempt` does; raises WorkError at the structure where the teacher is given up."""
        for one in attempt(predict, structures):
            self.in_a_row = self.in_a_row + 1 if one.failure else 0
            if self.in_a_row >= GIVE_UP:
                what = f"the teacher failed on {GIVE_UP} structures in a row, the last time with: {one.failure}"
                raise WorkError(what, remedy="See to it; then the same command continues where this one stood")
            yield one


def failures_text(failed: int, of: int, first: str) -> str:
    """Return the sentence on structures that the teacher failed on; empty where there are none."""
    return f"the teacher failed on {failed} of {of} structures, which were left out; first: {first}" if failed else ""


def label(predict: Predictor, structures: Frames, phase: Phase) -> tuple[Frames, list[str]]:
    """Return the structures with labels, without those that the teacher fails on, and a sentence on these.

    Raises:
        UserError, WorkError: as :class:`Attempts` does.
    """
    ask, found = Attempts(), list[Evaluation]()
    for begin in range(0, len(structures), CHUNK):
        found += ask(predict, structures[begin : begin + CHUNK])
        phase.update(len(found))
    kept = np.flatnonzero([not one.failure for one in found])
    labelled = with_evaluations(structures[kept], [one for one in found if not one.failure])
    failures = [one.failure for one in found if one.failure]
    return labelled, [failures_text(len(failures), len(found), failures[0])] if failures else []


def with_evaluations(structures: Frames, evaluations: list[Evaluation]) -> Frames:
    """Return structures with what a predictor said of each."""
    if not evaluations:
        return structures
    missing = np.full((3, 3), np.nan)
    stress = [missing if one.stress is None else one.stress for one in evaluations]
    return structures.with_labels(
        np.array([one.energy for one in evaluations]),
        np.concatenate([one.forces for one in evaluations]),
        None if all(one.stress is None for one in evaluations) else np.stack(stress),
    )

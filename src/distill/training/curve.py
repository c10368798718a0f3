"""How a fit went: one row per validation, and how it ended."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from distill.base.files import write_table


@dataclass(frozen=True)
class Point:
    """One row of a learning curve; errors are mean absolute errors on the validation structures.

    Attributes:
        step: optimiser steps taken.
        train_loss: mean objective over the batches since the validation before.
        valid_loss: objective on the validation structures.
        valid_energy_mae: eV/atom. valid_forces_mae: eV/Å. valid_virial_mae: eV/atom, NaN without labels.
        learning_rate: at this step.
        seconds: of training so far, validations included.
    """

    step: int
    train_loss: float
    valid_loss: float
    valid_energy_mae: float
    valid_forces_mae: float
    valid_virial_mae: float
    learning_rate: float
    seconds: float


@dataclass
class FitResult:
    """How a fit ended.

    Attributes:
        status: ``"finished"``, ``"stopped early"`` (no gain for ``patience`` validations), ``"out of time"`` or
            ``"diverged"``.
        curve: one :class:`Point` per validation.
        kept: the validation whose weights were kept, where the losses of all do not measure the same.
        warnings: what has to be said of how the fit went.
    """

    status: str = "finished"
    curve: list[Point] = field(default_factory=list)
    kept: Point | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def best(self) -> Point | None:
        """The validation whose weights were kept: the lowest finite validation loss, unless ``kept`` says otherwise."""
        if self.kept is not None:
            return self.kept
        finite = [p for p in self.curve if math.isfinite(p.valid_loss)]
        return min(finite, key=lambda p: p.valid_loss) if finite else None


def write_curve(path: Path, curve: list[Point]) -> None:
    """Write one row per validation; the columns are the fields of :class:`Point`."""
    write_table(path, [f.name for f in fields(Point)], (asdict(point) for point in curve))


def began_anew(path: Path) -> str:
    """Return the sentence on a fit whose state on disk could not be continued from."""
    return f"{path.name}, from which the fit would have continued, was damaged: it began anew"

"""Train a student from nothing: build it, set offsets and scale from the data, fit it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ase.data import chemical_symbols

from distill.base.random import stream_seed
from distill.potentials import student_row
from distill.potentials.student import Student
from distill.structures.frames import Frames
from distill.training.curve import FitResult
from distill.training.gradient import fit
from distill.training.losses import LossWeights


def train_student(
    arch: str,
    settings: Mapping[str, Any],
    train: Frames,
    valid: Frames,
    *,
    seed: int,
    purpose: tuple[str | int, ...],
    loss: Mapping[str, Any],
    device: str = "cpu",
    **arguments: Any,
) -> tuple[Student, FitResult]:
    """Return a trained student and how its fit went.

    Args:
        arch: its name in a recipe.
        settings: the architecture's own settings.
        train: structures to learn from.
        valid: structures that choose the best round.
        seed: of the recipe.
        purpose: what the student is for; with ``seed`` it gives the initial weights and the order of the batches.
        loss: weights of the objective, see :class:`distill.training.losses.LossWeights`.
        device: torch device.
        arguments: of :func:`distill.training.gradient.fit`.
    """
    row = student_row(arch)
    own = row.for_data(row.Settings(**settings), arch, [chemical_symbols[z] for z in train.elements])
    student = row.build(own, stream_seed(seed, *purpose, "weights")).to(device)
    student.initialise(train)
    order = stream_seed(seed, *purpose, "order")
    fitted = fit(student, train, valid, weights=LossWeights(**loss), seed=order, device=device, **arguments)
    return student, fitted

"""Train a student from nothing: build it, set offsets and scale from the data, fit it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill.base.random import stream_seed
from distill.potentials import POTENTIALS
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
    loss: Mapping[str, float],
    device: str = "cpu",
    **arguments: Any,
) -> tuple[Student, FitResult]:
    """Return a trained student and how its fit went.

    Args:
        arch: its row in the table of potentials.
        settings: the architecture's own settings.
        train: structures to learn from.
        valid: structures that choose the best round.
        seed: of the recipe.
        purpose: what the student is for; with ``seed`` it gives the initial weights and the order of the batches.
        loss: weights of the objective, see :class:`distill.training.losses.LossWeights`.
        device: torch device.
        arguments: of :func:`distill.training.gradient.fit`.
    """
    row = POTENTIALS[arch]
    student = row.build(row.Settings(**settings), stream_seed(seed, *purpose, "weights")).to(device)
    student.initialise(train)
    order = stream_seed(seed, *purpose, "order")
    fitted = fit(student, train, valid, weights=LossWeights(**loss), seed=order, device=device, **arguments)
    return student, fitted

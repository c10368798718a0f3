"""Train a student (build it, set E0s and scale from the data or take pretrained weights, fit it), or refine one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from ase.data import chemical_symbols

from distill.base.random import stream_seed
from distill.potentials import student_row
from distill.potentials.interface.potential import Potential
from distill.potentials.networks.student import Student
from distill.potentials.students.pretrained import load_pretrained
from distill.structures.frames import Frames
from distill.training.curve import FitResult
from distill.training.gradient.fit import fit
from distill.training.gradient.losses import LossWeights
from distill.training.reference_energies import shift_reference


def train_student(
    arch: str,
    settings: Mapping[str, Any],
    train: Frames,
    valid: Frames,
    *,
    seed: int,
    purpose: tuple[str | int, ...],
    loss: Mapping[str, Any],
    start: Literal["pretrained"] | None = None,
    device: str = "cpu",
    **arguments: Any,
) -> tuple[Student, FitResult]:
    """Return a trained student and how its fit went.

    Args:
        arch: its name in a recipe.
        settings: the architecture's own settings.
        train: structures to learn from.
        valid: structures that choose the weights that are kept.
        seed: of the recipe.
        purpose: what the student is for; with ``seed`` it gives the initial weights and the order of the batches.
        loss: weights of the objective, see :class:`distill.training.gradient.losses.LossWeights`.
        start: ``"pretrained"`` begins with weights that have seen many elements instead of with random ones.
        device: torch device.
        arguments: of :func:`distill.training.gradient.fit.fit`.

    Raises:
        UserError: pretrained weights have not seen one of the elements.
    """
    row = student_row(arch)
    own = row.for_data(row.Settings(**settings), arch, [chemical_symbols[z] for z in train.elements])
    student = row.build(own, stream_seed(seed, *purpose, "weights")).to(device)
    student.initialise(train)
    if start is not None:
        load_pretrained(student, arch)
        if train.energy is not None:
            shift_reference(student, train)
    order = stream_seed(seed, *purpose, "order")
    fitted = fit(student, train, valid, weights=LossWeights(**loss), seed=order, device=device, **arguments)
    return student, fitted


def refine_student(
    student: Potential,
    train: Frames,
    valid: Frames,
    synthetic: Frames,
    *,
    share: float,
    seed: int,
    purpose: tuple[str | int, ...],
    loss: Mapping[str, Any],
    **arguments: Any,
) -> FitResult:
    """Fit a distilled student once more, in place, to the DFT structures, and return how that went.

    Synthetic structures are mixed in, so that what they taught is not lost: far from the few DFT structures they are
    all that the student knows.

    Args:
        student: trained on the synthetic structures.
        train: DFT structures to learn from.
        valid: DFT structures that choose the weights that are kept.
        synthetic: what it was trained on.
        share: of the synthetic structures among all that it learns from.
        seed: of the recipe.
        purpose: what the student is for; with ``seed`` it gives the order of the batches.
        loss: weights of the objective; those of labels that only a teacher gives do not count.
        arguments: of :func:`distill.training.gradient.fit.fit`.
    """
    weights = replace(LossWeights(**loss), atomic_energy=0.0, hessian=0.0)
    order = stream_seed(seed, *purpose, "order")
    return fit(student, train, valid, weights=weights, replay=synthetic, replay_share=share, seed=order, **arguments)

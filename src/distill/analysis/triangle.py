"""The error triangle: teacher against DFT, student against teacher, student against DFT, and which side limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OVERFITTED = 0.5
"""Loss of the fine-tuned teacher on its training structures over that on validation, below which DFT is scarce."""


@dataclass(frozen=True)
class Side:
    """An error with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Triangle:
    """Errors of the forces on the test set, eV/Å.

    Attributes:
        teacher_dft: of the teacher.
        student_teacher: of the student against its teacher.
        student_dft: of the student.
        uncorrelated: what the last would be if the two before had nothing to do with each other: the root of the sum of
            their squares.
        limit: which of them limits the student.
        sentence: the same in words, with the numbers that say it.
    """

    teacher_dft: Side
    student_teacher: Side
    student_dft: Side
    uncorrelated: float
    limit: str
    sentence: str


def triangle(
    rows: Sequence[Mapping[str, str]], model: str, variant: str, seed: int, overfit: float | None = None
) -> Triangle | None:
    """Return the triangle of a student; None where a side is missing or not finite.

    Args:
        rows: of ``metrics.csv``.
        model: the student's name.
        variant: how it came to be.
        seed: which of several seeds.
        overfit: loss of the teacher on its training structures over that on validation, or None.
    """
    teacher = side(rows, "teacher", "finetuned", 0, "dft")
    between, student = (side(rows, model, variant, seed, reference) for reference in ("teacher", "dft"))
    if teacher is None or between is None or student is None:
        return None
    limit, why = _limit(teacher, between, overfit)
    both = (
        f"teacher to DFT {_said(teacher)}, student to teacher {_said(between)}, student to DFT {_said(student)} meV/Å"
    )
    uncorrelated = math.hypot(teacher.value, between.value)
    sentence = (
        f"Limited by {limit}: {why} ({both}; {1000 * uncorrelated:.0f} if both had nothing to do with each other)."
    )
    return Triangle(teacher, between, student, uncorrelated, limit, sentence)


def side(
    rows: Sequence[Mapping[str, str]], model: str, variant: str, seed: int, reference: str, statistic: str = "rmse"
) -> Side | None:
    """Return an error of the forces on the whole test set; None where it is missing or not finite.

    Args:
        rows: of ``metrics.csv``.
        model: the student's name, or ``teacher``.
        variant: how it came to be.
        seed: which of several seeds.
        reference: ``dft`` or ``teacher``.
        statistic: ``rmse`` or ``mae``.
    """
    wanted = {"model": model, "variant": variant, "seed": str(seed), "split": "test", "reference": reference}
    wanted |= {"config_type": "all", "quantity": "forces", "statistic": statistic}
    for row in rows:
        if all(row[name] == value for name, value in wanted.items()):
            numbers = [float(row[name]) if row[name] else math.nan for name in ("value", "low", "high")]
            return Side(*numbers) if math.isfinite(numbers[0]) else None
    return None


def _limit(teacher: Side, between: Side, overfit: float | None) -> tuple[str, str]:
    """Return what limits, and why: the larger side, or none of both where their intervals meet."""
    if between.low > teacher.high:
        return (
            "the student",
            f"it is farther from its teacher than that is from DFT, by {between.value / teacher.value:.1f}",
        )
    if not between.high < teacher.low:
        return "teacher and student alike", "their intervals meet"
    if overfit is not None and overfit < OVERFITTED:
        what = f"the teacher's loss on its training structures is {overfit:.2f} of that on validation"
        return "data", f"{what}, so more DFT structures would help most"
    return "the teacher", f"a perfect student would still have {1000 * teacher.value:.0f} meV/Å"


def _said(one: Side) -> str:
    interval = f" [{1000 * one.low:.0f}–{1000 * one.high:.0f}]" if math.isfinite(one.low) else ""
    return f"{1000 * one.value:.0f}{interval}"

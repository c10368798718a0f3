"""Observed quantities of a student as criteria of its verdict: against its teacher, and against what is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill.analysis.means import Mean, difference
from distill.analysis.replicas import Judgement, judge_curves, judge_known, judge_scalars
from distill.analysis.verdicts import Criterion
from distill.base.arrays import Array
from distill.base.tolerances import absolute
from distill.observables.base import Measured, Observable, Reference

LEAST_OF_TEACHER, LEAST_OF_STUDENT = 3, 4
"""Replicas below which nothing is told of a difference: with 2 and 4 not even a permutation test could reach 0.05."""
HOPELESS = 100.0
"""Times as long as they are that replicas would have to be, from where on that is not advised."""
LEAST_AGAINST_KNOWN = 3
"""Replicas of a student below which nothing is told of its distance to what is known."""


@dataclass(frozen=True)
class Observed:
    """A quantity of a run: what the replicas of student and teacher say.

    Attributes:
        name: in the recipe.
        observable: its settings.
        student: of each replica.
        teacher: of each replica; empty where the teacher did not run.
        ps: lengths of the runs, of the student and of the teacher, ps.
        curve: the user's reference, places and values; None without one.
        sampled: of each block of the user's structures, where these are the reference.
    """

    name: str
    observable: Observable
    student: Sequence[Measured]
    teacher: Sequence[Measured]
    ps: tuple[float, float] = (math.nan, math.nan)
    curve: tuple[Array, Array] | None = None
    sampled: Sequence[Measured] = ()


def compared(one: Observed) -> Criterion | None:
    """Return how a student's quantity compares with its teacher's; None where the teacher did not run."""
    if not one.teacher:
        return None
    mine, theirs = _finite(one.student), _finite(one.teacher)
    bounded = _bounded(one, mine, theirs)
    if bounded is not None:
        return bounded
    if len(theirs) < LEAST_OF_TEACHER or len(mine) < LEAST_OF_STUDENT:
        return _untold(one, _too_few(one, len(mine), len(theirs)))
    if any(values.shape != mine[0].shape for values in (*mine, *theirs)):
        return _untold(one, "replicas have curves at different places")
    tolerance = absolute(one.observable.tolerance, _scale(one.observable, np.array(theirs)))
    if not tolerance > 0:
        return _untold(one, "a share of nothing is no tolerance: give a number")
    return _of_replicas(one, one.observable.level, np.array(mine), np.array(theirs), tolerance)


def known(one: Observed) -> Criterion | None:
    """Return how a student's quantity compares with what the user says it is; None where he says nothing."""
    reference = one.observable.reference
    mine = _finite(one.student)
    if reference is None:
        return None
    name = f"{one.name} against {reference.name}"
    if one.sampled:
        return _against_structures(one, reference, name)
    if len(mine) < LEAST_AGAINST_KNOWN:
        return Criterion(6, name, "cannot tell", why=_too_few(one, len(mine), None), note=not reference.binding)
    found, values, truth = _against(one, reference, np.array(mine))
    return _criterion(one, 6, found, values, truth[None], name, note=not reference.binding)


def _against_structures(one: Observed, reference: Reference, name: str) -> Criterion:
    """Return how a student's quantity compares with that of the user's structures, which have noise too."""
    mine, theirs = _finite(one.student), _finite(one.sampled)
    if min(len(mine), len(theirs)) < LEAST_AGAINST_KNOWN or mine[0].shape != theirs[0].shape:
        return Criterion(6, name, "cannot tell", why=_too_few(one, len(mine), None), note=not reference.binding)
    tolerance = absolute(reference.tolerance, _scale(one.observable, np.array(theirs)))
    return _of_replicas(one, 6, np.array(mine), np.array(theirs), tolerance, name, note=not reference.binding)


def _of_replicas(
    one: Observed, level: int, mine: Array, theirs: Array, tolerance: float, name: str = "", note: bool = False
) -> Criterion:
    """Return how numbers, ``[S]`` and ``[R]``, or curves, ``[S, P]`` and ``[R, P]``, of replicas compare."""
    judge = judge_curves if mine.ndim == 2 else judge_scalars
    return _criterion(one, level, judge(mine, theirs, tolerance), mine, theirs, name, note)


def _against(one: Observed, reference: Reference, mine: Array) -> tuple[Judgement, Array, Array]:
    """Return the judgement against a known number or curve, and both where they can be compared."""
    if one.curve is None:
        truth = np.array(float(reference.value or 0.0))
        return judge_known(mine, truth, absolute(reference.tolerance, float(truth))), mine, truth
    places = one.student[0].places
    inside = (
        (places >= one.curve[0][0]) & (places <= one.curve[0][-1]) if places is not None else np.zeros(0, dtype=bool)
    )
    truth = np.interp(places[inside], *one.curve) if places is not None else np.zeros(0)
    scale = float(np.sqrt(np.mean((truth - one.observable.asymptote) ** 2))) if len(truth) else math.nan
    return judge_known(mine[:, inside], truth, absolute(reference.tolerance, scale)), mine[:, inside], truth


def _finite(measured: Sequence[Measured]) -> list[Array]:
    """Return the values of the replicas that have them."""
    return [one.values for one in measured if np.isfinite(one.values).all()]


def _scale(observable: Observable, reference: Array) -> float:
    """Return what a share is a share of: the teacher's number, or how far its curve is from where it ends."""
    if reference.ndim == 1:
        return float(reference.mean())
    return float(np.sqrt(np.mean((reference.mean(axis=0) - observable.asymptote) ** 2)))


def _bounded(one: Observed, mine: Sequence[Array], theirs: Sequence[Array]) -> Criterion | None:
    """Return a failure where one of two models has no number because it cannot reach what the other has.

    So a frozen student fails on a diffusion coefficient although it has none.
    """
    most, allowed = ([m.most for m in of if math.isfinite(m.most)] for of in (one.student, one.teacher))
    unit = one.observable.unit
    if not mine and len(theirs) >= LEAST_OF_TEACHER and len(most) >= LEAST_OF_STUDENT:
        b = [float(x) for x in theirs]
        tolerance, found = absolute(one.observable.tolerance, float(np.mean(b))), difference(most, b)
        if found.high < -tolerance:
            why = f"at most {np.mean(most):.3g} {unit}, the teacher has {np.mean(b):.3g}"
            return _failure(one, most, b, found, tolerance, why)
    if not theirs and len(mine) >= LEAST_OF_STUDENT and len(allowed) >= LEAST_OF_TEACHER:
        a = [float(x) for x in mine]
        tolerance, found = absolute(one.observable.tolerance, float(np.mean(allowed))), difference(a, allowed)
        if found.low > tolerance:
            why = f"{np.mean(a):.3g} {unit}, the teacher has at most {np.mean(allowed):.3g}"
            return _failure(one, a, allowed, found, tolerance, why)
    return None


def _failure(
    one: Observed, mine: Sequence[float], teacher: Sequence[float], off: Mean, tolerance: float, why: str
) -> Criterion:
    """Return a failure of a number."""
    return Criterion(
        one.observable.level,
        one.name,
        "fail",
        value=float(np.mean(mine)),
        reference=float(np.mean(teacher)),
        difference=off.value,
        low=off.low,
        high=off.high,
        tolerance=tolerance,
        unit=one.observable.unit,
        why=why,
    )


def _criterion(
    one: Observed, level: int, found: Judgement, mine: Array, truth: Array, name: str = "", note: bool = False
) -> Criterion:
    """Return a judgement as a criterion; of curves, whose means say nothing, the distance alone."""
    curve = mine.ndim == 2
    value, reference = (math.nan, math.nan) if curve else (float(mine.mean()), float(truth.mean()))
    return Criterion(
        level,
        name or one.name,
        found.outcome,
        value=value,
        reference=reference,
        difference=found.value,
        low=found.low,
        high=found.high,
        tolerance=found.tolerance,
        unit=one.observable.unit,
        why=_why(one, found, curve),
        note=note,
    )


def _why(one: Observed, found: Judgement, curve: bool) -> str:
    """Return what speaks for an outcome."""
    unit = f" {one.observable.unit}" if one.observable.unit else ""
    if found.outcome == "cannot tell":
        if not found.longer < HOPELESS:
            return f"the difference is about as large as its tolerance of {found.tolerance:.3g}{unit}"
        longer = " and ".join(f"{found.longer * ps:.3g} ps of the {who}" for ps, who in _lengths(one))
        return f"needs replicas of about {longer}"
    if found.outcome == "fail":
        what = "they lie" if curve else "it is off by"
        return f"{what} {found.value:.3g}{unit}{' apart' if curve else ''}, more than {found.tolerance:.3g}"
    return "indistinguishable from the teacher" if found.indistinguishable else ""


def _lengths(one: Observed) -> list[tuple[float, str]]:
    pairs = zip(one.ps, ("student", "teacher"), strict=True)
    return [(ps, who) for ps, who in pairs if math.isfinite(ps)]


def _too_few(one: Observed, mine: int, theirs: int | None) -> str:
    """Return why there are too few replicas with a number."""
    reasons = dict.fromkeys(measured.why for measured in (*one.student, *one.teacher) if measured.why)
    has = f"{mine} replicas of the student" + (f" and {theirs} of the teacher" if theirs is not None else "")
    wants = (
        f"{LEAST_OF_STUDENT} and {LEAST_OF_TEACHER} are needed"
        if theirs is not None
        else f"{LEAST_AGAINST_KNOWN} are needed"
    )
    return f"{has} have it, {wants}" + (f" ({next(iter(reasons))})" if reasons else "")


def _untold(one: Observed, why: str) -> Criterion:
    return Criterion(one.observable.level, one.name, "cannot tell", unit=one.observable.unit, why=why)

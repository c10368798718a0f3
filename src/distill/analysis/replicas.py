"""Is a model's dynamics that of another: pass, fail, or cannot tell, from independent replicas of both.

Replicas are what is independent: samples of one run are not. A verdict is pass where the difference is below the
tolerance at the upper end of its interval, fail where it is above it at the lower end, and otherwise cannot tell, with
the length of replicas that would decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np

from distill.analysis.means import Mean, difference, mean, quantile
from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.random import stream

RELABELLINGS = 10_000
"""Relabellings of replicas up to which all are tried; of more, as many are drawn."""

Outcome = Literal["pass", "fail", "cannot tell"]


@dataclass(frozen=True)
class Judgement:
    """Whether a difference is within its tolerance.

    Attributes:
        outcome: pass, fail, or cannot tell.
        value: the difference, or the distance of curves.
        low: lower end of its 95 % interval; NaN without one.
        high: upper end.
        tolerance: what it is judged by.
        longer: how many times as long every replica has to be for a decision if the value stays as it is; 1 where it
            is decided, infinite where the value is the tolerance itself, NaN for fewer than two replicas a side.
        p: of curves, the probability of at least this distance between replicas of one and the same model.
    """

    outcome: Outcome
    value: float
    low: float
    high: float
    tolerance: float
    longer: float
    p: float = math.nan

    @property
    def indistinguishable(self) -> bool:
        """Of curves: passed, and replicas of one and the same model would differ as much (p > 0.05)."""
        return self.outcome == "pass" and self.p > 0.05


def judge_scalars(values: Sequence[float] | Array, reference: Sequence[float] | Array, tolerance: float) -> Judgement:
    """Judge the difference of a quantity that every replica gives once, with Welch's interval.

    Args:
        values: of the model's replicas, ``[S]``.
        reference: of the reference's, ``[R]``.
        tolerance: largest difference that passes, in their unit.
    """
    _positive(tolerance)
    return _judged(difference(values, reference), tolerance)


def judge_curves(curves: Array, reference: Array, tolerance: float) -> Judgement:
    """Judge the root mean square distance of two curves, from those of every replica.

    The distance of two mean curves is never 0, since both are noisy; :func:`squared_distance` has that taken off.
    ``value`` is its root, 0 where it is negative, ``low`` and ``high`` are the roots of the ends of its interval.

    Args:
        curves: of the model's replicas, ``[S, P]``.
        reference: of the reference's, ``[R, P]``, at the same places.
        tolerance: largest root mean square distance that passes, in their unit.

    Raises:
        UserError: curves of different lengths, numbers that are not finite, or no positive tolerance.
    """
    _positive(tolerance)
    found = squared_distance(curves, reference)
    p = permutation_test(curves, reference)
    judged = _judged(found.root, tolerance)
    if judged.outcome != "cannot tell" or math.isnan(judged.longer):
        return replace(judged, p=p)
    return replace(judged, longer=found.longer(abs(tolerance**2 - max(0.0, found.value))), p=p)


def judge_known(values: Array, truth: Array, tolerance: float) -> Judgement:
    """Judge numbers or curves of replicas against what is known without noise, as the two functions above do.

    Args:
        values: of the model's replicas, ``[S]`` or ``[S, P]``.
        truth: ``[]`` or ``[P]``.
        tolerance: largest difference, or root mean square distance, that passes.
    """
    _positive(tolerance)
    mine, known = np.asarray(values, dtype=float), np.asarray(truth, dtype=float)
    if mine.ndim == 1:
        return _judged(mean(mine - known), tolerance)
    if mine.shape[1:] != known.shape or not known.size:
        raise UserError(f"curves of replicas are {mine.shape}, and what they are compared with {known.shape}")
    return _judged(squared_distance(mine, known[None], exact=True).root, tolerance)


def _judged(found: Mean | Root, tolerance: float) -> Judgement:
    """Return a judgement of a difference, whose noise falls as the square root of the length."""
    value, low, high = found.value, found.low, found.high
    if math.isnan(high):
        return Judgement("cannot tell", value, low, high, tolerance, math.nan)
    outcome = _outcome(max(low, -high, 0.0), max(high, -low), tolerance)
    room, half = abs(tolerance - abs(value)), (high - low) / 2
    longer = 1.0 if outcome != "cannot tell" else (half / room) ** 2 if room > 0 else math.inf
    return Judgement(outcome, value, low, high, tolerance, longer)


@dataclass(frozen=True)
class Root:
    """A root mean square distance, 0 where its square is not positive, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SquaredDistance:
    """The mean squared distance of two curves without the part that is noise.

    Attributes:
        value: unbiased estimate; it may be negative where the curves are equal. NaN for fewer than two replicas a side.
        low: lower end of its 95 % interval.
        high: upper end.
        linear: variance that falls as the length of replicas, from the noise along the difference.
        quadratic: variance that falls as its square, from the noise alone.
        quantile: by what the standard error is multiplied for half of the interval.
    """

    value: float
    low: float
    high: float
    linear: float
    quadratic: float
    quantile: float

    @property
    def root(self) -> Root:
        """The distance."""
        low, high = (x if math.isnan(x) else math.sqrt(max(0.0, x)) for x in (self.low, self.high))
        return Root(math.sqrt(max(0.0, self.value)), low, high)

    def longer(self, half: float) -> float:
        """Return how many times as long replicas have to be for an interval of half the width ``half``."""
        wanted = (half / self.quantile) ** 2
        if not wanted > 0:
            return math.inf
        return (self.linear + math.sqrt(self.linear**2 + 4 * wanted * self.quadratic)) / (2 * wanted)


def squared_distance(first: Array, second: Array, exact: bool = False) -> SquaredDistance:
    """Return the mean over ``P`` places of (mean first - mean second)², unbiased, with its 95 % interval.

    The variance is that of a quadratic form of normal numbers, 4 δᵀΣδ + 2 tr Σ², with Σ the covariance of the
    difference of both means; the trace is estimated without bias (Z. Bai, H. Saranadasa, Statistica Sinica 6, 311
    (1996)).

    Args:
        first: one curve a replica, ``[S, P]``.
        second: ``[R, P]``.
        exact: the second is one curve without noise, ``[1, P]``.
    """
    a, b = _curves(first, second)
    if min(len(a) - exact, len(b) + exact) < 2:
        none = math.nan
        return SquaredDistance(none, none, none, none, none, none)
    delta, places = a.mean(axis=0) - b.mean(axis=0), a.shape[1]
    noisy = [a] if exact else [a, b]
    noise = np.concatenate([_noise(curves) for curves in noisy])  # outer products add up to the covariance of delta
    squares = np.linalg.svd(noise, compute_uv=False) ** 2
    freedom = sum(len(curves) - 1 for curves in noisy)
    trace = float(squares.sum())
    plain = float((squares**2).sum())
    pure = max(freedom**2 / ((freedom - 1) * (freedom + 2)) * (plain - trace**2 / freedom), trace**2 / places)
    along = max(4 * float(((noise @ delta) ** 2).sum()) - 4 * pure, 0.0)
    value = (float(delta @ delta) - trace) / places
    factor = quantile(freedom)
    half = factor * math.sqrt(along + 2 * pure) / places
    return SquaredDistance(value, value - half, value + half, along / places**2, 2 * pure / places**2, factor)


def permutation_test(first: Array, second: Array, seed: int = 0) -> float:
    """Return how often the mean distance of mean curves is at least as large when replicas are relabelled.

    Exact where all of at most 10 000 relabellings are tried: the probability under one and the same distribution is
    then at most p. With 2 and 4 replicas it is never below 1/15; 3 and 4 can reach 0.03.

    Args:
        first: one curve a replica, ``[S, P]``.
        second: ``[R, P]``.
        seed: of drawn relabellings.
    """
    a, b = _curves(first, second)
    together, n, many = np.concatenate([a, b]), len(a), len(a) + len(b)

    def distance(chosen: Iterable[int]) -> float:
        mask = np.zeros(many, dtype=bool)
        mask[list(chosen)] = True
        return float(np.abs(together[mask].mean(axis=0) - together[~mask].mean(axis=0)).mean())

    seen = distance(range(n)) * (1 - 1e-9)
    if math.comb(many, n) <= RELABELLINGS:
        distances = [distance(chosen) for chosen in combinations(range(many), n)]
        return float(np.mean([d >= seen for d in distances]))
    rng = stream(seed, "permutation test")
    distances = [distance(rng.permutation(many)[:n]) for _ in range(RELABELLINGS - 1)]
    return (1 + sum(d >= seen for d in distances)) / RELABELLINGS


def _noise(curves: Array) -> Array:
    """Return rows whose outer products add up to the covariance of the mean curve, ``[S, P]``."""
    return np.asarray((curves - curves.mean(axis=0)) / math.sqrt(len(curves) * (len(curves) - 1)))


def _outcome(low: float, high: float, tolerance: float) -> Outcome:
    """Return the verdict on a distance between two bounds."""
    return "pass" if high < tolerance else "fail" if low > tolerance else "cannot tell"


def _positive(tolerance: float) -> None:
    if not tolerance > 0:
        raise UserError(f"a tolerance must be positive, and is {tolerance:g}")


def _curves(first: Array, second: Array) -> tuple[Array, Array]:
    """Return both as numbers, refused where they cannot be compared."""
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not len(a) or not len(b):
        raise UserError(f"curves of replicas must be [S, P] and [R, P], and are {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise UserError("curves of replicas must be finite", remedy="Leave out the replicas that broke, and count them")
    return a, b

"""The space of a search: its points as values of the recipe, the initial design, and where its bounds are.

Every searched key has a value in every trial, also where the condition ``when`` does not hold: samplers then see one
space. Such a value is not put into the recipe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from distill.base.random import stream_seed
from distill.workflow.search_settings import Dimension

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Point = Mapping[str, Any]
"""A value for every searched key."""
Space = Mapping[str, Dimension]

NEAR = 0.01
"""Part of the range next to a bound within which an optimum is said to sit on it."""
DIGITS = 6
"""Significant digits of a proposed number, so that recipes can be read."""


def initial_design(space: Space, number: int, seed: int) -> list[dict[str, Any]]:
    """Return ``number`` points that fill the space evenly: a scrambled Halton sequence, the same for the same seed."""
    from scipy.stats.qmc import Halton

    halton = Halton(len(space), scramble=True, rng=stream_seed(seed, "search", "initial"))
    return [
        {key: _at(dimension, float(u)) for (key, dimension), u in zip(space.items(), row, strict=True)}
        for row in halton.random(number)
    ]


def _at(dimension: Dimension, u: float) -> Any:
    """Return the value at a part 0 <= u < 1 of the way through a dimension."""
    if dimension.choices:
        return dimension.choices[int(u * len(dimension.choices))]
    low, high = _range(dimension)
    step = _step(dimension)
    if step is not None and not dimension.log:
        found = low + step * int(u * (math.floor((high - low) / step + 1e-9) + 1))
    elif dimension.integer:
        found = math.floor(math.exp(math.log(low) + u * (math.log(high + 1) - math.log(low))))
    elif dimension.log:
        found = low * (high / low) ** u
    else:
        found = low + u * (high - low)
    return tidy(dimension, found)


def tidy(dimension: Dimension, value: Any) -> Any:
    """Return a proposed value as a recipe has it: integers whole, other numbers with few digits."""
    if dimension.choices:
        return value
    if dimension.integer:
        return int(value)
    low, high = _range(dimension)
    return min(max(float(f"{float(value):.{DIGITS}g}"), low), high) if dimension.step is None else float(value)


def _range(dimension: Dimension) -> tuple[float, float]:
    return float(dimension.low or 0.0), float(dimension.high or 0.0)


def _step(dimension: Dimension) -> float | None:
    return dimension.step if dimension.step is not None else (1.0 if dimension.integer else None)


def counts(space: Space, point: Point) -> dict[str, Any]:
    """Return the values of a point that count: those whose conditions hold."""
    found: dict[str, Any] = {}
    for key, dimension in space.items():
        if all(other in found and found[other] == value for other, value in dimension.when.items()):
            found[key] = point[key]
    return found


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return the space as Optuna has it."""
    from optuna import distributions as known

    found: dict[str, BaseDistribution] = {}
    for key, dimension in space.items():
        low, high = _range(dimension)
        if dimension.choices:
            found[key] = known.CategoricalDistribution(dimension.choices)
        elif dimension.integer:
            step = int(dimension.step or 1)
            found[key] = known.IntDistribution(int(low), int(high), log=dimension.log, step=step)
        else:
            found[key] = known.FloatDistribution(low, high, log=dimension.log, step=dimension.step)
    return found


def on_bounds(space: Space, values: Point) -> list[str]:
    """Return a sentence for every value that sits on a bound of its range."""
    found = []
    for key, value in values.items():
        dimension = space[key]
        if dimension.choices:
            continue
        low, high = _range(dimension)
        scale = math.log if dimension.log else float
        near = 0.0 if dimension.integer or dimension.step else NEAR * (scale(high) - scale(low))
        for name, bound in (("low", low), ("high", high)):
            if abs(scale(value) - scale(bound)) <= near + 1e-12:
                what = f"{key} of the best trial is {value:g}, on the bound {name}: {bound:g}"
                found.append(f"{what}: there may be better values beyond")
    return found

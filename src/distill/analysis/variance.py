"""How much of the scatter of errors is of the fit alone, and how much of the whole chain: components of variance.

Models are grouped by the repeat of the chain that they come from. Within a repeat only the seed of the fit differs;
between repeats also fine-tuning, generation and labels do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill.base.arrays import Array


@dataclass(frozen=True)
class Components:
    """Standard deviations, in the unit of the numbers; NaN where these cannot tell.

    Attributes:
        fit: of models that share everything but the seed of their fit.
        chain: of what the mean over seeds does when the whole chain is done anew; 0 where the repeats differ by no
            more than the scatter of their fits explains.
        repeats: repeats with a number.
        n: numbers.
    """

    fit: float
    chain: float
    repeats: int
    n: int

    @property
    def share(self) -> float:
        """The part of the chain in the variance of a single model, 0 to 1; NaN where it cannot be told."""
        whole = self.fit**2 + self.chain**2
        return self.chain**2 / whole if whole > 0 else math.nan


def components(values: Sequence[float] | Array, repeats: Sequence[int] | Array) -> Components:
    """Return the components of variance of ``[n]`` numbers by their repeats, ``[n]``.

    One-way analysis of variance with random effects, also for unequal numbers of seeds (S. R. Searle, Linear Models
    (1971), chapter 10): fit² = MS(within), chain² = (MS(between) - MS(within)) / n₀, not below 0. It needs two repeats,
    of which one has two models.
    """
    numbers, of = np.asarray(values, dtype=float), np.asarray(repeats)
    groups = [numbers[of == one] for one in np.unique(of)]
    n, k = len(numbers), len(groups)
    within = sum(float(((g - g.mean()) ** 2).sum()) for g in groups) / (n - k) if n > k else math.nan
    if k < 2 or n == k:
        return Components(math.sqrt(within), math.nan, k, n)
    sizes = np.array([len(g) for g in groups])
    means = np.array([g.mean() for g in groups])
    between = float((sizes * (means - numbers.mean()) ** 2).sum()) / (k - 1)
    typical = (n - float((sizes**2).sum()) / n) / (k - 1)
    return Components(math.sqrt(within), math.sqrt(max(0.0, (between - within) / typical)), k, n)

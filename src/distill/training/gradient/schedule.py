"""Learning rates: a cosine over the whole fit, or a plateau rule that follows the validation loss.

Both are functions of what the checkpoint of a fit holds, the step or the losses so far, so that an interrupted fit
continues at the learning rate that it would have had.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

THRESHOLD = 1e-4
"""Relative gain below which a validation loss does not count as better (PyTorch's default)."""


@dataclass(frozen=True)
class Cosine:
    """A linear rise and the fall of a cosine to one hundredth.

    Attributes:
        total: steps of the whole fit.
        warmup: share of them over which the rate rises.
    """

    total: int
    warmup: float = 0.05

    def rate(self, step: int, losses: Sequence[float]) -> float:
        """Return the learning rate at ``step`` relative to its peak."""
        rise = max(1, round(self.warmup * self.total))
        if step < rise:
            return (step + 1) / rise
        done = (step - rise) / max(1, self.total - rise)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


@dataclass(frozen=True)
class Plateau:
    """A rate that falls by a factor when the validation loss has not become lower for a while.

    It is PyTorch's ``ReduceLROnPlateau``, computed from the losses so far.

    Attributes:
        factor: what the rate is multiplied by.
        patience: validations without gain that are waited for.
    """

    factor: float = 0.8
    patience: int = 25

    def rate(self, step: int, losses: Sequence[float]) -> float:
        """Return the learning rate after the validation ``losses``, relative to the first."""
        best, waited, falls = math.inf, 0, 0
        for loss in losses:
            if loss < best * (1 - THRESHOLD):
                best, waited = loss, 0
            else:
                waited += 1
            if waited > self.patience:
                waited, falls = 0, falls + 1
        return self.factor**falls


Schedule = Cosine | Plateau

"""Whether more steps would still have helped a fit: the slope of its validation loss at the end, against its noise.

A learning rate that falls to nothing flattens every curve, converged or not. The slope is therefore taken against the
learning rate summed over the steps, not against the steps: where the rate is constant the two are the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from distill.training.curve import Point

LAST = 1 / 3
"""Share of a fit, by its summed learning rate, that the slope is taken over."""

FEWEST = 5
"""Validations in that part below which nothing can be said."""

NOTICED = 0.02
"""Relative change of the validation loss over that part below which it counts as none."""


@dataclass(frozen=True)
class Convergence:
    """How the validation loss went in the last part of a fit.

    Attributes:
        state: ``"improving"``, ``"converged"``, ``"worsening"``, or ``"unknown"`` for too few validations.
        change: relative change of the loss over the last part by a straight line through its logarithms; negative is
            better. NaN where it is unknown.
        error: standard error of ``change``; validations of one fit hang together, so that it is a lower bound.
        steps: optimiser steps of the last part.
        of: steps of the whole fit.
        best: the step of the lowest loss.
    """

    state: Literal["improving", "converged", "worsening", "unknown"]
    change: float = math.nan
    error: float = math.nan
    steps: int = 0
    of: int = 0
    best: int = 0

    @property
    def text(self) -> str:
        """Say it in one sentence without a full stop; empty where nothing can be said."""
        amount = f"{100 * abs(self.change):.0f} ± {100 * self.error:.0f} %"
        last = f"over the last {self.steps} of {self.of} steps"
        match self.state:
            case "improving":
                return (
                    f"was still improving when it ended: its validation loss fell by {amount} {last}; "
                    f"{self.steps} more steps may bring as much again"
                )
            case "worsening":
                return (
                    f"was past its best when it ended: its validation loss rose by {amount} {last}; more steps do not "
                    f"help, step {self.best} was the best"
                )
            case "converged":
                return f"had converged: its validation loss changed by no more than its noise {last}"
            case _:
                return ""

    def summary(self) -> dict[str, object]:
        """Return it as a stage's summary has it."""
        known = self.state != "unknown"
        numbers = {"change": self.change, "error": self.error} if known else {}
        return {"state": self.state, "text": self.text, "steps": self.steps} | numbers


def convergence(curve: Sequence[Point]) -> Convergence:
    """Return whether a fit had converged when it ended, from its learning curve."""
    finite = [point for point in curve if math.isfinite(point.valid_loss) and point.valid_loss > 0]
    if len(finite) < len(curve) or not finite:
        return Convergence("unknown")
    steps = np.array([point.step for point in finite])
    summed = np.cumsum(np.diff(steps, prepend=0) * np.array([point.learning_rate for point in finite]))
    chosen = np.flatnonzero(summed >= (1 - LAST) * summed[-1])
    if len(chosen) < FEWEST or summed[chosen[0]] == summed[-1]:
        return Convergence("unknown")
    losses = np.array([point.valid_loss for point in finite])
    x, y = summed[chosen] - summed[chosen].mean(), np.log(losses[chosen])
    slope = float(x @ y / (x @ x))
    noise = y - y.mean() - slope * x
    width = float(summed[chosen[-1]] - summed[chosen[0]])
    error = width * float(np.sqrt(noise @ noise / (len(x) - 2) / (x @ x)))
    change = math.expm1(slope * width)
    clear = abs(change) > max(NOTICED, 2 * error)
    return Convergence(
        state="converged" if not clear else "improving" if change < 0 else "worsening",
        change=change,
        error=error,
        steps=int(steps[-1] - steps[chosen[0]]),
        of=int(steps[-1]),
        best=int(steps[np.argmin(losses)]),
    )

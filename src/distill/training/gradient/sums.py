"""What a validation adds up: absolute residuals, penalties and counts, over batches and over processes.

Nothing waits for the device before all is added.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, distributed

from distill.training.gradient.losses import TERMS, LossWeights, combine, mean_penalty, penalties


class ValidationSums:
    """Sums over validation batches, kept on their device until they are asked for.

    Args:
        weights: of the objective that the sums end in.
    """

    def __init__(self, weights: LossWeights) -> None:
        self.weights = weights
        self.values: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, errors: Mapping[str, Tensor], counts: Mapping[str, int]) -> None:
        """Add the residuals of a batch that has so many labelled numbers of each quantity."""
        for name, error in errors.items():
            found = torch.stack([error.abs().sum().double(), penalties(error, self.weights).double()])
            self.values[name] = self.values[name] + found if name in self.values else found
            self.counts[name] = self.counts.get(name, 0) + counts[name]

    def add_up(self, device: torch.device) -> None:
        """Add the sums of all processes, which all have to call this."""
        numbers = torch.zeros(len(TERMS), 3, dtype=torch.float64, device=device)
        for place, name in enumerate(TERMS):
            if name in self.values:
                numbers[place, :2], numbers[place, 2] = self.values[name], self.counts[name]
        distributed.all_reduce(numbers)
        self.counts = {name: int(count) for name, count in zip(TERMS, numbers[:, 2], strict=True) if count}
        self.values = {name: numbers[TERMS.index(name), :2] for name in self.counts}

    def mean_absolute(self) -> dict[str, float]:
        """Return the mean absolute residual of each quantity."""
        return {name: float(value[0]) / self.counts[name] for name, value in self.values.items() if self.counts[name]}

    def objective(self) -> float:
        """Return the objective over all that was added, by the final weights."""
        terms = {
            name: mean_penalty(value[1], self.counts[name], self.weights)
            for name, value in self.values.items()
            if self.counts[name]
        }
        return float(combine(terms, self.weights.final, balance=self.weights.balance))

"""Muon for networks of many small matrices: those of one shape are orthogonalised together, in their own precision.

The update of a matrix is its momentum with all singular values made about equal (K. Jordan et al., 2024), scaled so
that an entry changes as much as with AdamW (J. Liu et al., arXiv:2502.16982). PyTorch's own Muon takes the matrices one
by one, in bfloat16, as suits large ones on a GPU; for a student on a CPU that costs a fifth as much as the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from distill.training.gradient.by_shape import ByShape

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd polynomial that takes singular values in (0, 1] towards 1."""

ITERATIONS = 5


class Muon(ByShape):
    """Momentum (Nesterov's), made orthogonal.

    Args:
        parameters: matrices.
        lr: learning rate; an entry changes by 0.2 of it on average, as with AdamW.
        weight_decay: what a step multiplies the weights by is one minus this times the learning rate.
        momentum: decay of the running mean of gradients.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    def _step(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        """Change matrices of one shape; one without a gradient stays."""
        moved = [parameter for parameter in parameters if parameter.grad is not None]
        size = -0.2 * math.sqrt(max(moved[0].shape)) * group["lr"]
        updates = orthogonal(self._momenta(moved, group["momentum"]))
        for parameter, update in zip(moved, updates, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update, alpha=size)

    def _momenta(self, parameters: list[nn.Parameter], momentum: float) -> Tensor:
        """Let the running means follow the gradients; return them, looking ahead one step, ``[K, rows, columns]``."""
        gradients, means = [], []
        for parameter in parameters:
            assert parameter.grad is not None  # noqa: S101 - chosen so
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
            means.append(state["momentum"].lerp_(parameter.grad, 1 - momentum))
        return torch.stack(gradients).lerp_(torch.stack(means), momentum)


def orthogonal(matrices: Tensor) -> Tensor:
    """Return matrices of the same singular vectors whose singular values are between 0.7 and 1.2, ``[K, n, m]``.

    Five Newton-Schulz iterations of an odd polynomial; a matrix of zeros stays as it is.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x

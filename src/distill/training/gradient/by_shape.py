"""The base of optimisers that change all matrices of one shape together: for small ones that costs a fraction."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class ByShape(torch.optim.Optimizer):
    """An optimiser that is asked for a step of all matrices of one shape at a time."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step, after ``closure`` has computed the gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[nn.Parameter]] = {}
            for parameter in group["params"]:
                by_shape.setdefault(tuple(parameter.shape), []).append(parameter)
            for alike in by_shape.values():
                if any(parameter.grad is not None for parameter in alike):
                    self._step(alike, group)
        return loss

    @abstractmethod
    def _step(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        """Change matrices of one shape, of which one at least has a gradient."""

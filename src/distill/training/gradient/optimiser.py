"""The optimisers of a fit: AdamW, or Muon or SOAP for the weight matrices and AdamW for the rest.

Muon (K. Jordan et al., 2024; J. Liu et al., arXiv:2502.16982) makes the update of a matrix orthogonal, so that all of
its directions are learnt at the same pace. A foundation model can then be fine-tuned in fewer steps. SOAP (N. Vyas et
al., arXiv:2409.11321) is Adam in a basis that follows the gradients of a matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import nn

from distill.training.gradient.muon import Muon
from distill.training.gradient.soap import SOAP

Optimiser = Literal["adamw", "muon", "soap"]

SMALLEST = 9
"""Rows and columns that a matrix must have for Muon and SOAP; thinner ones are vectors in effect."""

OTHERS = 0.3
"""Learning rate of what is not a matrix, relative to that of the matrices."""

MOMENTUM = 0.9


def make_optimiser(
    kind: Optimiser, parameters: Sequence[nn.Parameter], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return an optimiser whose weight decay applies to matrices only."""
    if kind == "adamw":
        return _adamw(parameters, learning_rate, weight_decay)
    return WithAdamW(kind, parameters, learning_rate, weight_decay)


def _adamw(parameters: Sequence[nn.Parameter], learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=learning_rate, fused=True)


class WithAdamW(torch.optim.Optimizer):
    """Muon or SOAP beside AdamW, as one optimiser with the parameter groups of both.

    Args:
        kind: which of them changes the matrices.
        parameters: what is fitted.
        learning_rate: of the matrices, scaled so that it means what it means to AdamW.
        weight_decay: of the matrices.
    """

    def __init__(
        self,
        kind: Literal["muon", "soap"],
        parameters: Sequence[nn.Parameter],
        learning_rate: float,
        weight_decay: float,
    ) -> None:
        matrices = [p for p in parameters if p.dim() == 2 and min(p.shape) >= SMALLEST]
        chosen = {id(p) for p in matrices}
        others = [p for p in parameters if id(p) not in chosen]
        self.parts: list[torch.optim.Optimizer] = []
        if matrices and kind == "muon":
            self.parts.append(Muon(matrices, learning_rate, weight_decay, MOMENTUM))
        elif matrices:
            self.parts.append(SOAP(matrices, learning_rate, weight_decay))
        if others:
            self.parts.append(_adamw(others, OTHERS * learning_rate if matrices else learning_rate, weight_decay))
        super().__init__(parameters, {"lr": learning_rate})
        self._share_groups()

    def _share_groups(self) -> None:
        """Make the groups of the parts those that a schedule of learning rates acts on."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step of both, after ``closure`` has computed the gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state of both."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()

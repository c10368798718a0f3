"""SOAP for networks of many small matrices: those of one shape are taken together, in their own precision.

Adam runs in the eigenbasis of Shampoo's preconditioner, which is that of the running means of ``G Gᵀ`` and ``Gᵀ G`` of
a matrix's gradient G (N. Vyas et al., arXiv:2409.11321, 2024). The basis is followed by one step of orthogonal
iteration every few steps. What Adam knows of the sizes of gradients belongs to directions that a matrix of weights
really has, so that it tells apart the stiff and the soft ones of a loss with forces.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from distill.training.gradient.by_shape import ByShape

State = dict[str, Any]


class SOAP(ByShape):
    """Adam in slowly turning bases, one on either side of every matrix.

    Args:
        parameters: matrices.
        lr: learning rate; an entry changes by about as much as with Adam.
        weight_decay: what a step multiplies the weights by is one minus this times the learning rate.
        decays: of the running means of the gradient and of its square; the means that make the basis decay as the
            latter.
        every: steps after which the basis is turned.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float = 0.0,
        decays: tuple[float, float] = (0.95, 0.95),
        every: int = 10,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "decays": decays, "every": every})

    def _step(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        """Change matrices of one shape; one without a gradient has one of zeros. Their state is kept together."""
        gradient = torch.stack([torch.zeros_like(p) if p.grad is None else p.grad for p in parameters])
        state = self.state[parameters[0]]
        if not state:
            begin(state, gradient)
            return
        first, second = group["decays"]
        state["step"] += 1
        for side, gram in grams(gradient).items():
            state[side].lerp_(gram, 1 - second)
        if state["step"] % group["every"] == 0:
            turn(state)
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].lerp_(into(state, gradient).square(), 1 - second)
        mean = into(state, state["mean"]) / (1 - first ** state["step"])
        square = state["square"] / (1 - second ** state["step"])
        update = out_of(state, mean / (square.sqrt() + 1e-8))
        for parameter, change in zip(parameters, update, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(change, alpha=-group["lr"])


def begin(state: State, gradient: Tensor) -> None:
    """Make the bases of matrices ``[K, n, m]`` from their first gradient, which changes nothing else.

    In its own basis that gradient is diagonal: what stands beside the diagonal is rounding, which Adam would take for a
    direction like any other.
    """
    state |= {"step": 0, "mean": torch.zeros_like(gradient), "square": torch.zeros_like(gradient)}
    for side, gram in grams(gradient).items():
        state[side] = gram
        state[f"{side}_basis"] = torch.linalg.eigh(gram)[1].flip(-1)


def grams(gradient: Tensor) -> dict[str, Tensor]:
    """Return the products of gradients ``[K, n, m]`` with themselves, ``[K, n, n]`` and ``[K, m, m]``."""
    return {"left": gradient @ gradient.mT, "right": gradient.mT @ gradient}


def into(state: State, matrices: Tensor) -> Tensor:
    """Return matrices in the bases of the state."""
    found: Tensor = state["left_basis"].mT @ matrices @ state["right_basis"]
    return found


def out_of(state: State, matrices: Tensor) -> Tensor:
    """Return matrices that are in the bases of the state as the network has them."""
    found: Tensor = state["left_basis"] @ matrices @ state["right_basis"].mT
    return found


def turn(state: State) -> None:
    """Let both bases follow their running means by one orthogonal iteration, the largest direction first.

    The squares of the gradient stay with their directions, which turn little.
    """
    for side, dim in (("left", 1), ("right", 2)):
        gram, basis = state[side], state[f"{side}_basis"]
        along = (gram @ basis * basis).sum(1)  # the quadratic form in each direction [K, n]
        order = along.argsort(dim=1, descending=True, stable=True)
        basis = basis.gather(2, order[:, None, :].expand_as(basis))
        index = order[:, :, None] if dim == 1 else order[:, None, :]
        state["square"] = state["square"].gather(dim, index.expand_as(state["square"]))
        state[f"{side}_basis"] = torch.linalg.qr(gram @ basis)[0]

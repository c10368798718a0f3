"""silu without slow numbers and with its second derivative in closed form.

Beyond ±80 the exponential and its products are subnormal numbers, on which a processor takes several times as long;
CHGNet's features reach ±800. Beyond ±40 the logistic function is 0 or 1 to double precision, and is taken there.
Training on forces differentiates twice, and torch then expands the derivative of silu into a dozen elementwise
operations, which takes much of the time of a network whose layers are narrow.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SATURATION = 40.0
"""From here on the logistic function is constant to double precision."""


def bounded(x: Tensor) -> Tensor:
    """Return the values, on a processor cut off where they saturate; a GPU does not mind subnormal numbers."""
    return x if x.is_cuda else x.clamp(-SATURATION, SATURATION)


class _SiLU(torch.autograd.Function):
    """x · σ(x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.nn.functional.silu(x) if x.is_cuda else bounded(x).sigmoid_().mul_(x)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        result: Tensor = _SiLUBackward.apply(upstream, x)
        return result


class _SiLUBackward(torch.autograd.Function):
    """upstream · s'(x) with s' = σ (1 + x (1 − σ)); its own derivative needs s'' = σ (1 − σ) (2 + x (1 − 2σ))."""

    @staticmethod
    def forward(ctx: Any, upstream: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(upstream, x)
        return torch.ops.aten.silu_backward(upstream, bounded(x))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, second: Tensor) -> tuple[Tensor, Tensor]:
        upstream, x = ctx.saved_tensors
        x = bounded(x)
        sigma = torch.sigmoid(x)
        rest = 1 - sigma
        first_derivative = (rest * x).add_(1).mul_(sigma)
        second_derivative = (rest - sigma).mul_(x).add_(2).mul_(rest).mul_(sigma)
        return first_derivative.mul_(second), second_derivative.mul_(second).mul_(upstream)


def silu(x: Tensor) -> Tensor:
    """Return x σ(x); can be differentiated twice, or compiled, or traced."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return torch.nn.functional.silu(x)
    result: Tensor = _SiLU.apply(x)
    return result

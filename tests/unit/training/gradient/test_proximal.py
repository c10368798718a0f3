"""The pull is a share of the way back, after whatever step the optimiser takes."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

from distill.training.gradient.optimiser import make_optimiser
from distill.training.gradient.proximal import pull_to_start


def parameters(seed: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in [(12, 10), (3,), (2, 2)]]


def step(fitted: list[nn.Parameter], optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    sum((p - 1.0).square().sum() for p in fitted).backward()
    optimiser.step()


@pytest.mark.parametrize("kind", ["adamw", "muon", "soap"])
def test_a_step_goes_its_share_of_the_way_back(kind: Literal["adamw", "muon", "soap"]) -> None:
    """The start is not where the weights are now: an interrupted fit continues."""
    free, pulled, start = parameters(0), parameters(0), [p.detach() for p in parameters(1)]
    alone, pulling = (make_optimiser(kind, fitted, 0.01, 0.0) for fitted in (free, pulled))
    pull_to_start(pulling, pulled, start, 20.0)
    step(free, alone)
    step(pulled, pulling)
    rates = {id(p): group["lr"] for group in pulling.param_groups for p in group["params"]}
    for without, with_, home in zip(free, pulled, start, strict=True):
        share = 20.0 * rates[id(with_)]
        torch.testing.assert_close(with_.detach(), (1 - share) * without.detach() + share * home)


def test_a_pull_without_end_leaves_the_weights_where_they_started() -> None:
    fitted = parameters(0)
    start = [p.detach().clone() for p in fitted]
    optimiser = make_optimiser("adamw", fitted, 0.01, 0.0)
    pull_to_start(optimiser, fitted, start, 1e6)
    for _ in range(3):
        step(fitted, optimiser)
    assert all(torch.equal(p, home) for p, home in zip(fitted, start, strict=True))


def test_the_pull_balances_a_force_as_a_penalty_does() -> None:
    """Plain gradient descent on (w - 1)² with the pull λ rests at 2 / (2 + λ) for small rates η.

    One step is w ← (1 - λη) (w - 2η (w - 1)), whose fixed point is 2 (1 - λη) / (2 + λ - 2λη).
    """
    weight, rate, strength = nn.Parameter(torch.zeros(1, dtype=torch.float64)), 0.02, 3.0
    optimiser = torch.optim.SGD([weight], lr=rate)
    pull_to_start(optimiser, [weight], [torch.zeros(1, dtype=torch.float64)], strength)
    for _ in range(300):
        step([weight], optimiser)
    rest = 2 * (1 - strength * rate) / (2 + strength - 2 * strength * rate)
    assert weight.item() == pytest.approx(rest, rel=1e-9)

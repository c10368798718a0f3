"""Muon and SOAP beside AdamW: what each of them changes, and by how much."""

from __future__ import annotations

import copy
from typing import Literal

import pytest
import torch
from torch import nn

from distill.training.gradient.muon import Muon
from distill.training.gradient.optimiser import OTHERS, WithAdamW, make_optimiser
from distill.training.gradient.soap import SOAP

RATE = 0.01


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 1))


def stepped(optimiser: str, steps: int = 1) -> tuple[nn.Module, nn.Module]:
    before = network()
    after = copy.deepcopy(before)
    chosen = make_optimiser(optimiser, list(after.parameters()), RATE, 0.0)  # type: ignore[arg-type]
    x = torch.randn(64, 16)
    for _ in range(steps):
        chosen.zero_grad()
        after(x).square().mean().backward()
        chosen.step()
    return before, after


def test_the_update_of_a_matrix_has_equal_singular_values() -> None:
    before, after = stepped("muon")
    change = torch.linalg.svdvals((after[0].weight - before[0].weight).detach())
    size = 0.2 * RATE * 32**0.5  # the scale at which an entry changes by 0.2 RATE, as with AdamW
    assert (change / size).min() > 0.5 and (change / size).max() < 1.3  # Muon's polynomial stops at 0.7 to 1.2
    plain = torch.linalg.svdvals((stepped("adamw")[1][0].weight - before[0].weight).detach())
    assert plain.min() < 0.3 * plain.max()


Kind = Literal["muon", "soap"]
both = pytest.mark.parametrize("kind", ["muon", "soap"])


@both
def test_thin_matrices_and_vectors_change_as_with_adamw(kind: Kind) -> None:
    before, after = stepped(kind)
    for name in ("0.bias", "2.weight", "2.bias"):
        change = (after.get_parameter(name) - before.get_parameter(name)).abs()
        assert torch.allclose(change, torch.tensor(OTHERS * RATE), rtol=1e-3), name  # the first step of Adam


@both
def test_a_schedule_acts_on_both(kind: Kind) -> None:
    optimiser = WithAdamW(kind, list(network().parameters()), RATE, 0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.5)
    assert [group["lr"] for part in optimiser.parts for group in part.param_groups] == pytest.approx(
        [0.5 * RATE, *[0.5 * OTHERS * RATE] * 2]
    )
    assert schedule.get_last_lr() == [group["lr"] for group in optimiser.param_groups]


@both
def test_the_state_is_taken_up_exactly(kind: Kind) -> None:
    model, x = network(), torch.randn(64, 16)

    def step(net: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        for _ in range(11):  # SOAP's bases turn at the tenth
            optimiser.zero_grad()
            net(x).square().mean().backward()
            optimiser.step()

    first = WithAdamW(kind, list(model.parameters()), RATE, 0.0)
    step(model, first)
    other = copy.deepcopy(model)
    second = WithAdamW(kind, list(other.parameters()), RATE, 0.0)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    step(model, first)
    step(other, second)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_matrices_taken_together_change_as_pytorchs_muon_changes_each() -> None:
    torch.manual_seed(1)
    weights = [torch.randn(shape) for shape in ((32, 16), (16, 32), (32, 16), (24, 24))]
    ours, theirs = ([nn.Parameter(w.clone()) for w in weights] for _ in range(2))
    one = Muon(ours, RATE, weight_decay=0.1, momentum=0.9)
    other = torch.optim.Muon(theirs, lr=RATE, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        gradients = [torch.randn_like(w) for w in weights]
        for parameters, optimiser in ((ours, one), (theirs, other)):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient.clone()
            optimiser.step()
    for a, b, w in zip(ours, theirs, weights, strict=True):
        # PyTorch's iterates in bfloat16, which has three digits; a step's entries are of the order of 0.2 RATE
        assert (a - b).abs().mean() < 0.05 * (a - w).abs().mean()


@pytest.mark.parametrize("of", [Muon, SOAP])
def test_a_matrix_without_gradient_stays(of: type[torch.optim.Optimizer]) -> None:
    used, unused = nn.Parameter(torch.randn(9, 9)), nn.Parameter(torch.randn(9, 9))
    used.grad = torch.zeros(9, 9)
    before = used.detach().clone(), unused.detach().clone()
    of([used, unused], lr=RATE).step()  # type: ignore[call-arg]
    assert torch.equal(used, before[0]) and torch.equal(unused, before[1])


SHAPES = [(16, 16), (8, 24), (24, 8), (16, 16)]
"""Square, wide and tall matrices, two of one shape."""


def moved(kind: type[torch.optim.Optimizer], steps: int, **options: object) -> list[torch.Tensor]:
    """Return matrices of double precision after some steps with the same gradients for every optimiser."""
    generator = torch.Generator().manual_seed(0)
    drawn = {"generator": generator, "dtype": torch.float64}
    matrices = [nn.Parameter(torch.randn(shape, **drawn)) for shape in SHAPES]  # type: ignore[call-overload]
    optimiser = kind(matrices, lr=RATE, momentum=0.9, weight_decay=0.1, **options)  # type: ignore[call-arg]
    for _ in range(steps):
        for matrix in matrices:
            matrix.grad = torch.randn(matrix.shape, **drawn)  # type: ignore[call-overload]
        optimiser.step()
    return [matrix.detach() for matrix in matrices]


@pytest.mark.parametrize("steps", [1, 5])
def test_muon_is_the_one_of_pytorch(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's own, in double precision where it would round to bfloat16: momentum, polynomial, scale and decay."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    theirs = moved(torch.optim.Muon, steps, adjust_lr_fn="match_rms_adamw")
    for one, other in zip(moved(Muon, steps), theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def soap_path(gradients: torch.Tensor, kind: type[torch.optim.Optimizer] = SOAP, **options: object) -> torch.Tensor:
    """Return where a matrix that begins at zero goes with gradients ``[steps, n, m]``."""
    matrix = nn.Parameter(torch.zeros(gradients.shape[1:], dtype=gradients.dtype))
    optimiser = kind([matrix], lr=RATE, **options)  # type: ignore[call-arg]
    for gradient in gradients:
        matrix.grad = gradient.clone()
        optimiser.step()
    return matrix.detach()


def test_soap_is_adam_where_the_gradients_lie_along_the_axes() -> None:
    """Singular vectors of diagonal matrices are the axes; their order changes on the way."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([1.0, 3.0, 0.3, 10.0], dtype=torch.float64)
    drift = torch.linspace(0, 1, 35, dtype=torch.float64)[:, None]
    entries = (sizes * (1 - drift) + sizes.flip(0) * drift) * torch.randn(35, 4, generator=generator).double()
    gradients = torch.diag_embed(entries)
    adam = soap_path(gradients[1:], torch.optim.Adam, betas=(0.95, 0.95))  # the first makes SOAP's bases
    # Beside the diagonal stands rounding, which Adam divides by 1e-8.
    torch.testing.assert_close(soap_path(gradients), adam, rtol=1e-9, atol=1e-7)


def test_soap_does_not_depend_on_the_axes() -> None:
    """A network whose hidden units are rotated learns the same, rotated; with Adam it does not."""
    generator = torch.Generator().manual_seed(0)
    drawn = {"generator": generator, "dtype": torch.float64}
    scale = torch.linspace(0.1, 2.0, 9, dtype=torch.float64)  # distinct directions: bases are unique but for signs
    gradients = torch.randn(25, 9, 9, **drawn) * scale  # type: ignore[call-overload]
    left, right = (torch.linalg.qr(torch.randn(n, n, **drawn))[0] for n in (9, 9))  # type: ignore[call-overload]
    for kind, alike in ((SOAP, True), (torch.optim.Adam, False)):
        rotated = left.mT @ soap_path(left @ gradients @ right.mT, kind) @ right
        assert torch.allclose(rotated, soap_path(gradients, kind), rtol=0, atol=1e-9) == alike

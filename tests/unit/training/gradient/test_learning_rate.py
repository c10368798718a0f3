"""The plateau rule against PyTorch's scheduler, and the cosine at its ends."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.training.gradient.schedule import Cosine, Plateau


@given(
    losses=st.lists(st.sampled_from([1.0, 0.9, 0.8, 0.7999, 0.5, 2.0]), min_size=1, max_size=60),
    factor=st.sampled_from([0.5, 0.8]),
    patience=st.integers(0, 5),
)
def test_plateau_is_pytorchs_rule(losses: list[float], factor: float, patience: int) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=factor, patience=patience)
    for count, loss in enumerate(losses, start=1):
        theirs.step(loss)
        # a product against a power: rounding
        assert Plateau(factor, patience).rate(0, losses[:count]) == pytest.approx(
            optimiser.param_groups[0]["lr"], rel=1e-12
        )


def test_a_loss_that_is_not_a_number_counts_as_no_gain() -> None:
    assert Plateau(0.5, 1).rate(0, [1.0, float("nan"), float("nan")]) == 0.5


def test_cosine_rises_to_one_and_falls_to_a_hundredth() -> None:
    rates = [Cosine(200).rate(step, []) for step in range(201)]
    assert max(rates) == 1.0
    assert np.argmax(rates) == 9  # 5 % of 200 steps, counted from 0
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.01)
    assert all(b <= a for a, b in pairwise(rates[9:]))

"""The objective against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from distill.potentials.graph import Batch
from distill.potentials.potential import Prediction
from distill.training.losses import LossWeights, objective, residuals


def batch(stress: torch.Tensor | None) -> Batch:
    """Two structures of one and two atoms."""
    return Batch(
        numbers=torch.tensor([1, 1, 1]),
        positions=torch.zeros(3, 3),
        cells=torch.eye(3).expand(2, 3, 3),
        periodic=torch.ones(2, dtype=torch.bool),
        pairs=torch.zeros(2, 0, dtype=torch.long),
        shifts=torch.zeros(0, 3),
        structure=torch.tensor([0, 1, 1]),
        energy=torch.tensor([1.0, 2.0], dtype=torch.float64),
        forces=torch.zeros(3, 3),
        stress=stress,
    )


def prediction() -> Prediction:
    return Prediction(
        energy=torch.tensor([1.5, 4.0], dtype=torch.float64), forces=torch.full((3, 3), 0.2), stress=torch.ones(2, 3, 3)
    )


def test_energy_counts_per_atom() -> None:
    assert residuals(prediction(), batch(None))["energy"].tolist() == [0.5, 1.0]


def test_structures_without_stress_label_do_not_count() -> None:
    labels = torch.zeros(2, 3, 3)
    labels[0] = math.nan
    found = residuals(prediction(), batch(labels))["virial"]
    assert found.shape == (9,)
    assert found.tolist() == [0.5] * 9  # a stress of 1 in a volume of 1 with two atoms


def test_objective_in_both_regimes() -> None:
    # Quadratic below the threshold: 0.05² / 2 / 0.1 = 0.0125; linear above: 0.3 - 0.05 = 0.25; both times the weight.
    weights = LossWeights(energy=2.0, forces=3.0, huber=0.1)
    errors = {"energy": torch.tensor([0.05]), "forces": torch.tensor([0.3, -0.3])}
    # single precision rounding
    assert float(objective(errors, weights)) == pytest.approx(2 * 0.0125 + 3 * 0.25, rel=1e-6)

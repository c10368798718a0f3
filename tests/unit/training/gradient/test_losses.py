"""The objective against values worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from distill.potentials.interface.batch import Batch, Prediction
from distill.training.gradient.losses import (
    Kind,
    LossWeights,
    combine,
    mean_penalty,
    micro_batch_terms,
    penalties,
    residuals,
    weights_of_labels,
)


def batch(stress: torch.Tensor | None) -> Batch:
    """Two structures of one and two atoms."""
    return Batch(
        numbers=torch.tensor([1, 1, 1]),
        positions=torch.zeros(3, 3),
        cells=torch.eye(3).expand(2, 3, 3),
        periodic=torch.ones(2, dtype=torch.bool),
        edges=torch.zeros(2, 0, dtype=torch.long),
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
    assert (found[0] == 0).all()
    assert (found[1] == 0.5).all()  # a stress of 1 in a volume of 1 with two atoms


def value(errors: dict[str, torch.Tensor], weights: LossWeights) -> float:
    """The objective on one whole batch."""
    counts = {name: error.numel() for name, error in errors.items()}
    return float(combine(micro_batch_terms(errors, weights, counts, counts), weights.final))


def test_huber_in_both_regimes() -> None:
    # Quadratic below the threshold: 0.05² / 2 / 0.1 = 0.0125; linear above: 0.3 - 0.05 = 0.25; both times the weight.
    weights = LossWeights(energy=2.0, forces=3.0, huber=0.1)
    errors = {"energy": torch.tensor([0.05]), "forces": torch.tensor([0.3, -0.3])}
    # single precision rounding
    assert value(errors, weights) == pytest.approx(2 * 0.0125 + 3 * 0.25, rel=1e-6)


def test_mean_absolute_and_root_mean_square() -> None:
    errors = {"energy": torch.tensor([3.0, -1.0]), "forces": torch.tensor([1.0, 7.0])}
    assert value(errors, LossWeights(energy=1, forces=10, kind="mae")) == pytest.approx(2 + 40, rel=1e-6)
    expected = math.sqrt(5) + 10 * 5  # sqrt((9 + 1) / 2), sqrt((1 + 49) / 2)
    assert value(errors, LossWeights(energy=1, forces=10, kind="rmse")) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", ["huber", "mae"])
def test_parts_of_a_batch_add_up_to_it(kind: Kind) -> None:
    weights = LossWeights(kind=kind)
    error = torch.linspace(-0.2, 0.3, 7)
    whole = {"forces": 7}
    parts = [
        micro_batch_terms({"forces": e}, weights, {"forces": len(e)}, whole)["forces"] for e in error.split([2, 4, 1])
    ]
    assert float(torch.stack(parts).sum()) == pytest.approx(float(mean_penalty(penalties(error, weights), 7, weights)))


def test_weights_change_at_the_turn() -> None:
    weights = LossWeights(energy=1, forces=100, virial=2, later={"energy": 50.0, "forces": 5.0}, turn=0.6)
    early, late = {"energy": 1, "forces": 100, "virial": 2}, {"energy": 50, "forces": 5, "virial": 2}
    others = {"atomic_energy": 0, "hessian": 0}
    assert weights.at(0.59) == early | others
    assert weights.at(0.6) == weights.final == late | others
    assert LossWeights(virial=0.0, later={"virial": 1.0}).wants("virial") and not LossWeights(virial=0.0).wants(
        "virial"
    )


def test_balanced_terms_push_as_their_weights_say() -> None:
    """The gradient of the geometric mean by the logarithm of each term is in proportion to the weights."""
    small, large = torch.tensor(1e-3, requires_grad=True), torch.tensor(50.0, requires_grad=True)
    combine({"energy": small, "forces": large}, {"energy": 1.0, "forces": 3.0}, balance=True).backward()
    assert small.grad is not None and large.grad is not None
    assert float(large.grad * 50.0 / (small.grad * 1e-3)) == pytest.approx(3.0, rel=1e-4)


def test_nothing_to_learn_is_an_error() -> None:
    with pytest.raises(ValueError, match="no labelled quantity"):
        combine({"energy": torch.tensor(1.0)}, {"energy": 0.0})


def test_what_stands_at_a_missing_label_does_not_count() -> None:
    """The gradient is that of the labelled components alone, averaged over them, to rounding."""
    labels = batch(None)
    labels.energy = torch.tensor([1.0, math.nan], dtype=torch.float64)
    labels.forces = torch.tensor([[0.1, math.nan, 0.3], [math.nan] * 3, [0.0, 0.2, 0.1]], dtype=torch.float64)
    energy = torch.tensor([1.5, 4.0], dtype=torch.float64, requires_grad=True)
    forces = torch.full((3, 3), 0.2, dtype=torch.float64, requires_grad=True)
    found = residuals(Prediction(energy, forces, None), labels)
    weights = LossWeights(energy=2.0, forces=3.0, kind="mae")
    counts = {"energy": 1, "forces": 5}
    combine(micro_batch_terms(found, weights, counts, counts), weights.final).backward()
    signs = torch.tensor([[1.0, 0, -1], [0, 0, 0], [1, 0, 1]], dtype=torch.float64)  # 0.2 - 0.2 has none
    assert energy.grad is not None and forces.grad is not None
    assert torch.allclose(energy.grad, torch.tensor([2.0, 0.0], dtype=torch.float64), atol=1e-12)
    assert torch.allclose(forces.grad, 3.0 / 5 * signs, atol=1e-12)


@pytest.mark.parametrize("kind", ["huber", "mae", "rmse"])
def test_labels_count_by_their_weights(kind: Kind) -> None:
    """By hand: the weighted sum over the number of labels; weights of 1 change no bit."""
    weights = LossWeights(energy=0.0, forces=1.0, kind=kind, huber=0.5)
    errors = {"forces": torch.tensor([[2.0, 0.0], [1.0, 1.0]])}
    of_each = {"forces": torch.tensor([[0.5], [3.0]])}
    counts = {"forces": 4}
    found = float(micro_batch_terms(errors, weights, counts, counts, of_each)["forces"])
    # Huber beyond its threshold of 0.5, divided by it: |e| − 0.25; squares 4, 0, 1, 1
    by_hand = {"huber": 0.5 * 1.75 + 3 * 1.5, "mae": 0.5 * 2 + 3 * 2, "rmse": 0.5 * 4 + 3 * 2}[kind] / 4
    assert found == pytest.approx(math.sqrt(by_hand) if kind == "rmse" else by_hand, rel=1e-6)
    ones = {"forces": torch.ones(2, 1)}
    plain = micro_batch_terms(errors, weights, counts, counts)
    assert torch.equal(micro_batch_terms(errors, weights, counts, counts, ones)["forces"], plain["forces"])


def test_weights_of_labels_are_of_structures_and_atoms() -> None:
    plain = batch(None)
    assert weights_of_labels(plain) == {}
    of_structure, of_atom = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0, 5.0])
    weighed = weights_of_labels(replace(plain, extra={"energy_weight": of_structure, "forces_weight": of_atom}))
    shapes = {name: tuple(weight.shape) for name, weight in weighed.items()}
    assert shapes == {"energy": (2,), "virial": (2, 1, 1), "forces": (3, 1)}

"""Sums of a validation: the same whatever the batches, absent labels count nothing, processes are added up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed

from distill.training.gradient.losses import LossWeights
from distill.training.gradient.sums import ValidationSums

ERRORS = {"energy": torch.tensor([0.1, -0.3, 0.2]), "forces": torch.arange(-4.0, 5.0)}


def added(weights: LossWeights, *parts: dict[str, Tensor]) -> ValidationSums:
    sums = ValidationSums(weights)
    for errors in parts:
        sums.add(errors, {name: error.numel() for name, error in errors.items()})
    return sums


def parts() -> list[dict[str, Tensor]]:
    """The same residuals in three batches, one of which has no energies."""
    return [
        {"energy": ERRORS["energy"][:1], "forces": ERRORS["forces"][:2]},
        {"forces": ERRORS["forces"][2:3]},
        {"energy": ERRORS["energy"][1:], "forces": ERRORS["forces"][3:]},
    ]


@pytest.mark.parametrize("kind", ["mae", "rmse", "huber"])
def test_batches_do_not_matter(kind: str) -> None:
    weights = LossWeights(kind=kind)  # type: ignore[arg-type]
    whole, divided = added(weights, ERRORS), added(weights, *parts())
    # sums in double precision
    assert divided.mean_absolute() == pytest.approx(whole.mean_absolute(), rel=1e-6)
    assert divided.objective() == pytest.approx(whole.objective(), rel=1e-6)


def test_means_and_objective_are_those_of_the_residuals() -> None:
    sums = added(LossWeights(energy=2.0, forces=3.0, kind="mae"), ERRORS)
    assert sums.mean_absolute() == pytest.approx({"energy": 0.2, "forces": 20 / 9}, rel=1e-6)
    assert sums.objective() == pytest.approx(2 * 0.2 + 3 * 20 / 9, rel=1e-6)
    roots = added(LossWeights(energy=2.0, forces=3.0, kind="rmse"), ERRORS)
    # squares: 0.14 of three energies, 60 of nine components
    assert roots.objective() == pytest.approx(2 * (0.14 / 3) ** 0.5 + 3 * (60 / 9) ** 0.5, rel=1e-6)


def test_what_has_no_labels_is_left_out() -> None:
    sums = added(LossWeights(virial=5.0), ERRORS)
    sums.add({"virial": torch.zeros(6)}, {"virial": 0})
    assert set(sums.mean_absolute()) == {"energy", "forces"}
    assert sums.objective() == added(LossWeights(virial=5.0), ERRORS).objective()
    assert ValidationSums(LossWeights()).mean_absolute() == {}


def test_the_sums_of_one_process_stay_what_they_are(tmp_path: Path) -> None:
    """Two processes are in test_distributed."""
    sums = added(LossWeights(), *parts())
    before = sums.mean_absolute(), sums.objective()
    distributed.init_process_group("gloo", f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        sums.add_up(torch.device("cpu"))
    finally:
        distributed.destroy_process_group()
    assert (sums.mean_absolute(), sums.objective()) == before

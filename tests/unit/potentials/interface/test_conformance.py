"""The conformance check finds each fault that it looks for."""

from __future__ import annotations

import pytest
import torch

from distill.potentials.interface.batch import Batch
from distill.potentials.interface.conformance import check_potential
from distill.potentials.interface.potential import Potential
from distill.potentials.networks.painn import PaiNNPotential
from distill.potentials.students.painn import PaiNN


def neighbours(batch: Batch) -> torch.Tensor:
    """Return a differentiable count of the neighbours of each atom."""
    weight = torch.exp(-batch.vectors().square().sum(-1))
    return weight.new_zeros(len(batch.numbers)).index_add(0, batch.centres, weight.repeat(2))


def faulty(batch: Batch, fault: str) -> torch.Tensor:
    """Return a term that breaks one law."""
    if fault == "direction":
        return neighbours(batch).detach() * 0.5
    if fault == "translation":
        return 0.01 * batch.positions[:, 0]
    if fault == "rotation":
        across = batch.vectors()[:, 0].square() * torch.exp(-batch.vectors().square().sum(-1))
        return across.new_zeros(len(batch.numbers)).index_add(0, batch.edges[0], across)
    if fault == "doubling the cell":
        return neighbours(batch) / len(batch.numbers)
    if fault == "batching":
        return neighbours(batch) * batch.n_structures
    return 0.1 * torch.arange(len(batch.numbers)) * batch.numbers  # the order of the atoms


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("direction", "the forces say"),
        ("translation", "a lattice vector"),
        ("rotation", "a rotation"),
        ("doubling the cell", "doubling the cell"),
        ("batching", "batching"),
        ("permutation", "a permutation"),
    ],
)
def test_a_fault_is_found(painn: Potential, fault: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = PaiNNPotential.atomic_energies
    assert check_potential(painn) == []
    monkeypatch.setattr(
        PaiNNPotential, "atomic_energies", lambda self, batch: sound(self, batch) + faulty(batch, fault)
    )
    assert any(word in failure for failure in check_potential(painn)), check_potential(painn)


def test_a_loss_in_saving_is_found(painn: Potential) -> None:
    painn.settings = PaiNN.Settings(channels=8, layers=2, radial_features=6, cutoff=4.0)
    assert any("saving" in failure for failure in check_potential(painn))

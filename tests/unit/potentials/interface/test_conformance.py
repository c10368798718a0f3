"""The conformance check finds each fault that it looks for."""

from __future__ import annotations

import pytest
import torch

from distill.potentials.interface.batch import Batch
from distill.potentials.interface.conformance import check_potential
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.smoothness import force_constants, perfect_crystals
from distill.potentials.networks.painn import FORMER_SOFTENING, PaiNNPotential
from distill.potentials.students.painn import PaiNN
from distill.structures.frames import Frames


def neighbours(batch: Batch) -> torch.Tensor:
    """Return a differentiable count of the neighbours of each atom."""
    weight = torch.exp(-batch.vectors().square().sum(-1))
    return weight.new_zeros(len(batch.numbers)).index_add(0, batch.centres, weight.repeat(2))


def faulty(batch: Batch, fault: str) -> torch.Tensor:
    """Return a term that breaks one law."""
    if fault == "direction":
        return neighbours(batch).detach() * 0.5
    if fault == "place":
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
        ("place", "a rotation"),
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


def test_the_tip_of_a_cone_is_found(painn: Potential) -> None:
    """Lengths of vectors as they are published: their tip is at every symmetric site."""
    for update in painn.updates:
        update.softening.fill_(FORMER_SOFTENING)
    found = check_potential(painn)
    assert {name for name in ("diamond", "fcc", "bcc", "rocksalt") for f in found if f" of {name} depends" in f}, found
    assert all("depends on the displacement" in failure for failure in found)


def test_force_constants_are_those_of_springs() -> None:
    """An atom on springs of 3 eV/Å² along x and 5 across: the direction chosen mixes them by its squares."""
    crystal = perfect_crystals(14, 14)["bcc"]

    def springs(frames: Frames) -> Frames:
        moved = frames.positions.reshape(len(frames), -1, 3) - crystal.positions
        return frames.with_labels(None, (-moved * [3.0, 5.0, 5.0]).reshape(-1, 3), None)

    expected = 3.0 * 0.6**2 + 5.0 * (0.48**2 + 0.64**2)
    assert force_constants(springs, crystal) == pytest.approx(expected, rel=1e-9)

"""A label that is missing is NaN, and a fit with such labels is one in which they do not exist."""

from __future__ import annotations

import numpy as np
import torch
from test_gradient import frames, student

from distill.potentials.networks.student import fit_reference_energies
from distill.structures.frames import Frames
from distill.training.baseline import energy_spread
from distill.training.gradient.losses import LossWeights
from distill.training.gradient.module import FitModule
from distill.training.gradient.schedule import Cosine
from distill.training.reference_energies import element_shift

DATA = frames(6, 0)
WEIGHTS = LossWeights(energy=1.0, forces=10.0, kind="mae")


def without(data: Frames, atoms: list[int], structures: list[int]) -> Frames:
    """Return structures without the forces of some atoms and the energies of some structures."""
    energy, forces = np.array(data.energy), np.array(data.forces)
    energy[structures], forces[atoms] = np.nan, np.nan
    return data.with_labels(energy, forces, data.stress)


MASKED = without(DATA, [0, 3, 7], [2])


def module(data: Frames) -> FitModule:
    potential = student().double()
    potential.initialise(DATA)
    made = FitModule(
        potential,
        potential.prepare(data),
        potential.prepare(data),
        WEIGHTS,
        total=10,
        learning_rate=1e-3,
        schedule=Cosine(10),
    ).train()
    made.manual_backward = lambda loss: loss.backward()  # type: ignore[method-assign]  # no trainer is there
    return made


def gradient(made: FitModule, chosen: list[int]) -> torch.Tensor:
    made.zero_grad()
    made.accumulate(np.array(chosen), WEIGHTS.at(0.0))
    return torch.cat([p.grad.flatten() for p in made.potential.parameters() if p.grad is not None])


def test_the_gradient_is_that_of_what_is_labelled() -> None:
    """By hand, for mean absolute errors in double precision."""
    made = module(MASKED)
    found = gradient(made, list(range(len(DATA))))
    potential = made.potential
    potential.zero_grad()
    predicted = potential(potential.batch(DATA), stress=False)
    energy, forces = (torch.tensor(np.array(values)) for values in (MASKED.energy, MASKED.forces))
    known, known_forces = torch.isfinite(energy), torch.isfinite(forces)
    sizes = torch.tensor(np.array(DATA.n_atoms))
    loss = ((predicted.energy - energy) / sizes)[known].abs().mean()
    loss = loss + 10 * (predicted.forces[known_forces] - forces[known_forces]).abs().mean()
    loss.backward()
    expected = torch.cat([p.grad.flatten() for p in potential.parameters() if p.grad is not None])
    # the loss is added up in single precision, whose rounding scales the gradient
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7 * float(expected.abs().max()))


def test_whole_structures_without_labels_are_as_if_they_were_not_there() -> None:
    atoms = np.flatnonzero(DATA.structure_of_atom >= 4).tolist()
    some = gradient(module(without(DATA, atoms, [4, 5])), list(range(6)))
    torch.testing.assert_close(
        some, gradient(module(DATA), [0, 1, 2, 3]), rtol=1e-6, atol=1e-7 * float(some.abs().max())
    )


def test_a_batch_without_any_label_moves_nothing() -> None:
    atoms = np.flatnonzero(DATA.structure_of_atom == 1).tolist()
    found = gradient(module(without(DATA, atoms, [1])), [1])
    assert len(found) and not found.any()


def test_validation_averages_over_what_is_labelled() -> None:
    made = module(MASKED)
    made.on_validation_epoch_start()
    made.validation_step(np.arange(len(DATA)), 0)
    predicted = made.potential.evaluate(DATA, stress=False)
    errors = made.sums.mean_absolute()
    assert MASKED.forces is not None and predicted.forces is not None
    expected = np.nanmean(np.abs(predicted.forces - MASKED.forces))
    assert abs(errors["forces"] - expected) < 1e-9 * expected, "double precision"


def test_reference_energies_and_scale_come_from_what_is_labelled() -> None:
    assert MASKED.energy is not None and MASKED.forces is not None
    kept = DATA[[0, 1, 3, 4, 5]]
    expected, _ = fit_reference_energies(kept)
    energies, left = fit_reference_energies(MASKED)
    assert np.allclose(energies, expected, rtol=1e-12) and np.isnan(left).tolist() == np.isnan(MASKED.energy).tolist()
    shift = element_shift(MASKED, MASKED.energy)
    assert shift.shift == element_shift(kept, np.array(kept.energy)).shift
    assert np.isnan(shift.residual).sum() == 1 and "nan" not in shift.text()
    potential = student()
    potential.initialise(MASKED)
    assert float(potential.scale.detach().max()) == np.float32(np.sqrt(np.nanmean(MASKED.forces**2)))
    assert energy_spread(kept, MASKED) == energy_spread(kept, kept)

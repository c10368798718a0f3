"""The module of every fit: gradients do not depend on how a batch is divided, validation sums do not either."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_gradient import frames, student

from distill.base.errors import WorkError
from distill.potentials.interface.potential import Potential
from distill.training.gradient.losses import LossWeights
from distill.training.gradient.module import FitModule, attach_targets
from distill.training.gradient.schedule import Cosine
from distill.training.targets import Targets

DATA, VALID = frames(6, 0), frames(4, 1)
WEIGHTS = LossWeights(energy=1.0, forces=10.0)


def module(potential: Potential | None = None, **changes: object) -> FitModule:
    """Return the module of a small student."""
    if potential is None:
        potential = student()
        potential.initialise(DATA)
    sets = [potential.prepare(structures) for structures in (DATA, VALID)]
    how: dict = {"total": 10, "learning_rate": 1e-3, "schedule": Cosine(10)}
    made = FitModule(potential, *sets, WEIGHTS, **how | changes).train()
    made.manual_backward = lambda loss: loss.backward()  # type: ignore[method-assign]  # no trainer is there
    return made


def gradient(made: FitModule, micro_batches: int = 1) -> tuple[torch.Tensor, dict[str, float]]:
    made.micro_batches = micro_batches
    made.zero_grad()
    terms = made.accumulate(np.arange(len(DATA)), WEIGHTS.at(0.0))
    flat = torch.cat([p.grad.flatten() for p in made.potential.parameters() if p.grad is not None])
    return flat, {name: float(term) for name, term in terms.items()}


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("micro_batches", [2, 3, 6])
def test_the_gradient_of_a_batch_is_that_of_its_parts_together(micro_batches: int, weighed: bool) -> None:
    made = module()
    if weighed:
        made.train_set.weigh(np.linspace(0, 2, 6), np.linspace(0, 2, 48))
    whole, terms = gradient(made)
    parts, terms_of_parts = gradient(made, micro_batches)
    # single precision, sums in another order
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))
    assert terms_of_parts == pytest.approx(terms, rel=1e-5)


def test_the_gradient_is_the_derivative_of_the_objective() -> None:
    made = module()
    found, _ = gradient(made)
    parameters = [p for p in made.potential.parameters() if p.grad is not None]
    rng = torch.Generator().manual_seed(0)
    direction = [torch.randn(p.shape, generator=rng, dtype=p.dtype) for p in parameters]
    objectives = []
    for step in (1e-3, -1e-3):
        with torch.no_grad():
            for parameter, along in zip(parameters, direction, strict=True):
                parameter.add_(along, alpha=step)
        terms = gradient(made)[1]
        objectives.append(sum(WEIGHTS.at(0.0)[name] * term for name, term in terms.items()))
        with torch.no_grad():
            for parameter, along in zip(parameters, direction, strict=True):
                parameter.sub_(along, alpha=step)
    expected = float(
        sum(
            (found_part * along).sum()
            for found_part, along in zip(
                torch.split(found, [p.numel() for p in parameters]), [d.flatten() for d in direction], strict=True
            )
        )
    )
    # central differences, whose truncation and single precision each leave some tenths of a percent
    assert (objectives[0] - objectives[1]) / 2e-3 == pytest.approx(expected, rel=0.01)


def validated(made: FitModule, batches: list[list[int]]) -> tuple[dict[str, float], float]:
    made.on_validation_epoch_start()
    for number, batch in enumerate(batches):
        made.validation_step(np.array(batch, dtype=np.int64), number)
    return made.sums.mean_absolute(), made.sums.objective()


def test_validation_does_not_depend_on_its_batches() -> None:
    made = module()
    errors, objective = validated(made, [[0, 1, 2, 3]])  # labels are of single precision
    divided = validated(made, [[2], [], [0, 3], [1]])
    assert divided[0] == pytest.approx(errors, rel=1e-6) and divided[1] == pytest.approx(objective, rel=1e-6)
    found = made.potential.evaluate(VALID)
    assert found.forces is not None and VALID.forces is not None
    # the same numbers by the way that users go, single precision
    assert errors["forces"] == pytest.approx(np.abs(found.forces - VALID.forces).mean(), rel=1e-5)


class Short(RuntimeError):
    """What a device says whose memory is short."""


def test_a_batch_that_does_not_fit_is_divided_and_one_structure_is_refused_in_words() -> None:
    made = module()
    short = torch.OutOfMemoryError("no room")
    made._make_room(short, 6)
    made._make_room(short, 6)
    assert made.micro_batches == 4
    with pytest.raises(WorkError, match="one structure at a time"):
        made._make_room(short, 4)
    with pytest.raises(Short):
        made._make_room(Short("shapes do not match"), 6)


def test_the_number_of_micro_batches_is_kept_in_checkpoints() -> None:
    made, again, kept = module(), module(), {}
    made.micro_batches = 4
    made.on_save_checkpoint(kept)
    again.on_load_checkpoint(kept)
    assert again.micro_batches == 4 and again.transfer_batch_to_device(DATA.n_atoms, torch.device("cpu"), 0) is not None


def test_running_means_follow_the_terms_where_they_are_balanced() -> None:
    made = module()
    terms = {"energy": torch.tensor(2.0), "forces": torch.tensor(8.0)}
    made._remember(terms)
    assert not made.means.any(), "without balance there are none"
    made.weights = replace(WEIGHTS, balance=True)
    made._remember(terms)
    assert made.means[:2].tolist() == [2.0, 8.0]
    made._remember({"energy": torch.tensor(0.0)})
    assert made.means[:2].tolist() == pytest.approx([1.98, 8.0], rel=1e-6)


def test_weights_belong_to_their_structures_and_atoms() -> None:
    targets = Targets(energy_weight=np.arange(6.0), forces_weight=np.arange(48.0))
    batch = attach_targets(student().prepare(DATA), targets).select(np.array([4, 1]), torch.device("cpu"))
    assert batch.extra["energy_weight"].tolist() == [4, 1]
    assert batch.extra["forces_weight"].tolist() == [*range(32, 40), *range(8, 16)]


def test_further_labels_belong_to_their_structures() -> None:
    potential = student()
    dataset = attach_targets(potential.prepare(DATA), Targets(np.arange(48.0), None, None))
    batch = dataset.select(np.array([4, 1]), torch.device("cpu"))
    assert batch.extra["atomic_energy"].tolist() == [*range(32, 40), *range(8, 16)]
    assert attach_targets(potential.prepare(DATA), None).select(np.array([0]), torch.device("cpu")).extra == {}

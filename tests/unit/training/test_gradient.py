"""The gradient trainer: it learns, it resumes exactly, and it says when it diverged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk

from distill.base.progress import Progress, Record
from distill.potentials import POTENTIALS
from distill.potentials.potential import Potential
from distill.structures.frames import Frames
from distill.training.curve import FitResult
from distill.training.gradient import fit
from distill.training.losses import LossWeights


class Interrupted(Exception):
    """Raised in the middle of training, as a kill would end it."""


class StopAt(Progress):
    """Ends the process' work at a given step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def publish(self, record: Record, force: bool = False) -> None:
        if record.done >= self.step:
            raise Interrupted


def frames(n: int, seed: int) -> Frames:
    """Rattled silicon with the energies and forces of springs to the lattice sites: an exact, simple truth."""
    rng = np.random.default_rng(seed)
    ideal = bulk("Si", "diamond", a=5.43, cubic=True)
    structures, energies, forces = [], [], []
    for _ in range(n):
        displacement = rng.normal(0, 0.1, (8, 3))
        atoms = ideal.copy()
        atoms.positions += displacement
        structures.append(atoms)
        energies.append(0.5 * 5.0 * float(np.sum(displacement**2)) - 40.0)
        forces.append(-5.0 * displacement)
    return Frames.from_atoms(structures).with_labels(np.array(energies), np.concatenate(forces), None)


def student(channels: int = 8) -> Potential:
    row = POTENTIALS["painn"]
    built: Potential = row.build(row.Settings(cutoff=4.0, channels=channels, layers=1), 0)
    return built


def run(work: Path, potential: Potential, progress: Progress | None = None, **changes: object) -> FitResult:
    arguments: dict = {"steps": 60, "batch_size": 4, "learning_rate": 5e-3, "steps_per_round": 10, "seed": 1}
    potential.initialise(frames(10, 0))
    return fit(potential, frames(10, 0), frames(4, 1), work=work, progress=progress, **arguments | changes)


def text(result: FitResult) -> str:
    """The curve without its times; as text, because stress errors are NaN here."""
    return repr([replace(point, seconds=0.0) for point in result.curve])


def test_training_lowers_the_validation_error(tmp_path: Path) -> None:
    result = run(tmp_path, student(), steps=200)
    assert result.status == "finished"
    assert result.best is not None
    assert result.best.valid_forces_mae < 0.8 * result.curve[0].valid_forces_mae


@pytest.mark.parametrize(
    "options",
    [{}, {"optimiser": "muon"}, {"schedule": "plateau", "decay": 0.5, "decay_patience": 0, "learning_rate": 0.05}],
)
def test_resumed_training_is_bit_exact(tmp_path: Path, options: dict) -> None:
    whole = student(16)
    reference = run(tmp_path / "whole", whole, **options)
    halted = student(16)
    with pytest.raises(Interrupted):
        run(tmp_path / "halted", halted, StopAt(37), **options)
    resumed = student(16)
    continued = run(tmp_path / "halted", resumed, **options)
    assert text(continued) == text(reference)
    for name, value in whole.state_dict().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_time_limit_ends_a_fit(tmp_path: Path) -> None:
    result = run(tmp_path, student(), steps=100_000, max_time=1 / 60)
    assert result.status == "out of time"
    assert result.curve[-1].seconds >= 1.0 > result.curve[-2].seconds


def test_a_finished_fit_is_not_repeated(tmp_path: Path) -> None:
    first = run(tmp_path, student())
    again = run(tmp_path, student(), StopAt(61))
    assert text(again) == text(first)


def test_divergence_is_reported_and_leaves_finite_weights(tmp_path: Path) -> None:
    potential = student()
    result = run(tmp_path, potential, learning_rate=1e6, clip=0.0, average=0.0)
    assert result.status == "diverged"
    assert all(torch.isfinite(p).all() for p in potential.parameters())


def test_patience_stops_early(tmp_path: Path) -> None:
    result = run(tmp_path, student(), steps=2000, patience=3, learning_rate=0.05, average=0.0)
    assert result.status == "stopped early"
    assert result.best is not None
    assert len(result.curve) - 1 - result.curve.index(result.best) == 3


def test_best_weights_are_those_returned(tmp_path: Path) -> None:
    potential = student()
    result = run(tmp_path, potential, steps=100, learning_rate=0.03)
    valid = frames(4, 1)
    predicted = potential.evaluate(valid, stress=False)
    assert result.best is not None
    assert predicted.forces is not None
    mae = float(np.abs(predicted.forces - valid.forces).mean())
    # the same numbers through another batch: single precision
    assert mae == pytest.approx(result.best.valid_forces_mae, rel=1e-4)


def test_weights_of_absent_labels_are_harmless(tmp_path: Path) -> None:
    result = run(tmp_path, student(), weights=LossWeights(virial=100.0))
    assert result.curve[-1].valid_loss < 100

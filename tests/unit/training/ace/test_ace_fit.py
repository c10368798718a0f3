"""An ACE student from data to files: TensorFlow against the C++ evaluator, and pacemaker's own fit."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.lj import LennardJones

from distill.base.errors import UserError
from distill.doctor import missing_packages
from distill.potentials.settings.ace import ACESettings
from distill.potentials.students.ace import ACE
from distill.potentials.workers.ace_potential import ACEPotential
from distill.structures.frames import Frames
from distill.training.ace.fit import Objective, State
from distill.training.ace.settings import BFGS, Batches
from distill.training.ace.train import WorkerEngine, refine_ace, train_ace
from distill.training.disagreement import SpreadWeights

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing_packages(ACE)), reason="the extra ace is not installed"),
]
SETTINGS = ACESettings(functions=12, nradmax=(6, 2), lmax=(0, 1), cutoff=4.5, elements=["Ar"])
OFFSET = -7.5


def argon(count: int, seed: int = 0) -> Frames:
    """Rattled and strained crystals of Lennard-Jones atoms."""
    rng = np.random.default_rng(seed)
    crystals = []
    for _ in range(count):
        atoms = bulk("Ar", "fcc", a=3.6, cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.positions += 0.06 * rng.normal(size=atoms.positions.shape)
        crystals.append(atoms)
    frames = Frames.from_atoms(crystals)
    calculator = LennardJones(sigma=2.3, epsilon=0.1, rc=4.4, smooth=True)
    energy, forces = [], []
    for atoms in crystals:
        atoms.calc = calculator
        energy.append(atoms.get_potential_energy() + OFFSET * len(atoms))
        forces.append(atoms.get_forces())
    return frames.with_labels(np.array(energy), np.concatenate(forces), None)


@dataclass
class Fitted:
    """An expansion, what it was fitted to, how that went, and the process of TensorFlow that did it.

    Attributes:
        student: the expansion. frames: what it was fitted to, the validation structures left out.
        state: how the fit went.
        engine: still open, since opening another one takes half a minute.
    """

    student: ACEPotential
    frames: Frames
    state: State
    engine: WorkerEngine


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fitted]:
    """An expansion fitted in both phases: mostly to the forces, then, as by default, to the energies too.

    With as little weight in both, energies would end at what noise of the last batches leaves, which is another one on
    every kind of processor.
    """
    train, valid, opened = argon(50), argon(10, seed=1), list[WorkerEngine]()
    close = WorkerEngine.close
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerEngine, "close", lambda engine: opened.append(engine))
        student, state = train_ace(
            SETTINGS,
            train,
            valid,
            seed=0,
            purpose=("test",),
            batches=Batches(epochs=30, batch_size=16, learning_rate=0.05, kappa=0.9),
            bfgs=BFGS(iterations=25, kappa=0.1),
            force_scale=2.0,
            work=tmp_path_factory.mktemp("fit"),
        )
    (engine,) = opened
    yield Fitted(student, train, state, engine)
    close(engine)


def test_it_learns_a_pair_potential(fitted: Fitted) -> None:
    """Errors are small parts of the labels' own spread: over orders of the batches, 3 to 5 % of that of the forces and
    3 to 17 % of that of the energies are left."""
    test = argon(10, seed=2)
    assert [phase["phase"] for phase in fitted.state.phases] == ["AdamW", "BFGS"] and not fitted.state.warnings
    assert fitted.state.phases[1]["energy_mae"] < fitted.state.phases[0]["energy_mae"]
    found = fitted.student.evaluate(test)
    assert found.forces is not None and test.forces is not None and found.energy is not None and test.energy is not None
    assert np.abs(found.forces - test.forces).mean() < 0.1 * np.abs(test.forces).mean()
    spread = np.abs(test.energy - test.energy.mean()).mean()
    assert np.abs(found.energy - test.energy).mean() < 0.5 * spread


def test_tensorflow_and_the_evaluator_agree(fitted: Fitted) -> None:
    student, frames, engine, every = fitted.student, fitted.frames, fitted.engine, np.arange(50)
    coefficients = fitted.state.coefficients
    request = {"do": "gradient", "coefficients": coefficients, "structures": every}
    answer = engine._worker.ask(request | {"kappa": 0.3, "at_once": 20})
    predicted = student.evaluate(frames)
    assert predicted.energy is not None and predicted.forces is not None
    energy = answer["energy"] + student.sum_of_reference_energies(frames)
    assert np.abs(energy - predicted.energy).max() / 4 < 1e-5, "eV/atom"
    assert np.abs(answer["forces"] - predicted.forces).max() < 1e-4, "eV/Å"
    # the loss is what it is said to be, and the gradient is its derivative
    n_atoms = np.full(60, 4)
    goal = Objective(every, every, n_atoms, engine.energy_weights, engine.force_weights)
    errors = engine.errors(coefficients, every)
    assert goal.of_errors(errors, every, 0.3) == pytest.approx(answer["loss"], rel=1e-4)
    direction = np.random.default_rng(0).normal(size=len(coefficients))
    steps = [engine.gradient(coefficients + h * direction, every, 0.3)[0] for h in (1e-5, -1e-5)]
    assert (steps[0] - steps[1]) / 2e-5 == pytest.approx(float(answer["gradient"] @ direction), rel=1e-4)


def test_weights_of_the_spread_multiply_those_of_the_forces_size(fitted: Fitted, tmp_path: Path) -> None:
    student, frames = fitted.student, fitted.frames
    rng = np.random.default_rng(0)
    of_labels = SpreadWeights(rng.uniform(0.1, 2, 50), rng.uniform(0.1, 2, 200))
    weighed, plain = (
        WorkerEngine(student, student.basis, frames, np.ones(50), 2.0, "cpu", tmp_path, own)
        for own in (of_labels, SpreadWeights(np.ones(50), np.ones(200)))
    )
    np.testing.assert_allclose(weighed.energy_weights, of_labels.energy * plain.energy_weights, rtol=1e-15)
    np.testing.assert_allclose(weighed.force_weights, of_labels.forces * plain.force_weights, rtol=1e-15)
    np.testing.assert_array_equal(plain.force_weights, fitted.engine.force_weights[:200])
    for engine in (weighed, plain):
        engine.close()


def test_it_is_refined_on_other_labels_and_keeps_what_is_mixed_in(fitted: Fitted, tmp_path: Path) -> None:
    student, synthetic = fitted.student, fitted.frames
    truth = argon(10, seed=3)
    assert truth.energy is not None and truth.forces is not None
    dft = truth.with_labels(truth.energy - 0.1 * truth.n_atoms, 1.2 * truth.forces, None)
    errors = {}
    for share in (0.0, 0.9):
        own = copy.deepcopy(student)
        batches = Batches(epochs=30, batch_size=10, learning_rate=0.01, kappa=0.9)
        refined, state = refine_ace(
            own,
            dft,
            dft,
            synthetic,
            share=share,
            batches=batches,
            seed=0,
            purpose=("test",),
            work=tmp_path / f"{share}",
        )
        assert refined is own and [phase["phase"] for phase in state.phases] == ["AdamW"]
        found = [refined.evaluate(frames).forces - frames.forces for frames in (dft, synthetic)]
        errors[share] = [float(np.abs(error).mean()) for error in found]
    before = student.evaluate(dft).forces - dft.forces
    assert errors[0.0][0] < 0.5 * np.abs(before).mean()
    assert errors[0.0][0] < errors[0.9][0] and errors[0.9][1] < errors[0.0][1]


def test_pacemaker_itself_fits_what_is_passed_on(tmp_path: Path) -> None:
    student, state = train_ace(
        SETTINGS,
        argon(12),
        argon(4, seed=1),
        seed=0,
        purpose=("test",),
        batches=None,
        bfgs=BFGS(iterations=4, kappa=0.9),
        pacemaker={"fit": {"ladder_step": 12}, "backend": {"batch_size": 12}},
        work=tmp_path,
    )
    assert [phase["phase"] for phase in state.phases] == ["pacemaker"]
    assert (tmp_path / "pacemaker" / "interim_potential_ladder_step_0.yaml").exists()
    forces = student.evaluate(argon(4, seed=1)).forces
    assert forces is not None and np.abs(forces).max() > 0.01


def test_labels_and_neighbours_are_needed(tmp_path: Path) -> None:
    frames = argon(3)
    rest = {"seed": 0, "purpose": ("test",), "batches": Batches(epochs=1), "bfgs": None, "work": tmp_path}
    with pytest.raises(UserError, match="energies and forces"):
        train_ace(SETTINGS, frames.with_labels(frames.energy, None, None), frames, **rest)  # type: ignore[arg-type]
    far = ACESettings(**(SETTINGS.model_dump() | {"cutoff": 1.0}))
    with pytest.raises(UserError, match="neighbours within 1 Å"):
        train_ace(far, frames, frames, **rest)  # type: ignore[arg-type]


def test_a_gpu_that_tensorflow_cannot_use_is_said(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match="TensorFlow finds no GPU"):
        train_ace(
            SETTINGS,
            argon(3),
            argon(3),
            seed=0,
            purpose=("test",),
            batches=Batches(epochs=1),
            bfgs=None,
            work=tmp_path,
            device="cuda",
        )

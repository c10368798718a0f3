"""The two phases of an ACE fit, on an expansion that is linear: its optimum is a solution of linear equations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.base.arrays import Array
from distill.base.progress import Progress
from distill.training.ace.evaluations import Evaluations
from distill.training.ace.fit import Errors, Fit, Objective, State
from distill.training.ace.settings import BFGS, Batches
from distill.training.curve import FitResult

ATOMS = 3
KAPPA = 0.6


class Linear:
    """Energies and forces that are linear in four coefficients, with noise that no coefficients describe."""

    def __init__(self, structures: int = 24, noise: float = 0.05) -> None:
        rng = np.random.default_rng(0)
        self.n = structures
        self.energies = rng.normal(size=(structures, 4))  # per atom
        self.derivatives = rng.normal(size=(structures, ATOMS, 3, 4))
        truth = np.array([0.5, -1.0, 0.25, 2.0])
        self.energy = self.energies @ truth + noise * rng.normal(size=structures)
        self.forces = self.derivatives @ truth + noise * rng.normal(size=(structures, ATOMS, 3))

    def errors(self, coefficients: Array, chosen: Array) -> Errors:
        forces = self.derivatives[chosen] @ coefficients - self.forces[chosen]
        return Errors(self.energies[chosen] @ coefficients - self.energy[chosen], forces.reshape(-1, 3))

    def gradient(self, coefficients: Array, chosen: Array, kappa: float) -> tuple[float, Array]:
        found = self.errors(coefficients, chosen)
        gradient = 2 * (1 - kappa) * found.energy @ self.energies[chosen] / len(chosen)
        derivatives = self.derivatives[chosen].reshape(-1, 4)
        gradient = gradient + 2 * kappa * found.forces.reshape(-1) @ derivatives / (ATOMS * len(chosen))
        return self.loss(found, kappa), gradient

    @staticmethod
    def loss(found: Errors, kappa: float) -> float:
        forces = np.square(found.forces).sum(axis=1).mean()
        return float((1 - kappa) * np.square(found.energy).mean() + kappa * forces)

    def optimum(self, chosen: Array, kappa: float) -> Array:
        """The least-squares solution of all energies and forces, each with the root of its weight."""
        energy, forces = np.sqrt((1 - kappa) / len(chosen)), np.sqrt(kappa / (ATOMS * len(chosen)))
        rows = np.concatenate([energy * self.energies[chosen], forces * self.derivatives[chosen].reshape(-1, 4)])
        right = np.concatenate([energy * self.energy[chosen], forces * self.forces[chosen].reshape(-1)])
        solution: Array = np.linalg.lstsq(rows, right, rcond=None)[0]
        return solution

    def pacemaker(
        self,
        coefficients: Array,
        chosen: Array,
        fit: Mapping[str, Any],
        judged: Array,
        on_progress: Callable[[Mapping[str, Any]], None],
    ) -> Array:
        self.asked = dict(fit)
        on_progress({"loss": 1.0, "n_coefficients": 2})
        optimum = self.optimum(chosen, float(fit["loss"]["kappa"]))
        errors = self.errors(optimum, judged)
        found = {"energy": errors.energy, "forces": errors.forces}
        on_progress({"loss": 0.5, "n_coefficients": 4, "coefficients": optimum, "errors": found})
        return optimum


TRAIN, VALID = np.arange(18), np.arange(18, 24)


def objective(**changes: Any) -> Objective:
    return Objective(TRAIN, VALID, np.full(24, ATOMS), np.ones(24), np.ones(24 * ATOMS), **changes)


def fit(
    work: Path, engine: Any = None, batches: Batches | None = None, bfgs: BFGS | None = None, **arguments: Any
) -> State:
    goal = arguments.pop("goal", objective())
    return Fit(engine or Linear(), goal, np.zeros(4), batches=batches, bfgs=bfgs, work=work, **arguments).run(
        Progress()
    )


SMALL = Batches(epochs=300, batch_size=6, learning_rate=0.05, kappa=KAPPA)


def test_adamw_comes_near_the_optimum(tmp_path: Path) -> None:
    state = fit(tmp_path, batches=SMALL)
    optimum = Linear().optimum(TRAIN, KAPPA)
    # the batches differ, so that what is left is of the order of the noise of a gradient times the last step
    assert np.abs(state.coefficients - optimum).max() < 0.02
    assert state.result.status == "finished" and state.phases[0]["phase"] == "AdamW"
    assert state.result.best == min(state.result.curve, key=lambda point: point.valid_loss)


class Alike(Linear):
    """Functions that differ little from each other, as those of an expansion do."""

    def __init__(self) -> None:
        super().__init__(noise=0.0)
        mixing = np.ones((4, 4)) + 0.03 * np.random.default_rng(1).normal(size=(4, 4))
        truth = np.array([0.5, -1.0, 0.25, 2.0])
        self.energies, self.derivatives = self.energies @ mixing, self.derivatives @ mixing
        self.energy, self.forces = self.energies @ truth, self.derivatives @ truth


def test_functions_that_are_alike_are_told_apart_along_the_eigenvectors(tmp_path: Path) -> None:
    how = {"epochs": 100, "batch_size": 6, "learning_rate": 0.05, "kappa": KAPPA}
    losses = {
        rotate: fit(tmp_path / str(rotate), Alike(), Batches(**how, rotate=rotate)).result.curve[-1].valid_loss
        for rotate in (False, True)
    }
    assert losses[True] < 0.01 * losses[False]


def test_bfgs_reaches_the_optimum(tmp_path: Path) -> None:
    found = fit(tmp_path, bfgs=BFGS(iterations=50, kappa=KAPPA))
    optimum = Linear().optimum(TRAIN, KAPPA)
    last = found.result.curve[-1].train_loss
    assert last == pytest.approx(Linear.loss(Linear().errors(optimum, TRAIN), KAPPA), rel=1e-9)


def test_the_best_state_on_the_validation_structures_is_kept(tmp_path: Path) -> None:
    state = fit(tmp_path, batches=SMALL)
    engine = Linear()
    kept = Linear.loss(engine.errors(state.coefficients, VALID), KAPPA)
    assert kept == pytest.approx(min(point.valid_loss for point in state.result.curve), rel=1e-12)


@pytest.mark.parametrize("rows", [3, 9, 11, 14])
def test_an_interrupted_fit_ends_as_an_uninterrupted_one(tmp_path: Path, rows: int) -> None:
    batches, bfgs = Batches(epochs=8, batch_size=5, kappa=KAPPA), BFGS(iterations=6, kappa=KAPPA)
    whole = fit(tmp_path / "whole", batches=batches, bfgs=bfgs, seed=3)

    def interrupt(result: FitResult) -> None:
        if len(result.curve) == rows:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", batches=batches, bfgs=bfgs, seed=3, wrote=interrupt)
    resumed = fit(tmp_path / "parts", batches=batches, bfgs=bfgs, seed=3)
    assert [p["phase"] for p in resumed.phases] == ["AdamW", "BFGS"]
    # all the same to the last bit: BFGS, too, where it was interrupted itself, goes its way again
    losses = [[point.valid_loss for point in state.result.curve] for state in (resumed, whole)]
    assert losses[0] == losses[1]
    assert np.array_equal(resumed.coefficients, whole.coefficients)


@pytest.mark.parametrize("fault", ["half a record", "a bit", "another start"])
def test_what_a_minimiser_was_told_is_told_again_as_far_as_it_is_whole(tmp_path: Path, fault: str) -> None:
    computed: list[float] = []

    def compute(x: Array) -> tuple[float, Array]:
        computed.append(float(x[0]))
        return float(x @ x), 2 * x

    path, points = tmp_path / "bfgs.bin", [np.array([float(k), 1.0]) for k in range(6)]
    first = Evaluations(path, compute)
    answers = [first(x) for x in points]
    content = bytearray(path.read_bytes())
    if fault == "half a record":
        path.write_bytes(content[:-20])
    elif fault == "a bit":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    computed.clear()
    again = Evaluations(path, compute)
    asked = [points[0] + 0.5, *points[1:]] if fault == "another start" else points
    found = [again(x) for x in asked]
    assert computed == {"half a record": [5.0], "a bit": [3.0, 4.0, 5.0], "another start": [0.5, 1, 2, 3, 4, 5]}[fault]
    for (loss, gradient), (before, slope) in zip(found[1:], answers[1:], strict=True):
        assert loss == before and np.array_equal(gradient, slope)
    computed.clear()
    last = Evaluations(path, compute)
    assert [last(x)[0] for x in asked] == [loss for loss, _ in found] and computed == []


def test_a_finished_fit_does_nothing_again(tmp_path: Path) -> None:
    first = fit(tmp_path, batches=Batches(epochs=2))
    again = fit(tmp_path, batches=Batches(epochs=2))
    assert np.array_equal(first.coefficients, again.coefficients) and len(again.result.curve) == 2


class Spoilt(Linear):
    """At kappa 0 the energies pull to coefficients with absurd forces, which the validation energies like."""

    def __init__(self) -> None:
        super().__init__(noise=0.0)
        self.energies = np.concatenate([self.energies[:, :3] * 1e-3, np.zeros((self.n, 1))], axis=1)
        self.energy = self.energies @ np.array([1e4, -1e4, 1e4, 0.0])


def test_a_phase_that_spoils_the_worst_structure_is_undone(tmp_path: Path) -> None:
    batches = Batches(epochs=100, batch_size=6, learning_rate=0.05, kappa=1.0)
    good = fit(tmp_path / "good", Spoilt(), batches=batches)
    state = fit(tmp_path / "both", Spoilt(), batches=batches, bfgs=BFGS(iterations=50, kappa=0.0))
    assert not state.phases[0]["undone"] and state.phases[1]["undone"] and state.phases[1]["largest_force_error"] > 1000
    assert "BFGS was undone" in state.warnings[0]
    assert np.array_equal(state.coefficients, good.coefficients)
    assert state.result.best is not None and good.result.best is not None
    assert state.result.best.valid_loss == good.result.best.valid_loss
    assert len(state.result.curve) == len(good.result.curve), "rows of the undone phase are not part of the curve"


class Diverging(Linear):
    def gradient(self, coefficients: Array, chosen: Array, kappa: float) -> tuple[float, Array]:
        return np.nan, np.full(4, np.nan) if np.abs(coefficients).max() > 0.1 else np.ones(4)


def test_a_fit_that_is_not_finite_has_diverged(tmp_path: Path) -> None:
    state = fit(tmp_path, Diverging(), batches=Batches(epochs=50, learning_rate=0.1), bfgs=BFGS())
    assert state.result.status == "diverged" and len(state.phases) == 1
    assert np.isfinite(state.coefficients).all()


def test_it_ends_without_gain_and_out_of_time(tmp_path: Path) -> None:
    patient = Batches(epochs=500, batch_size=6, learning_rate=0.05, patience=5, min_gain=1e-3)
    state = fit(tmp_path / "gain", batches=patient)
    assert len(state.result.curve) < 400
    state = fit(tmp_path / "time", batches=SMALL, bfgs=BFGS(), max_time=1e-9)
    assert state.result.status == "out of time" and len(state.result.curve) == 1


def test_regularisation_has_its_gradient_and_spares_the_radial_functions() -> None:
    goal = objective(radial=1, l1=0.3, l2=0.2)
    at = np.array([5.0, 0.7, -0.4, 1.1])
    value, gradient = goal.regularisation(at)
    assert value == pytest.approx(0.3 * (0.7 + 0.4 + 1.1) + 0.2 * (0.49 + 0.16 + 1.21), rel=1e-12)
    for k in range(4):
        step = 1e-6 * np.eye(4)[k]
        derivative = (goal.regularisation(at + step)[0] - goal.regularisation(at - step)[0]) / 2e-6
        assert gradient[k] == pytest.approx(derivative, abs=1e-8)


def test_pacemaker_does_the_second_phase_where_its_input_is_passed_on(tmp_path: Path) -> None:
    engine = Linear()
    state = fit(
        tmp_path, engine, bfgs=BFGS(iterations=7, kappa=KAPPA), passed_on={"ladder_step": 2}, goal=objective(l1=1e-3)
    )
    assert engine.asked["ladder_step"] == 2 and engine.asked["maxiter"] == 7
    assert engine.asked["loss"] == {"kappa": KAPPA, "L1_coeffs": 1e-3, "L2_coeffs": 0.0}
    assert state.phases[0]["phase"] == "pacemaker"
    assert np.allclose(state.coefficients, engine.optimum(TRAIN, KAPPA), rtol=1e-12)


def test_the_loss_counts_structures_and_atoms_by_their_weights() -> None:
    weights = np.where(np.arange(24) == 0, 0.0, 2.0)
    goal = Objective(TRAIN, VALID, np.full(24, ATOMS), weights, np.repeat(weights, ATOMS))
    errors = Errors(np.array([10.0, 1.0]), np.concatenate([np.full((3, 3), 9.0), np.ones((3, 3))]))
    expected = (
        0.4 * (0 + 2 * 1) / 2 + 0.6 * (0 + 3 * 2 * 3) / 3
    )  # atoms without a label are not among those of the mean
    assert goal.of_errors(errors, np.array([0, 1]), 0.6) == pytest.approx(expected, rel=1e-12)

"""The loss that judges a fit is the one that its learning curve has, and what made it worse is named."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from distill.base.conventions import EV_PER_A3_IN_GPA
from distill.potentials import POTENTIALS
from distill.structures.frames import Frames
from distill.training.gradient.fit import fit
from distill.training.gradient.judged import judge_fit, validation_loss
from distill.training.gradient.losses import LossWeights


def labelled(n: int, seed: int) -> Frames:
    """Rattled cells of two and eight atoms with made-up labels, some of which are missing."""
    rng, structures = np.random.default_rng(seed), []
    for k in range(n):
        atoms = bulk("Si", "diamond", a=5.43, cubic=bool(k % 2))
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
        structures.append(atoms)
    frames = Frames.from_atoms(structures)
    energy, forces = rng.normal(-8, 1, n) * frames.n_atoms, rng.normal(0, 1, (len(frames.numbers), 3))
    stress = rng.normal(0, 0.02, (n, 3, 3))
    stress = stress + stress.transpose(0, 2, 1)
    energy[0], forces[3], stress[1] = np.nan, np.nan, np.nan
    return frames.with_labels(energy, forces, stress)


@pytest.mark.parametrize("kind", ["huber", "mae", "rmse"])
def test_it_is_the_loss_of_the_learning_curve(tmp_path: Path, kind: str) -> None:
    row = POTENTIALS["painn"]
    potential = row.build(row.Settings(cutoff=4.0, channels=8, layers=1), 0)
    weights, valid = LossWeights(kind=kind, virial=3.0), labelled(5, 1)
    arguments = {"steps": 2, "batch_size": 2, "learning_rate": 1e-3, "validation_interval": 1, "weights": weights}
    result = fit(potential, labelled(4, 0), valid, work=tmp_path, **arguments)
    assert result.best is not None
    # energies of -8 eV an atom in single precision
    assert validation_loss(valid, potential.evaluate(valid), weights) == pytest.approx(result.best.valid_loss, rel=1e-5)


def off(truth: Frames, energy: float, force: float, stress: float) -> Frames:
    """Predictions that are wrong by so much: eV/atom, eV/Å, eV/Å³."""
    return truth.with_labels(truth.energy + energy * truth.n_atoms, truth.forces + force, truth.stress + stress)


def test_a_lower_loss_is_kept_and_what_it_cost_is_said() -> None:
    truth, weights = labelled(4, 0), LossWeights(energy=1.0, forces=10.0, virial=1.0)
    before = off(truth, 0.01, 0.2, 0.001)
    kept = judge_fit(truth, before, off(truth, 0.0104, 0.1, 0.00104), weights)
    assert not kept.worse and not kept.warnings and kept.after < kept.before
    traded = judge_fit(truth, before, off(truth, 0.02, 0.1, 0.002), weights)
    assert not traded.worse
    (said,) = traded.warnings
    assert "raised errors (the energies of the validation structures 10 meV/atom before, 20 after" in said
    assert f"stresses of the validation structures {0.001 * EV_PER_A3_IN_GPA:.3g} GPa before" in said
    assert "forces" not in said


@pytest.mark.parametrize("force", [0.21, math.nan])
def test_a_higher_loss_is_undone(force: float) -> None:
    truth, weights = labelled(4, 0), LossWeights()
    judged = judge_fit(truth, off(truth, 0.01, 0.2, 0.0), off(truth, 0.0, force, 0.0), weights)
    assert judged.worse
    assert "the foundation model is kept as it was" in judged.warnings[0]

"""Evaluation, training, saving: what every potential inherits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from pydantic import ValidationError

from distill.base.errors import UserError
from distill.base.progress import Progress
from distill.potentials.interface.batch import Prediction
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import load, save
from distill.potentials.students.painn import PaiNN
from distill.structures.frames import Frames


def test_order_batches_and_progress(painn: Potential, frames: Frames) -> None:
    with Progress().phase("evaluating", len(frames), "structure") as phase:
        small = painn.evaluate(frames, max_atoms=1, progress=phase)
        assert phase.record.done == len(frames)
    large = painn.evaluate(frames)
    for name in ("energy", "forces", "stress"):
        np.testing.assert_allclose(getattr(small, name), getattr(large, name), atol=1e-5)  # single precision
    assert painn.evaluate(frames, stress=False).stress is None
    assert len(painn.evaluate(Frames.empty())) == 0


def test_other_errors_are_not_taken_for_lack_of_memory(painn: Potential, frames: Frames) -> None:
    painn.interactions[0].phi.first.weight.data = torch.zeros(3, 3)
    with pytest.raises(RuntimeError, match="shape"):
        painn.evaluate(frames)


def test_reference_energies_are_added_in_double_precision(painn: Potential, frames: Frames) -> None:
    before = painn.evaluate(frames)
    painn.reference_energies.data[14], painn.reference_energies.data[8] = -1e5, 3.0
    after = painn.evaluate(frames)
    assert after.energy is not None and before.energy is not None
    counts = np.array([16, 2, 32, 0])
    np.testing.assert_allclose(after.energy - before.energy, -1e5 * counts + np.array([0, 0, 0, 3]), atol=1e-8)


def test_training_reaches_every_parameter_and_evaluation_none(painn: Potential, silicon: Atoms) -> None:
    batch = painn.prepare(Frames.from_atoms([silicon])).collate()
    prediction: Prediction = painn(batch)
    assert not prediction.energy.requires_grad and not prediction.forces.requires_grad
    assert all(p.requires_grad for p in painn.parameters())
    with torch.no_grad():
        assert torch.equal(painn(batch).forces, prediction.forces)
    painn.train()
    energy, forces, stress = painn(batch)
    assert stress is not None
    (energy.sum() + forces.square().sum() + stress.square().sum()).backward()
    for name, parameter in painn.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert painn.evaluate(Frames.from_atoms([silicon])).energy is not None
    assert painn.training


def test_force_loss_has_the_right_gradient(silicon: Atoms) -> None:
    potential = (
        PaiNN.build(PaiNN.Settings(channels=4, layers=2, radial_features=4, cutoff=3.5), seed=0).double().train()
    )
    batch = potential.prepare(Frames.from_atoms([silicon])).collate()
    weight = potential.interactions[1].phi.first.weight

    def loss() -> torch.Tensor:
        return potential(batch).forces.square().sum()

    (gradient,) = torch.autograd.grad(loss(), weight)
    direction = torch.randn_like(weight)
    values = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            weight += step * direction
            values.append(float(loss().detach()))
            weight -= step * direction
    # central differences in double precision: relative error of about 1e-8
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(float((gradient * direction).sum()), rel=1e-6)


def test_initialise_centres_and_scales(painn: Potential, silicon: Atoms) -> None:
    oxide = bulk("SiO", "rocksalt", a=4.6)
    rng = np.random.default_rng(0)
    frames = Frames.from_atoms([silicon, oxide, silicon * (2, 1, 1)])
    forces = 3.0 * rng.normal(size=frames.positions.shape)
    painn.initialise(frames.with_labels(np.array([-16 * 5.0, -5.0 - 7.0, -32 * 5.0]), forces, None))
    assert painn.reference_energies[14].item() == pytest.approx(-5.0) and painn.reference_energies[
        8
    ].item() == pytest.approx(-7.0)
    assert painn.reference_energies[1].item() == 0
    assert painn.scale[14].item() == pytest.approx(np.sqrt(np.mean(forces**2)), rel=1e-6)
    assert painn.elements == (8, 14)
    with pytest.raises(UserError, match="does not know the element Na"):
        painn.prepare(Frames.from_atoms([bulk("Na")]))


def test_settings_are_strict() -> None:
    for wrong in ({"cutoff": -1.0}, {"channels": 1.5}, {"chanels": 8}, {"short_range_repulsion": "yes"}, {"layers": 0}):
        with pytest.raises(ValidationError):
            PaiNN.Settings(**wrong)


def test_saved_is_loaded(painn: Potential, frames: Frames, tmp_path: Path) -> None:
    painn.initialise(frames.with_labels(np.arange(4.0), frames.positions, None))
    save(painn, tmp_path / "model", {"made by": "a test"})
    loaded = load(tmp_path / "model")
    assert (loaded.elements, loaded.settings, loaded.architecture) == ((1, 8, 14), painn.settings, "painn")
    np.testing.assert_array_equal(loaded.evaluate(frames).energy, painn.evaluate(frames).energy)
    assert json.loads((tmp_path / "model/model.json").read_text())["provenance"] == {"made by": "a test"}


@pytest.mark.parametrize("damage", ["no folder", "no weights", "weights", "json", "architecture", "settings", "shape"])
def test_a_damaged_potential_is_refused(painn: Potential, tmp_path: Path, damage: str) -> None:
    save(painn, tmp_path, {})
    weights, description = tmp_path / "weights.safetensors", tmp_path / "model.json"
    text = description.read_text()
    if damage == "no folder":
        tmp_path = tmp_path / "elsewhere"
    elif damage == "no weights":
        weights.unlink()
    elif damage == "weights":
        weights.write_bytes(weights.read_bytes()[:-7])
    elif damage == "json":
        description.write_text(text[:-9])
    elif damage == "architecture":
        description.write_text(text.replace('"painn"', '"pain"'))
    elif damage == "settings":
        description.write_text(text.replace('"cutoff": 4.5', '"cutoff": "far"'))
    else:
        description.write_text(text.replace('"channels": 8', '"channels": 9'))
    with pytest.raises(UserError):
        load(tmp_path)

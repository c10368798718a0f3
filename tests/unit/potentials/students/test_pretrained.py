"""Students that begin with pretrained weights: what these know, what can begin with them, and which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from distill.base.errors import UserError
from distill.base.files import hash_file
from distill.potentials.base import TeacherSource
from distill.potentials.interface.saving import load
from distill.potentials.students.pretrained import FOLDER, check_pretrained
from distill.stages.train import Train
from distill.structures.frames import Frames
from distill.training.gradient.student import train_student

FIT = {"loss": {}, "steps": 1, "batch_size": 4, "learning_rate": 1e-9, "seed": 0, "purpose": ("test",)}


def labelled(n: int, seed: int) -> Frames:
    """Return rattled cells of gallium arsenide as the teacher of the weights has them, at another zero of energy."""
    rng = np.random.default_rng(seed)
    cells = [bulk("GaAs", "zincblende", a=5.65, cubic=True) for _ in range(n)]
    for atoms in cells:
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
    frames = TeacherSource("diep-2.0").open().evaluate(Frames.from_atoms(cells))
    assert frames.energy is not None
    return frames.with_labels(frames.energy + 100.0, frames.forces, frames.stress)


def test_a_pretrained_student_knows_a_material_before_it_learns(tmp_path: Path) -> None:
    train, valid = labelled(4, 0), labelled(4, 1)
    student, _ = train_student("painn", {}, train, valid, start="pretrained", work=tmp_path, **FIT)
    assert "by diep-2.0" in student.origin["start"]
    found = student.evaluate(valid)
    assert found.forces is not None and found.energy is not None and valid.forces is not None
    size = np.abs(valid.forces).mean()
    assert np.abs(found.forces - valid.forces).mean() < 0.5 * size
    assert valid.energy is not None
    assert np.abs(found.energy - valid.energy).max() < 0.1 * valid.n_atoms[0]  # the zero of energy is that of the data
    drawn, _ = train_student("painn", {}, train, valid, work=tmp_path / "drawn", **FIT)
    untrained = drawn.evaluate(valid).forces
    assert untrained is not None and np.abs(untrained - valid.forces).mean() > 0.8 * size


def test_the_weights_are_those_that_results_are_kept_for() -> None:
    """Other weights make other students: raise Train.version with them, then write both here."""
    kept = (Train.version, hash_file(FOLDER / "painn" / "weights.safetensors"))
    assert kept == (3, "5b8ef6484d35b98215d2f2907e8443afe9e16b14df4edf0392f08bca60a7b416")


def test_only_networks_of_the_same_sizes_begin_with_them() -> None:
    own = load(FOLDER / "painn").settings.model_dump()
    check_pretrained("painn", own)
    with pytest.raises(ValueError, match="are of channels: 32: set that, or leave start out"):
        check_pretrained("painn", own | {"channels": 16})
    with pytest.raises(ValueError, match="pretrained weights of painn, not of tensornet"):
        check_pretrained("tensornet", own)


def test_an_element_that_was_never_seen_is_refused(tmp_path: Path) -> None:
    argon = Frames.from_atoms([bulk("Ar", a=5.3, cubic=True)])
    argon = argon.with_labels(np.zeros(1), np.zeros((4, 3)), None)
    with pytest.raises(UserError, match="have not seen Ar"):
        train_student("painn", {}, argon, argon, start="pretrained", work=tmp_path, **FIT)

"""Fine-tuning as a stage: the section is taken apart and refused in time, and what was asked is what runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk

from distill.base.errors import UserError
from distill.potentials import POTENTIALS
from distill.potentials.potential import load
from distill.stages.base import Job
from distill.stages.finetune import Finetune, FinetuneSettings, TeacherSettings
from distill.structures.frames import Frames
from distill.structures.read import read_frames
from distill.structures.write import write_frames

SHORT = {"steps": 2, "steps_per_round": 1}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Rattled silicon whose energies are CHGNet's and 2 eV per atom more, and whose forces are a tenth larger."""
    folder = tmp_path_factory.mktemp("inputs")
    row = POTENTIALS["chgnet-0.3"]
    rng = np.random.default_rng(0)
    structures = [bulk("Si") for _ in range(4)]
    for atoms in structures:
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
    frames = row.build(row.Settings(), 0).evaluate(Frames.from_atoms(structures))
    frames = frames.with_labels(frames.energy + 2.0 * frames.n_atoms, 1.1 * frames.forces, frames.stress)
    write_frames(folder / "train.xyz", frames[[0, 1, 2]])
    write_frames(folder / "valid.xyz", frames[[3]])
    (folder / "isolated_atoms.json").write_text("{}")
    return {
        "train": folder / "train.xyz",
        "valid": folder / "valid.xyz",
        "isolated_atoms": folder / "isolated_atoms.json",
        "file": None,
        "replay": None,
    }


def run(inputs: dict[str, Any], out: Path, **finetune: Any) -> dict[str, Any]:
    settings = TeacherSettings(finetune=FinetuneSettings(**SHORT | finetune))
    return Finetune().run(inputs, settings, Job(out))


def section(**raw: Any) -> Any:
    return Finetune.section_type(raw).model_validate_json(json.dumps(raw))


def test_the_reference_shift_and_its_residuals_are_written(inputs: dict[str, Any], tmp_path: Path) -> None:
    summary = Finetune().run(inputs, TeacherSettings(finetune=None), Job(tmp_path))
    assert summary["status"] == "not fine-tuned"
    assert summary["reference_shift_eV"]["Si"] == pytest.approx(2.0, abs=1e-5)  # single precision of -5 eV
    with (tmp_path / "reference.csv").open(newline="") as file:
        residuals = [float(row["residual_eV_per_atom"]) for row in csv.DictReader(file)]
    assert len(residuals) == 3
    assert np.abs(residuals).max() < 1e-5
    train = read_frames(inputs["train"])[0]
    np.testing.assert_allclose(load(tmp_path / "zero_shot").evaluate(train).energy, train.energy, atol=1e-4)


def test_every_option_together(inputs: dict[str, Any], tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "freeze": ("elements", "read_out"),
        "lora": {"rank": 2, "alpha": 4.0},
        "replay": {"share": 0.5},
        "precision": "float64",
    }
    summary = run(inputs, tmp_path, **options)
    zero_shot, tuned = load(tmp_path / "zero_shot"), load(tmp_path / "model")
    assert tuned.dtype == torch.float64
    moved = {n for n, p in tuned.named_parameters() if not torch.equal(p, zero_shot.get_parameter(n))}
    assert moved and all(name.endswith(".weight") for name in moved)
    assert not any("elements" in name or "read_out" in name for name in moved)
    assert summary["replayed"] > 0
    assert 0 < summary["forgetting"]["forces"] < summary["forgetting"]["size"]
    assert summary["parameters_fitted"] < 0.1 * sum(p.numel() for p in tuned.parameters())


def test_structures_to_replay_may_be_given(inputs: dict[str, Any], tmp_path: Path) -> None:
    write_frames(tmp_path / "other.xyz", Frames.from_atoms([bulk("Ge"), bulk("NaCl", "rocksalt", a=5.64)]))
    summary = run(inputs | {"replay": tmp_path / "other.xyz"}, tmp_path / "out", replay={"share": 0.2})
    assert summary["replayed"] == 2


def test_a_part_that_the_model_has_not_is_an_error(inputs: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no part 'readout'\. Did you mean 'read_out'"):
        run(inputs, tmp_path, freeze=("readout",))
    assert not (tmp_path / "work").exists()  # nothing was trained


def test_the_model_names_a_file_or_a_function() -> None:
    made = section(model="mace:models/my.model")
    assert (made.model, made.file, made.function) == ("mace", "models/my.model", "")
    made = section(model="ase:calculators.py:make")
    assert (made.model, made.file, made.function) == ("ase", "calculators.py", "make")
    made = section(model="ase:package.module:make")
    assert (made.model, made.file, made.function) == ("ase", None, "package.module:make")


def test_a_teacher_that_only_labels_is_not_fine_tuned() -> None:
    assert section(model="ase:package.module:make").finetune is None
    with pytest.raises(UserError, match=r"teacher\.finetune.*cannot be fine-tuned: it only labels"):
        section(model="ase:package.module:make", finetune={"steps": 3})
    with pytest.raises(UserError, match="runs in another interpreter"):
        section(model="chgnet-0.3", environment="/somewhere/python", finetune={})


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"model": "mace"}, "mace needs a file"),
        ({"model": "mace:"}, "names no file"),
        ({"model": "chgnet-0.3:x"}, "nothing follows the name"),
        ({"model": "sevennet-0"}, "an environment of its own"),
        ({"model": "mace-mp"}, "unknown teacher 'mace-mp'"),
    ],
)
def test_a_teacher_that_cannot_be_opened_is_refused(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        section(**raw)

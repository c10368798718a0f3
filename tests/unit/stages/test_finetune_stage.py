"""Fine-tuning as a stage: the section is taken apart and refused in time, and what was asked is what runs."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk

from distill.base.errors import UserError, WorkError
from distill.potentials import POTENTIALS
from distill.potentials.interface.saving import load
from distill.stages.base import Job, TrainerSettings
from distill.stages.finetune import Finetune
from distill.stages.teacher import FinetuneSettings
from distill.structures.frames import Frames
from distill.structures.read import read_frames
from distill.structures.write import write_frames
from distill.training.worsened import worsened
from distill.workflow.plan import Plan, make_plan
from distill.workflow.recipe import load_recipe

SHORT = {"steps": 2, "validation_interval": 1}


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
    settings = Finetune.Settings(finetune=FinetuneSettings(**SHORT | finetune), holes="skip")
    return Finetune().run(inputs, settings, Job(out))


def section(**raw: Any) -> Any:
    return Finetune.section_type(raw).model_validate_json(json.dumps(raw))


def test_the_reference_shift_and_its_residuals_are_written(inputs: dict[str, Any], tmp_path: Path) -> None:
    summary = Finetune().run(inputs, Finetune.Settings(finetune=None), Job(tmp_path))
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


def test_a_fit_that_makes_it_worse_is_undone(inputs: dict[str, Any], tmp_path: Path) -> None:
    """Validation labels that are the model's own, but for the reference energy, can only be left."""
    valid = read_frames(inputs["valid"])[0]
    own = POTENTIALS["chgnet-0.3"].build(POTENTIALS["chgnet-0.3"].Settings(), 0).evaluate(valid)
    write_frames(tmp_path / "own.xyz", own.with_labels(own.energy + 2.0 * own.n_atoms, own.forces, own.stress))
    job = Job(tmp_path / "out")
    settings = FinetuneSettings(steps=4, validation_interval=4, learning_rate=0.05)
    summary = Finetune().run(
        inputs | {"valid": tmp_path / "own.xyz"}, Finetune.Settings(finetune=settings, holes="skip"), job
    )
    zero_shot, kept = load(tmp_path / "out" / "zero_shot"), load(tmp_path / "out" / "model")
    for name, value in zero_shot.named_parameters():
        assert torch.equal(value, kept.get_parameter(name)), name
    assert summary["kept"] == "reference-energy shift" and "as it was" in summary["headline"]
    assert summary["forgetting"]["forces"] == 0.0
    assert summary["zero_shot_loss"] < 1e-3
    assert any("the foundation model is kept as it was" in text for text in job.warnings)


@pytest.mark.slow
def test_auto_chooses_what_its_table_says(inputs: dict[str, Any], tmp_path: Path) -> None:
    write_frames(tmp_path / "other.xyz", Frames.from_atoms([bulk("Ge"), bulk("NaCl", "rocksalt", a=5.64)]))
    options: dict[str, Any] = {"method": "auto", "steps": 16, "selection": {"folds": 2, "share": 5.0}}
    given = inputs | {"replay": tmp_path / "other.xyz"}
    summary = run(given, tmp_path / "out", **options, lora={"rank": 2}, freeze=("elements",))
    table = summary["method"]["scores"]
    assert set(table) == {"naive", "proximal", "lora", "replay", "not fine-tuned"}
    assert all(len(one["folds"]) == 2 and one["mean"] > 0 for one in table.values())
    methods = {name: one["mean"] for name, one in table.items() if name != "not fine-tuned"}
    assert summary["method"]["chosen"] == min(methods, key=methods.__getitem__)
    assert summary["method"]["steps"] == 10, "five times sixteen steps over two folds of four methods"
    assert summary["method"]["chosen"] in summary["headline"]


@pytest.mark.slow
def test_a_teacher_that_is_tuned_to_pieces_is_refused_and_a_replayed_one_is_not(tmp_path: Path) -> None:
    """Fifty times the learning rate, on three cells that are strained alike: CHGNet loses its repulsion."""
    silicon = read_frames(Path(__file__).parents[3] / "data" / "silicon" / "train.xyz")[0]
    strained = silicon[np.flatnonzero(np.array(silicon.labels("config_type")) == "strained")]
    write_frames(tmp_path / "train.xyz", strained[[0, 1, 2]])
    write_frames(tmp_path / "valid.xyz", strained[[3]])
    (tmp_path / "none.json").write_text("{}")
    files = {"train": tmp_path / "train.xyz", "valid": tmp_path / "valid.xyz"}
    given = files | {"isolated_atoms": tmp_path / "none.json", "file": None, "replay": None}
    short = {"steps": 40, "validation_interval": 10, "schedule": "cosine", "batch_size": 1}
    broken = FinetuneSettings(**short, learning_rate=0.05, average=0.0, clip=0.0)
    first, second = Job(tmp_path / "1" / "out"), Job(tmp_path / "2" / "out", earlier=(tmp_path / "1" / "out",))
    with pytest.raises(WorkError, match=r"given the teacher holes: .*teacher\.holes: warn goes on"):
        Finetune().run(given, Finetune.Settings(finetune=broken), first)
    fitted = (first.scratch / "last.ckpt").stat().st_mtime_ns
    summary = Finetune().run(given, Finetune.Settings(finetune=broken, holes="warn"), second)
    assert summary["holes"]["gained"] and any("holes" in text for text in second.warnings)
    assert (first.scratch / "last.ckpt").stat().st_mtime_ns == fitted
    curves = [(job.scratch / "curve.csv").read_text() for job in (first, second)]
    assert curves[0] == curves[1], "times included: the fit was not done again"
    careful = FinetuneSettings(**short, method="replay")
    summary = Finetune().run(given, Finetune.Settings(finetune=careful), Job(tmp_path / "3" / "out"))
    assert summary["holes"]["gained"] == [] and summary["kept"] == "fine-tuning"
    assert summary["holes"]["random cells"]["tuned"] == 0


def test_what_is_said_to_be_enough_for_auto_is() -> None:
    for steps in (7, 100, 119):
        with pytest.raises(ValueError, match="share") as said:
            FinetuneSettings(method="auto", steps=steps)
        enough = float(str(said.value).rpartition("set selection.share: ")[2].partition(",")[0])
        FinetuneSettings.model_validate({"method": "auto", "steps": steps, "selection": {"share": enough}})
    FinetuneSettings(method="auto", steps=120)


def test_a_method_brings_its_own_settings() -> None:
    lora, proximal = FinetuneSettings(method="lora"), FinetuneSettings(method="proximal", learning_rate=0.002)
    assert lora.lora is not None and lora.arguments()["learning_rate"] == 1e-2
    assert (lora.arguments()["average"], lora.arguments()["clip"], lora.arguments()["pull"]) == (0.99, 10.0, 0.0)
    assert proximal.arguments()["learning_rate"] == 0.002 and proximal.arguments()["pull"] > 0
    assert FinetuneSettings().arguments()["learning_rate"] == 1e-3
    # a section without a method is what it was: a change of how all is fitted
    assert FinetuneSettings.model_validate({"lora": {"rank": 3}}).arguments()["learning_rate"] == 1e-3
    one = FinetuneSettings.model_validate({"method": "auto", "lora": {"rank": 3}, "learning_rate": 0.5, "steps": 500})
    assert one.by("lora").lora == one.lora and one.by("naive").lora is None and one.by("proximal").lora is None
    assert one.by("replay").arguments()["learning_rate"] == 0.5
    for settings in (lora, proximal, one, one.by("replay")):
        assert FinetuneSettings.model_validate_json(settings.model_dump_json()) == settings


def test_worse_means_worse_than_a_trade() -> None:
    frames = Frames.from_atoms([bulk("Si")] * 2)
    truth = frames.with_labels(np.zeros(2), np.zeros((4, 3)), None)
    before = frames.with_labels(np.array([2.0, -2.0]), np.full((4, 3), 0.1), None)
    for factor, said in ((1.04, 0), (1.06, 2), (0.5, 0), (math.nan, 2)):
        after = frames.with_labels(factor * before.energy, factor * before.forces, None)
        assert len(worsened(truth, before, after)) == said
    partly = truth.with_labels(np.array([0.0, math.nan]), truth.forces, None)
    assert worsened(partly, before, before) == []


def test_structures_to_replay_may_be_given(inputs: dict[str, Any], tmp_path: Path) -> None:
    write_frames(tmp_path / "other.xyz", Frames.from_atoms([bulk("Ge"), bulk("NaCl", "rocksalt", a=5.64)]))
    summary = run(inputs | {"replay": tmp_path / "other.xyz"}, tmp_path / "out", replay={"share": 0.2})
    assert summary["replayed"] == 2


def test_a_part_that_the_model_has_not_is_an_error(inputs: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no part 'readout'\. Did you mean 'read_out'"):
        run(inputs, tmp_path, freeze=("readout",))
    assert not Job(tmp_path).scratch.exists()  # nothing was trained


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
    with pytest.raises(UserError, match="in another interpreter it only labels"):
        section(model="chgnet-0.3", environment="/somewhere/python", finetune={})


def test_a_network_in_another_interpreter_is_fine_tuned() -> None:
    for model in ("sevennet-l3i5", "sevennet-mf-0-pbe", "mace:my.model"):
        assert section(model=model, environment="/somewhere/python").finetune == FinetuneSettings()
        assert section(model=model, environment="/somewhere/python", finetune={"steps": 3}).finetune.steps == 3
    low_rank = FinetuneSettings.model_validate({"lora": {"rank": 2}})
    with pytest.raises(ValueError, match=r"finetune\.lora changes networks of this interpreter: leave it out"):
        Finetune.Settings(model="sevennet-0", environment="/somewhere/python", finetune=low_rank)


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


def plan(inputs: dict[str, Any], folder: Path, trainer: str, finetune: str = "{}") -> Plan:
    files = ", ".join(f"{name}: {inputs[which]}" for name, which in [("train", "train"), ("valid", "valid")])
    path = folder / "recipe.yaml"
    path.write_text(
        f"name: r\ndata: {{{files}, test: {inputs['valid']}}}\nteacher: {{finetune: {finetune}}}\n"
        f"students: {{painn: {{arch: painn}}}}\ntrainer: {trainer}\n"
    )
    return make_plan(load_recipe(path))


def test_teacher_and_students_share_the_section_of_the_trainer(inputs: dict[str, Any], tmp_path: Path) -> None:
    tasks = plan(inputs, tmp_path, "{devices: 2, loggers: [tensorboard], matmul: high}")
    default, logged = plan(inputs, tmp_path, "{}"), plan(inputs, tmp_path, "{loggers: [wandb]}")
    for name in ("finetune", "train[painn,distilled,0]", "train[painn,direct,0]"):
        assert tasks[name].settings.trainer == TrainerSettings(devices=2, loggers=("tensorboard",), matmul="high")
        assert default[name].settings.trainer == TrainerSettings()
        assert tasks[name].hash != default[name].hash
        assert logged[name].hash == default[name].hash, "where a fit is logged does not change it"
    assert tasks["generate"].hash_inputs["settings"] == default["generate"].hash_inputs["settings"]


@pytest.mark.parametrize(
    ("trainer", "finetune", "said"),
    [
        ("{device: 2}", "{}", r"yaml:5: trainer\.device is not a known key\. Did you mean 'devices'"),
        ("{devices: 0}", "{}", r"trainer\.devices must be greater than or equal to 1"),
        ("{loggers: [tensorbord]}", "{}", r"'tensorboard' or 'wandb', got \"tensorbord\"\. Did you mean 'tensorboard'"),
        ("{loggers: [wandb, wandb]}", "{}", r"trainer\.loggers: wandb is named twice"),
        ("{matmul: low}", "{}", r"trainer\.matmul must be 'highest', 'high' or 'medium'"),
        ("{devices: 2}", "{lora: {}}", r"lora is fitted on one device"),
        ("{devices: 2}", "{method: lora}", r"lora is fitted on one device"),
        ("{}", "{method: naive, lora: {}}", r"method: naive frees all weights, and leaves lora out"),
        (
            "{}",
            "{method: auto, steps: 100}",
            r"12 short fits, to which .*share: 1 gives 8 steps .*set selection\.share: 1\.2",
        ),
        ("{}", "{method: lorra}", r"method must be .*, got \"lorra\"\. Did you mean 'lora'"),
    ],
)
def test_a_wrong_trainer_is_refused_by_the_plan(
    inputs: dict[str, Any], tmp_path: Path, trainer: str, finetune: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        plan(inputs, tmp_path, trainer, finetune)


def test_a_logger_that_is_not_installed_is_refused_by_the_plan(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if "site-packages" not in entry])
    with pytest.raises(UserError, match=r"tensorboard is not installed: pip install 'mlip-distill\[logging\]'"):
        plan(inputs, tmp_path, "{loggers: [tensorboard]}")


def test_more_devices_than_gpus_are_refused_before_anything_is_read(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their number is made up, since the machine may have none."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    settings = Finetune.Settings(trainer=TrainerSettings(devices=2))
    with pytest.raises(UserError, match="2 devices are asked for, but there is one GPU"):
        Finetune().run({"train": tmp_path / "absent"}, settings, Job(tmp_path, device="cuda"))


@pytest.mark.slow
def test_two_processes_fine_tune_chgnet_and_log_it(inputs: dict[str, Any], tmp_path: Path) -> None:
    trainer = TrainerSettings(devices=2, loggers=("tensorboard",))
    settings = Finetune.Settings(finetune=FinetuneSettings(**SHORT, batch_size=1), trainer=trainer, holes="skip")
    summary = Finetune().run(inputs, settings, Job(tmp_path / "two"))
    alone = run(inputs, tmp_path / "one", batch_size=2)
    # sums in another order, single precision
    assert summary["valid_loss"] == pytest.approx(alone["valid_loss"], rel=1e-4)
    assert list((tmp_path / "two" / "logs" / "tensorboard").glob("events.*"))
    assert not list((tmp_path / "two").rglob("*.ckpt"))  # what is continued from is no part of the result


def test_parts_to_freeze_are_read_from_a_recipe() -> None:
    quickstart = Path(__file__).parents[3] / "recipes" / "quickstart.yaml"
    recipe = load_recipe(quickstart, ["teacher.finetune.freeze=[elements, atom_layers.0]"])
    assert recipe.value("teacher.finetune.freeze") == ("elements", "atom_layers.0")
    with pytest.raises(UserError, match=r"teacher\.finetune\.freeze must be a list"):
        load_recipe(quickstart, ["teacher.finetune.freeze=elements"])

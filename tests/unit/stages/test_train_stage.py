"""The variants of a student: what each is trained on, and what it depends on."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk

from distill.base.artifact import Artifact
from distill.base.errors import UserError
from distill.base.files import hash_file, read_json
from distill.potentials.interface.saving import load, save
from distill.potentials.students.ace import ACE
from distill.potentials.students.painn import PaiNN
from distill.stages.base import Job
from distill.stages.train import Train
from distill.structures.draw import draw_grown
from distill.structures.frames import Frames
from distill.structures.read import read_frames
from distill.structures.write import write_frames
from distill.training.drawn import DrawSettings, learnt_from
from distill.training.targets import Targets
from distill.workflow.plan import Plan, make_plan
from distill.workflow.recipe import load_recipe

QUICKSTART = Path(__file__).parents[3] / "recipes" / "quickstart.yaml"
NETWORK = {"channels": 8, "layers": 1, "radial_features": 6, "cutoff": 4.0}
STUDENT = NETWORK | {"arch": "painn"}
SYNTHETIC = {"atomic_energies": False, "hessian": None, "grown": 300, "valid_fraction": 1 / 6}


def rattled(n: int, seed: int, factor: float = 1.0) -> Frames:
    """Rattled silicon with the labels of a network that is not trained, its forces multiplied."""
    rng = np.random.default_rng(seed)
    structures = [bulk("Si") for _ in range(n)]
    for atoms in structures:
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
    truth = PaiNN.build(PaiNN.Settings(**NETWORK), seed=1).evaluate(Frames.from_atoms(structures))
    assert truth.energy is not None and truth.forces is not None
    return truth.with_labels(factor * truth.energy, factor * truth.forces, None)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A distilled student, DFT structures, synthetic ones, and synthetic ones with other labels."""
    folder = tmp_path_factory.mktemp("inputs")
    frames = {"train": rattled(12, 0), "valid": rattled(4, 1), "synthetic": rattled(12, 2), "other": rattled(12, 2, -5)}
    for name, structures in frames.items():
        write_frames(folder / f"{name}.xyz", structures)
    start = PaiNN.build(PaiNN.Settings(**NETWORK), seed=0)
    start.initialise(frames["synthetic"])
    save(start, folder / "start", {})
    paths = {name: folder / f"{name}.xyz" for name in frames}
    start.origin = {"licence": "ASL", "level_of_theory": "PBE", "weights": "https://x/y", "sha256": "1" * 64}
    save(start, folder / "teacher", {})
    data = Artifact(folder, "check", manifest={"inputs": {"train": {"file": "2" * 64}, "valid": None}})
    teacher = {"teacher": folder / "teacher", "data": data}
    return paths | teacher | {"start": folder / "start", "train_targets": None, "valid_targets": None}


def refine(inputs: dict[str, Any], out: Path, **refine: Any) -> tuple[Any, dict[str, Any]]:
    """Return the student that the stage makes of the distilled one, and its summary, with the warnings in it."""
    labels = {"student": "small", "variant": "refined", "seed": 0}
    raw = {"small": STUDENT | {"batch_size": 4, "average": 0.0, "refine": refine}}
    section = Train.section_type(raw).model_validate(raw)
    values = Train.select(section, labels) | SYNTHETIC
    out.mkdir(parents=True)
    job = Job(out, labels, hash="3" * 64)
    summary = Train().run(inputs, Train.settings_class(values, labels)(**values), job)
    return load(out / "model"), summary | {"warnings": job.warnings}


def test_what_is_saved_says_whose_child_it_is(inputs: dict[str, Any], tmp_path: Path) -> None:
    """The licence that counts is that of the weights that taught it, not that of its architecture."""
    how = {"steps": 1, "learning_rate": 1e-3, "validation_interval": 1}
    refine(inputs, tmp_path / "taught", **how)
    said = read_json(tmp_path / "taught" / "model" / "model.json")["provenance"]
    assert (said["licence"], said["architecture_licence"]) == ("ASL", PaiNN.licence)
    teacher = said["teacher"]
    assert (teacher["name"], teacher["level_of_theory"], teacher["sha256"]) == ("painn", "PBE", "1" * 64)
    assert teacher["sha256_as_used"] == hash_file(inputs["teacher"] / "weights.safetensors")
    assert said["data"] == {"train": "2" * 64} and said["recipe"] == "3" * 64
    refine(inputs | {"teacher": None}, tmp_path / "direct", **how)
    said = read_json(tmp_path / "direct" / "model" / "model.json")["provenance"]
    assert said["licence"] == "as the data" and said["teacher"] is None


def distil(inputs: dict[str, Any], out: Path, **student: Any) -> dict[str, Any]:
    """Let the stage train a student for one step and return its summary."""
    labels = {"student": "small", "variant": "distilled", "seed": 0}
    raw = {"small": STUDENT | {"batch_size": 4, "steps": 1, "validation_interval": 1} | student}
    section = Train.section_type(raw).model_validate(raw)
    values = Train.select(section, labels) | SYNTHETIC
    out.mkdir(parents=True)
    return Train().run(inputs | {"start": None}, Train.settings_class(values, labels)(**values), Job(out, labels))


def test_a_student_learns_from_what_is_drawn_with_its_further_labels(inputs: dict[str, Any], tmp_path: Path) -> None:
    pool = read_frames(inputs["synthetic"])[0].with_info(generation=[0] * 2 + [1] * 10, tree=[0, 1] * 6)
    write_frames(tmp_path / "pool.xyz", pool)
    rng = np.random.default_rng(0)
    targets = Targets(*rng.normal(size=(1, 24)), None, None, *([rng.uniform(1, 2, n) for n in (12, 24, 12, 24)]))
    targets.save(tmp_path / "pool.npz")
    targets.save(tmp_path / "valid.npz")
    given = inputs | {"train": tmp_path / "pool.xyz", "valid": tmp_path / "pool.xyz"}
    given |= {"train_targets": tmp_path / "pool.npz", "valid_targets": tmp_path / "valid.npz"}
    assert distil(given, tmp_path / "all")["train_structures"] == 12
    summary = distil(given, tmp_path / "four", structures=4)
    assert summary["train_structures"] == 6 and summary["valid_structures"] == 12
    assert summary["train_labels"] == 6 * (1 + 2 * 3)  # energies and forces of two atoms; there are no stresses
    chosen = draw_grown(pool, 4, "stratified", 0)
    own, drawn = learnt_from(tmp_path / "pool.xyz", tmp_path / "pool.npz", DrawSettings(structures=4), 0, "small")[::-1]
    np.testing.assert_array_equal(drawn.positions, read_frames(tmp_path / "pool.xyz")[0][chosen].positions)
    assert own is not None and own.probe is None and own.energy_weight is not None and own.atomic_energy is not None
    np.testing.assert_array_equal(own.energy_weight, np.asarray(targets.energy_weight)[chosen])
    np.testing.assert_array_equal(own.atomic_energy, np.asarray(targets.atomic_energy)[pool.atom_indices(chosen)])
    with pytest.raises(UserError, match="11 grown structures are asked for, and there are 10") as caught:
        distil(given, tmp_path / "many", structures=11)
    assert "students.small.structures" in str(caught.value)


def weights(potential: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten().double() for p in potential.parameters()])


def test_refining_begins_with_the_distilled_student_and_fits_dft(inputs: dict[str, Any], tmp_path: Path) -> None:
    start, train = load(inputs["start"]), read_frames(inputs["train"])[0]
    same, summary = refine(inputs, tmp_path / "same", steps=1, learning_rate=1e-12, validation_interval=1)
    # a step of 1e-12 in single precision
    torch.testing.assert_close(weights(same), weights(start), rtol=1e-6, atol=1e-9)
    assert summary["train_structures"] == 12
    refined, summary = refine(inputs, tmp_path / "refined", steps=60, learning_rate=0.01, validation_interval=20)
    assert summary["steps"] == 60

    def error(potential: Any) -> float:
        return float(np.abs(potential.evaluate(train).forces - train.forces).mean())

    assert error(refined) < 0.7 * error(start)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_fit_that_is_no_better_than_nothing_is_said(inputs: dict[str, Any], tmp_path: Path, sign: int) -> None:
    """A step of almost no length, to labels that are the student's own or their opposite."""
    own = load(inputs["start"]).evaluate(read_frames(inputs["valid"])[0])
    assert own.energy is not None and own.forces is not None
    for name in ("train", "valid"):
        write_frames(tmp_path / f"{name}.xyz", own.with_labels(sign * own.energy, sign * own.forces, None))
    given = inputs | {name: tmp_path / f"{name}.xyz" for name in ("train", "valid")}
    how = {"steps": 1, "learning_rate": 1e-12, "validation_interval": 1, "synthetic": 0.0}
    warnings = refine(given, tmp_path / "out", **how)[1]["warnings"]
    if sign == 1:
        assert warnings == []
        return
    energies, forces = warnings
    assert "energies of the validation structures are wrong by" in energies
    size = 1000 * np.abs(own.forces).mean()
    assert f"wrong by {2 * size:.0f} meV/Å and their own mean size is {size:.0f}" in forces


def test_synthetic_structures_are_mixed_in_as_asked(inputs: dict[str, Any], tmp_path: Path) -> None:
    how = {"steps": 6, "learning_rate": 0.01, "validation_interval": 6}
    others = inputs | {"synthetic": inputs["other"]}
    for share, alike in ((0.0, True), (0.5, False)):
        one, two = (
            refine(given, tmp_path / f"{share}{k}", synthetic=share, **how)[0]
            for k, given in enumerate((inputs, others))
        )
        assert torch.equal(weights(one), weights(two)) == alike


def planned(*overrides: str) -> Plan:
    return make_plan(load_recipe(QUICKSTART, overrides=overrides))


def test_the_refined_student_needs_the_distilled_one_of_its_seed_which_does_not_depend_on_it() -> None:
    with_it = planned("students.painn.refine={steps: 10}", "students.painn.seeds=2")
    without = planned("students.painn.refine=null", "students.painn.seeds=2")
    for seed in (0, 1):
        task = with_it[f"train[painn,refined,{seed}]"]
        assert {f"train[painn,distilled,{seed}]", "check", "label", "finetune"} == set(task.needs)
        assert task.publish["model"] == "models/painn-refined" + ("-seed1" if seed else "")
    assert not [task.id for task in without if "refined" in task.id]
    assert with_it["train[painn,distilled,0]"].hash == without["train[painn,distilled,0]"].hash
    other = planned("students.painn.refine={steps: 11}", "students.painn.seeds=2")
    assert other["train[painn,refined,0]"].hash != with_it["train[painn,refined,0]"].hash


def test_what_is_drawn_is_no_matter_of_the_direct_student_nor_of_one_that_draws_nothing() -> None:
    some, whole = planned("students.painn.structures=100"), planned()
    changed = {task.id for task in whole if task.hash != some[task.id].hash}
    assert {"train[painn,distilled,0]", "train[painn,refined,0]", "predict[painn,refined,0]"} <= changed
    assert not {"generate", "label", "train[painn,direct,0]", "predict[painn,direct,0]"} & changed
    for variant in ("distilled", "refined", "direct"):
        said = whole[f"train[painn,{variant},0]"].hash_inputs["settings"]
        assert not {"structures", "draw", "grown", "valid_fraction"} & set(said)
    trees = planned("students.painn.structures=100", "students.painn.draw=trees")
    assert trees["train[painn,distilled,0]"].hash != some["train[painn,distilled,0]"].hash


def test_a_draw_that_cannot_be_is_refused_before_anything() -> None:
    with pytest.raises(UserError, match="structures is 251, and 250 of the 300 that grow are to train on") as caught:
        planned("students.painn.structures=251")
    assert "students.painn" in str(caught.value)
    planned("students.painn.structures=250")
    with pytest.raises(UserError, match="say how many as structures"):
        planned("students.painn.draw=trees")


def test_what_follows_does_without_a_seed_whose_training_failed() -> None:
    recipe = load_recipe(QUICKSTART, overrides=["students.painn.seeds=2", "students.painn.refine=null"])
    plan = make_plan(recipe, failed=["train[painn,distilled,1]"])
    lost = {task.id for task in plan if "painn,distilled,1" in task.id}
    assert {"predict[painn,distilled,1]", "unseen[painn,distilled,1]", "simulate[painn,distilled,1,0]"} < lost
    for name in ("evaluate", "benchmark", "report"):
        assert not lost & set(plan[name].needs)
    gone = {"student": "painn", "variant": "distilled", "seed": 1}
    assert plan["evaluate"].missing == {name: [gone] for name in ("predicted", "unseen", "students")}
    assert plan["report"].missing["train"] == [gone] and len(plan["report"].missing["simulate"]) == 5


NAMES = ["copy", "model_dump", "model_dump_x", "model_config", "teacher", "_a", "-a", "", "a b", "å", "a" * 245]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_cannot_be_is_refused_before_anything(name: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(QUICKSTART, [f"students={{'{name}': {{arch: painn}}}}"])
    said = str(caught.value)
    assert "students" in said and "\n" not in said and len(said) < 400
    remedy = {"copy": "my-copy", "model_dump": "my-model_dump", "model_config": "my-model_config"}.get(name)
    if remedy:
        assert remedy in said
        load_recipe(QUICKSTART, [f"students={{{remedy}: {{arch: painn}}}}"])


@pytest.mark.parametrize("name", ["a", "2", "a" * 80, "painn-2_x", "distilled", "seed"])
def test_other_names_plan(name: str) -> None:
    plan = make_plan(load_recipe(QUICKSTART, [f"students={{'{name}': {{arch: painn}}}}"]))
    assert f"train[{name},distilled,0]" in {task.id for task in plan}


def test_an_expansion_elsewhere_needs_no_package_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter that is named has them, this one has not."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 0\n")  # it has whatever it is asked for
    python.chmod(0o755)

    def without(name: str) -> str:
        if name in ACE.requires:
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr("distill.potentials.base.version", without)
    student = f"{{arch: ace, environment: {python}}}"
    plan = make_plan(load_recipe(QUICKSTART, [f"students={{ace: {student}}}"]))
    assert plan["train[ace,distilled,0]"].settings.environment == str(python)  # type: ignore[attr-defined]
    assert ACE.build(ACE.Settings(elements=["Si"], environment=str(python)), 0).architecture == "ace"
    with pytest.raises(UserError, match="'python-ace' is not installed"):
        load_recipe(QUICKSTART, ["students={ace: {arch: ace}}"])

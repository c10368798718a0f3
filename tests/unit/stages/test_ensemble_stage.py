"""Several teachers: which tasks there are, what stays as it is with one, and how they are joined."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk

from distill.base.artifact import Artifact
from distill.base.errors import UserError, WorkError
from distill.potentials import POTENTIALS
from distill.potentials.interface.ensemble import Ensemble as Joined
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import load, save
from distill.potentials.teachers.ensemble import join
from distill.stages.base import Job
from distill.stages.ensemble import COLUMNS, Ensemble
from distill.stages.evaluate import Evaluate, _of_several
from distill.stages.predict import Predict
from distill.structures.frames import Frames
from distill.structures.labels import read_labels
from distill.structures.write import write_frames
from distill.workflow.plan import Plan, make_plan
from distill.workflow.recipe import load_recipe
from distill.workflow.tasks import FromTask

QUICKSTART = Path(__file__).parents[3] / "recipes" / "quickstart.yaml"
DIEP = "{model: diep-2.0, finetune: {steps: 300, learning_rate: 0.001, schedule: cosine}}"
TWO = f"{{diep: {DIEP}, chgnet: {{model: chgnet-0.3}}}}"


def several(folder: Path, teachers: str, *overrides: str) -> Plan:
    data = QUICKSTART.parents[1] / "data" / "silicon"
    path = folder / "recipe.yaml"
    path.write_text(
        f"name: r\ndata: {{train: {data / 'train.xyz'}, valid: {data / 'valid.xyz'}, test: {data / 'test.xyz'}}}\n"
        f"teachers: {teachers}\nstudents: {{painn: {{arch: painn}}}}\n"
    )
    return make_plan(load_recipe(path, overrides))


def test_a_single_teacher_has_the_tasks_that_it_always_had() -> None:
    plan = make_plan(load_recipe(QUICKSTART))
    assert [task.id for task in plan][:4] == ["check", "finetune", "generate", "label"]
    assert plan["generate"].inputs["teacher"] == FromTask("finetune", "model")
    assert plan["predict[teacher,zero_shot,0]"].inputs["model"] == FromTask("finetune", "zero_shot")
    assert plan["finetune"].publish == {"model": "models/teacher"}
    assert plan["finetune"].hash_inputs["labels"] == {}
    assert "seeds" not in plan["finetune"].hash_inputs["settings"]["finetune"]


def test_one_teacher_by_name_is_a_single_teacher(tmp_path: Path) -> None:
    alone = several(
        tmp_path, "{mine: {model: diep-2.0, finetune: {steps: 300, learning_rate: 0.001, schedule: cosine}}}"
    )
    quickstart = make_plan(load_recipe(QUICKSTART))
    assert alone["finetune"].hash == quickstart["finetune"].hash
    assert alone["finetune"].keys["model"] == "teachers.mine.model"


def test_every_teacher_and_seed_is_a_task_and_what_follows_reads_their_mean(tmp_path: Path) -> None:
    plan = several(tmp_path, TWO, "teachers.chgnet.finetune.seeds=2")
    members = [task.id for task in plan if task.stage == "finetune"]
    assert members == ["finetune[diep,0]", "finetune[chgnet,0]", "finetune[chgnet,1]"]
    assert [source.task for source in plan["ensemble"].inputs["members"]] == members  # type: ignore[union-attr]
    for task in ("generate", "label", "benchmark", "simulate[painn,distilled,0,0]"):
        if task in {one.id for one in plan}:
            assert plan[task].inputs["teacher"] == FromTask("ensemble", "model")
    assert plan["predict[teacher,zero_shot,0]"].inputs["model"] == FromTask("ensemble", "zero_shot")
    published = {name for task in plan for name in task.publish.values()}
    assert {"models/teacher", "models/teacher-diep", "models/teacher-chgnet-seed1"} <= published


def test_a_teacher_is_not_fine_tuned_again_when_another_joins_it(tmp_path: Path) -> None:
    plan, quickstart = several(tmp_path, TWO), make_plan(load_recipe(QUICKSTART))
    assert plan["check"].hash == quickstart["check"].hash  # which looks at the first teacher
    assert plan["finetune[diep,0]"].hash == quickstart["finetune"].hash
    seeds = make_plan(load_recipe(QUICKSTART, ["teacher.finetune.seeds=3"]))
    assert [t.id for t in seeds if t.stage == "finetune"] == [f"finetune[diep-2.0,{k}]" for k in range(3)]
    hashes = [task.hash for task in seeds if task.stage == "finetune"]
    assert hashes[0] == quickstart["finetune"].hash and len(set(hashes)) == 3


@pytest.mark.parametrize(
    ("teachers", "overrides", "said"),
    [
        ("{a: {model: chgnet-0.3}, b: {model: chgnet-0.3}}", [], r"a and b are the same teacher.*finetune\.seeds"),
        ("{}", [], "teachers must map at least one name to its settings"),
        ("[diep-2.0]", [], "teachers must map at least one name"),
        ("{a b: {model: diep-2.0}}", [], r"teachers: 'a b' cannot name a teacher"),
        ("{a: {model: dip}}", [], r"teachers\.a\.model: unknown teacher 'dip'"),
        ("{a: {model: diep-2.0, finetun: {}}}", [], r"teachers\.a\.finetun is not a known key"),
        ("{a: {model: diep-2.0}}", ["teacher.model=chgnet-0.3"], "teacher or teachers, not both"),
        ("{a: {model: diep-2.0, finetune: {seeds: 101}}}", [], r"teachers\.a\.finetune\.seeds must be less than"),
        ("{a: {model: diep-2.0, finetune: {seeds: 60}}, b: {finetune: {seeds: 60}}}", [], "Give at most 100"),
        (
            "{a: {model: diep-2.0}, b: {finetune: {replay: {file: x.xyz}}}}",
            [],
            r"teachers\.b\.finetune\.replay\.file: b replays x.xyz",
        ),
        ("{a: {model: 'ase:m:f', finetune: {steps: 3}}}", [], r"teachers\.a\.finetune: ase:m:f cannot be fine-tuned"),
    ],
)
def test_teachers_that_cannot_be_are_refused(tmp_path: Path, teachers: str, overrides: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        several(tmp_path, teachers, *overrides)


def painn(seed: int) -> Potential:
    return POTENTIALS["painn"].build(POTENTIALS["painn"].Settings(preset="small", cutoff=4.0), seed=seed)


def artifact(folder: Path, name: str, potential: Potential) -> Artifact:
    for output in ("model", "zero_shot"):
        save(potential, folder / name / output, {})
    said: Any = {"settings": {"model": "painn"}}
    return Artifact(folder / name, "finetune", {"teacher": name, "seed": 0}, said)


@pytest.fixture
def valid(tmp_path: Path) -> Frames:
    """Structures that the first of the networks labels, with noise of 0.1 eV/Å."""
    rng = np.random.default_rng(0)
    structures = [bulk("Si", cubic=True) for _ in range(3)]
    for atoms in structures:
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
    frames = painn(0).evaluate(structures)
    frames = frames.with_labels(frames.energy, frames.forces + rng.normal(0, 0.1, frames.forces.shape), frames.stress)
    write_frames(tmp_path / "valid.xyz", frames)
    return frames


def test_members_weigh_by_their_error_and_a_broken_one_has_no_part(valid: Frames, tmp_path: Path) -> None:
    broken = painn(2)
    with torch.no_grad():
        next(p for name, p in broken.named_parameters() if name != "reference_energies").fill_(torch.nan)
    models = {"good": painn(0), "poor": painn(1), "broken": broken}
    sources = [artifact(tmp_path, name, one) for name, one in models.items()]
    job = Job(tmp_path / "out")
    summary = Ensemble().run({"members": sources, "valid": tmp_path / "valid.xyz"}, Ensemble.Settings(), job)
    errors = [np.square(models[name].evaluate(valid).forces - valid.forces).mean() for name in ("good", "poor")]
    joined = load(job.out / "model")
    assert isinstance(joined, Joined) and list(joined.members) == ["good", "poor"]
    # by hand: the inverse of the mean squared force error, divided by the sum of both
    assert joined.shares[0] == pytest.approx(errors[1] / (errors[0] + errors[1]), rel=1e-6)
    with (job.out / "members.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS and [row["member"] for row in rows] == list(models)
    assert float(rows[2]["share"]) == 0
    assert [text for text in job.warnings if "broken has no part" in text]
    assert summary["members"][0]["share"] == pytest.approx(joined.shares[0])
    assert "good" in summary["headline"]


def test_without_any_finite_member_there_is_no_ensemble(valid: Frames, tmp_path: Path) -> None:
    broken = painn(2)
    with torch.no_grad():
        next(p for name, p in broken.named_parameters() if name != "reference_energies").fill_(torch.nan)
    sources = [artifact(tmp_path, name, broken) for name in ("a", "b")]
    with pytest.raises(WorkError, match=r"all teachers \(a, b\) are not finite"):
        Ensemble().run({"members": sources, "valid": tmp_path / "valid.xyz"}, Ensemble.Settings(), Job(tmp_path / "o"))


def test_members_and_the_spread_are_judged_on_the_test_set(valid: Frames, tmp_path: Path) -> None:
    members = {name: painn(seed) for seed, name in enumerate(("good", "poor"))}
    save(join(members, (0.9, 0.1)), tmp_path / "pair", {})
    files = {"test": tmp_path / "valid.xyz", "synthetic": None, "model": tmp_path / "pair"}
    Predict().run(files, Predict.Settings(), Job(tmp_path, labels={"student": "teacher"}))
    labels = tmp_path / "labels"
    mean, settings = read_labels(labels / "test.npz", valid), Evaluate.Settings(resamples=100)
    said = _of_several(valid, mean, labels, settings, 0)
    alone = {name: np.abs(one.evaluate(valid).forces - valid.forces).mean() for name, one in members.items()}
    together = np.abs(mean.forces - valid.forces).mean()
    for name, error in alone.items():
        # single precision
        assert said["members"][name]["forces"]["value"] == pytest.approx(error, rel=1e-5)
        assert said["members"][name]["over_mean"]["value"] == pytest.approx(error - together, abs=1e-6)
    spread = join(members, (0.9, 0.1)).evaluate_with_spread(valid)[1]
    np.testing.assert_allclose(said["reliability"]["forces"]["spread"], spread.of_structures(valid), rtol=1e-4)
    (tmp_path / "one").mkdir()
    Predict().run(files | {"model": tmp_path / "pair" / "members" / "good"}, Predict.Settings(), Job(tmp_path / "one"))
    assert _of_several(valid, mean, tmp_path / "one" / "labels", settings, 0) == {}

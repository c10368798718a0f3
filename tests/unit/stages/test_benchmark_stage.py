"""The benchmark as a stage: what is timed, the user's table beside it, and what the report makes of both."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk, molecule

from distill.api import plan
from distill.base.artifact import Artifact
from distill.base.errors import UserError
from distill.base.files import write_json
from distill.dynamics.speed import Speed, Timing, timed_structure
from distill.potentials import POTENTIALS
from distill.potentials.interface.saving import save
from distill.potentials.students.painn import PaiNN
from distill.reporting.models import Model
from distill.reporting.sources import speed_sentences, speeds
from distill.stages.base import Job
from distill.stages.benchmark import GIVEN, SPEED, Benchmark, Timings, _busy, _models, _summary
from distill.stages.timing import Timing as Timer
from distill.structures.frames import Frames
from distill.structures.read import read_frames
from distill.structures.write import write_frames
from distill.workflow.recipe import load_recipe

SILICON = Path(__file__).parents[3] / "data" / "silicon"
TABLE = "model,molecules,mins_per_ps\nMACE,64,3.0\nMACE,8,1.0\nPaiNN,64,0.5\n"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """CHGNet, a student with two seeds, its direct baseline, and silicon to train on."""
    folder = tmp_path_factory.mktemp("inputs")
    frames = Frames.from_atoms([molecule("SiH4"), bulk("Si", cubic=True)])
    labelled = frames.with_labels(np.zeros(2), np.zeros((len(frames.numbers), 3)), None)
    write_frames(folder / "train.xyz", labelled)
    row = POTENTIALS["chgnet-0.3"]
    save(row.build(row.Settings(), 0), folder / "teacher", {})
    student = PaiNN.build(PaiNN.Settings(channels=8, layers=1, radial_features=6, cutoff=4.0), seed=0)
    save(student, folder / "student", {})
    labels = [("distilled", 0), ("distilled", 1), ("direct", 0)]
    return {
        "frames": folder / "train.xyz",
        "structure": None,
        "timings": None,
        "teacher": folder / "teacher",
        "students": [
            Artifact(folder / "student", "train", {"student": "painn", "variant": v, "seed": s}) for v, s in labels
        ],
    }


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def done(inputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished benchmark, its folder and summary."""
    out = tmp_path_factory.mktemp("out")
    table = tmp_path_factory.mktemp("table") / "timing.csv"
    table.write_text(TABLE)
    timings = Timings(file="timing.csv", atoms_per_molecule=3, timestep_fs=0.5, machine="RTX A6000")
    settings = Benchmark.Settings(seconds=10.0, largest=16, timings=timings)
    return out, Benchmark().run(inputs | {"timings": table}, settings, Job(out))


def test_teacher_and_the_first_distilled_student_are_timed(done: tuple[Path, dict[str, Any]]) -> None:
    rows = rows_of(done[0] / "speed.csv")
    assert tuple(rows[0]) == SPEED
    found = [(r["model"], r["variant"], r["atoms"]) for r in rows]
    models = [("teacher", "finetuned"), ("painn", "distilled")]
    assert found == [(*m, size) for m in models for size in ("8", "16")]
    assert all(float(r["ms_per_step"]) > 0 and int(r["n_steps"]) >= 5 for r in rows)
    assert [r["note"] for r in rows] == ["", "no more than 16 atoms were asked for"] * 2


def test_of_several_seeds_the_first_that_was_trained_is_timed(inputs: dict[str, Any]) -> None:
    other = Artifact(Path("other"), "train", {"student": "painn", "variant": "distilled", "seed": 1})
    first = {"teacher": inputs["teacher"], "painn": inputs["students"][0].path}
    assert _models(inputs | {"students": [*inputs["students"], other]}) == first
    assert _models(inputs | {"students": [other]}) == first | {"painn": Path("other")}


def test_a_student_of_which_every_training_failed_has_a_row_that_says_so(
    inputs: dict[str, Any], tmp_path: Path
) -> None:
    gone = [{"student": name, "variant": "distilled", "seed": 0} for name in ("painn", "lost")]
    gone.append({"student": "baseline", "variant": "direct", "seed": 0})
    settings = Benchmark.Settings(seconds=0.1, largest=8)
    summary = Benchmark().run(inputs | {"timings": None}, settings, Job(tmp_path, missing={"students": gone}))
    rows = [r for r in rows_of(tmp_path / "speed.csv") if r["model"] != "teacher"]
    assert [r["model"] for r in rows] == ["painn", "lost"]
    assert (rows[-1]["ms_per_step"], rows[-1]["note"]) == ("", "its training failed")
    assert [one.stopped for one in speeds(tmp_path, summary).measured][-1] == "its training failed"


def test_the_summary_says_where_and_how_many_times_faster(done: tuple[Path, dict[str, Any]]) -> None:
    out, summary = done
    json.dumps(summary, allow_nan=False)
    teacher, student = (float(r["ms_per_step"]) for r in rows_of(out / "speed.csv") if r["atoms"] == "16")
    found = summary["students"]["painn"]
    assert found["atoms"] == 16 and found["times_faster"] == pytest.approx(teacher / student, rel=1e-12)
    assert summary["device"] == "cpu" and summary["threads"] >= 1 and "thread" in summary["machine"]
    assert summary["structure"] == "Si8" and "painn" in summary["headline"] and "16 atoms" in summary["headline"]


def test_the_report_reads_what_was_written(done: tuple[Path, dict[str, Any]]) -> None:
    out, summary = done
    read = speeds(out, summary)
    assert [one.of for one in read.measured] == [Model("teacher", "finetuned"), Model("painn", "distilled")]
    assert read.faster(Model("painn", "distilled")) == (16, pytest.approx(summary["students"]["painn"]["times_faster"]))
    assert {given.name: given.atoms.tolist() for given in read.given} == {"MACE": [24, 192], "PaiNN": [192]}
    # 3 min for 2000 steps of 0.5 fs
    assert read.given[0].ms_per_step[-1] == pytest.approx(90.0, rel=1e-12)
    assert read.given_on == "RTX A6000" and read.machine == summary["machine"]
    (sentence,) = speed_sentences(summary)
    assert sentence.startswith("painn is ") and "than its teacher at 16 atoms" in sentence


def test_a_busy_machine_is_said_to_be_one() -> None:
    quiet, busy = Speed((Timing(16, 1.0, 5, 0.05),), ""), Speed((Timing(16, 1.7, 5, 0.4),), "")
    assert _busy({"teacher": quiet, "painn": quiet}) == ""
    assert "no core (painn for 40 % of the time)" in _busy({"teacher": quiet, "painn": busy})
    atoms, settings = bulk("Si", cubic=True), Benchmark.Settings()
    said = [_summary({"teacher": quiet, "painn": busy}, atoms, settings, "cpu", flag)["headline"] for flag in (0, 1)]
    assert said[0] == "faster than the teacher: painn 0.588 times at 16 atoms"
    assert said[1] == said[0] + " (on a busy machine)"


def test_a_student_that_is_slower_is_said_to_be() -> None:
    found = {"atoms": 8, "teacher_ms_per_step": 1.0, "ms_per_step": 4.0, "times_faster": 0.25}
    (sentence,) = speed_sentences({"students": {"big": found}, "machine": "a laptop"})
    assert sentence == "big is 4 times slower than its teacher at 8 atoms (4 instead of 1 ms a step; a laptop)."


def test_no_seconds_leave_it_out_but_draw_the_users_table(inputs: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("model,atoms,ms_per_step\nA,8,1\n")
    settings = Benchmark.Settings(seconds=0, timings=Timings(file="t.csv"))
    summary = Benchmark().run(inputs | {"timings": tmp_path / "t.csv"}, settings, Job(tmp_path))
    assert "left out" in summary["headline"] and summary["students"] == {}
    assert rows_of(tmp_path / "speed.csv") == []
    assert rows_of(tmp_path / "timings.csv") == [dict(zip(GIVEN, ("A", "8", "1.0"), strict=True))]
    assert list(speed_sentences(summary)) == [] and speeds(tmp_path, summary).measured == []


def test_a_student_whose_dynamics_break_is_a_warning_and_no_failure(inputs: dict[str, Any], tmp_path: Path) -> None:
    student = PaiNN.build(PaiNN.Settings(channels=8, layers=1, radial_features=6, cutoff=4.0), seed=0)
    student.scale.data.fill_(float("nan"))
    save(student, tmp_path / "student", {})
    broken = [Artifact(tmp_path / "student", "train", {"student": "painn", "variant": "distilled", "seed": 0})]
    job = Job(tmp_path)
    summary = Benchmark().run(inputs | {"students": broken}, Benchmark.Settings(seconds=0.1), job)
    assert job.warnings[:1] == ["painn was not timed further: the dynamics of 8 atoms broke"]  # the machine may be busy
    assert summary["students"] == {}
    last = rows_of(tmp_path / "speed.csv")[-1]
    assert (last["model"], last["ms_per_step"], last["n_steps"]) == ("painn", "", "0") and "broke" in last["note"]
    assert [len(one.atoms) for one in speeds(tmp_path, summary).measured][-1] == 0


def test_a_wrong_table_is_refused_before_anything_is_timed(inputs: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "timing.csv").write_text(TABLE)
    settings = Benchmark.Settings(timings=Timings(file="timing.csv", atoms_per_molecule=3))
    with pytest.raises(UserError, match=r"Give benchmark\.timings\.timestep_fs"):
        Benchmark().run(inputs | {"timings": tmp_path / "timing.csv", "teacher": Path("gone")}, settings, Job(tmp_path))


def test_what_is_repeated(inputs: dict[str, Any], tmp_path: Path) -> None:
    assert len(timed_structure(inputs["structure"], inputs["frames"])) == 8  # the crystal, not the molecule before it
    write_frames(tmp_path / "own.xyz", Frames.from_atoms([bulk("Al"), bulk("Cu")]))
    assert timed_structure(tmp_path / "own.xyz", inputs["frames"]).symbols[0] == "Al"


# ---- in a recipe ----------------------------------------------------------------------------------------------------


SIMULATION = {"kind": "energy_volume", "structure": {"frame": 0}}


def recipe(folder: Path, **benchmark: Any) -> Path:
    files = {name: str(SILICON / f"{name}.xyz") for name in ("train", "valid", "test")}
    path = folder / "some.yaml"
    written = {"name": "some", "data": files, "students": {"painn": {"arch": "painn"}}, "simulate": [SIMULATION]}
    write_json(path, written | ({"benchmark": benchmark} if benchmark else {}))
    return path


def test_a_recipe_without_the_section_has_the_stage_and_it_runs_alone(tmp_path: Path) -> None:
    planned = plan(recipe(tmp_path))
    task = planned["benchmark"]
    assert task.settings.seconds == 10 and task.settings.timings is None
    assert planned.independent_of(task) == set()
    assert dict(task.publish) == {"speed": "speed.csv"}


def test_the_users_files_count_by_content(tmp_path: Path) -> None:
    (tmp_path / "timing.csv").write_text(TABLE)
    shutil.copy(tmp_path / "timing.csv", tmp_path / "moved.csv")
    options = {"atoms_per_molecule": 3, "timestep_fs": 0.5}
    first, moved = (
        plan(recipe(tmp_path, timings={"file": name} | options))["benchmark"] for name in ("timing.csv", "moved.csv")
    )
    assert first.hash == moved.hash
    (tmp_path / "moved.csv").write_text(TABLE + "PaiNN,8,0.1\n")
    assert plan(recipe(tmp_path, timings={"file": "moved.csv"} | options))["benchmark"].hash != first.hash


def test_a_table_that_cannot_be_drawn_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "timing.csv").write_text("model,atoms,ms_per_step\nPaiNN,8,-1\n")
    with pytest.raises(UserError, match=r"timing\.csv, line 2, column 'ms_per_step': '-1' is not a positive number"):
        plan(recipe(tmp_path, timings={"file": "timing.csv"}))


@pytest.mark.parametrize(
    ("benchmark", "said"),
    [
        ({"second": 5}, "benchmark.second is not a known key. Did you mean 'seconds'?"),
        ({"timings": {"file": "gone.csv"}}, "gone.csv does not exist"),
        ({"timings": "timing.csv"}, "benchmark.timings must be a mapping of keys to values"),
        ({"timings": {"timestep_fs": 0.5}}, "benchmark.timings.file is missing"),
        ({"structure": "gone.xyz"}, "gone.xyz does not exist"),
        ({"seconds": -1}, "benchmark.seconds must be greater than or equal to 0"),
    ],
)
def test_a_wrong_section_is_refused_at_once(tmp_path: Path, benchmark: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as refused:
        plan(load_recipe(recipe(tmp_path, **benchmark)))
    assert said in str(refused.value)


def test_the_trained_elements_are_needed(inputs: dict[str, Any], tmp_path: Path) -> None:
    student = PaiNN.build(PaiNN.Settings(channels=8, layers=1, radial_features=6, cutoff=4.0), seed=0)
    student.initialise(read_frames(inputs["frames"])[0])
    save(student, tmp_path / "student", {})
    write_frames(tmp_path / "own.xyz", Frames.from_atoms([bulk("Al")]))
    only = [Artifact(tmp_path / "student", "train", {"student": "painn", "variant": "distilled", "seed": 0})]
    changed = inputs | {"structure": tmp_path / "own.xyz", "students": only}
    with pytest.raises(UserError, match="element Al"):
        Benchmark().run(changed, Benchmark.Settings(seconds=0.1), Job(tmp_path))


def test_a_student_is_timed_by_itself_where_the_recipe_says_so(inputs: dict[str, Any], tmp_path: Path) -> None:
    settings = Timer.Settings(atoms=20, temperature=300.0, timestep_fs=1.0)
    found = Timer().run(inputs | {"model": inputs["students"][0].path}, settings, Job(tmp_path))
    assert found["atoms"] == 32 and found["ms_per_atom"] == pytest.approx(found["ms_per_step"] / 32)
    assert found["ms_per_atom"] > 0
    recipe = load_recipe(SILICON.parents[1] / "recipes" / "quickstart.yaml")
    assert not plan(recipe).of_stage("timing")
    timed = plan(recipe.override({"benchmark.atoms": 100})).of_stage("timing")
    assert [task.labels["variant"] for task in timed] == ["distilled", "refined", "direct"]

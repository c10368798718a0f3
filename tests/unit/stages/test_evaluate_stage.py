"""Evaluation as a stage: every seed is judged, one that failed is marked, counted and in no mean."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk

from distill.analysis.errors import finite
from distill.analysis.seeds import SEED_COLUMNS
from distill.base.artifact import Artifact
from distill.base.errors import WorkError
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import save
from distill.potentials.students.painn import PaiNN
from distill.stages.base import Job
from distill.stages.evaluate import COLUMNS, Evaluate, _gains
from distill.stages.predict import Predict
from distill.stages.unseen import Unseen
from distill.structures.frames import Frames
from distill.structures.read import read_frames
from distill.structures.write import write_frames

TRAINED: dict[tuple[str, str], list[tuple[str, float | None]]] = {
    ("painn", "distilled"): [("finished", 0.1), ("diverged", 0.05), ("stopped early", 0.3), ("finished", 0.2)],
    ("painn", "direct"): [("finished", 0.2), ("out of time", 0.1)],
    ("broken", "distilled"): [("diverged", None)],
    ("broken", "direct"): [("finished", 0.4)],
}
"""How the training of each seed ended, and its validation loss."""

TEACHERS = (("zero_shot", "zero_shot"), ("teacher", "finetuned"))
"""Folder and variant."""

NAN = {("painn", "distilled", 3)}
"""Seeds whose training is said to have ended well, and whose weights are broken."""


def model(seed: int) -> Potential:
    return PaiNN.build(PaiNN.Settings(channels=8, layers=1, radial_features=6, cutoff=4.0), seed=seed)


def rattled(n: int, seed: int) -> Frames:
    rng = np.random.default_rng(seed)
    structures = [bulk("Si", cubic=True) for _ in range(n)]
    for atoms in structures:
        atoms.positions += rng.normal(0, 0.2, atoms.positions.shape)
        atoms.info["config_type"] = "thermal"
    return Frames.from_atoms(structures)


def labelled(frames: Frames, teacher: Potential) -> Frames:
    """Return ``frames`` with forces ten times the teacher's, so that all students are much closer to the teacher."""
    truth = teacher.evaluate(frames)
    assert truth.energy is not None and truth.forces is not None
    return truth.with_labels(truth.energy, 10 * truth.forces, truth.stress)


def trained(folder: Path, index: int, student: str, variant: str, seed: int) -> Artifact:
    """Write what a training leaves behind."""
    status, loss = TRAINED[student, variant][seed]
    potential = model(index)
    if (student, variant, seed) in NAN:
        with torch.no_grad():
            for weights in potential.parameters():
                weights.fill_(torch.nan)
    save(potential, folder / "model", {})
    labels = {"student": student, "variant": variant, "seed": seed}
    return Artifact(folder, "train", labels, {"summary": {"status": status, "valid_loss": loss}})


def predicted(folder: Path, path: Path, labels: dict[str, Any]) -> Artifact:
    """Let the stage before predict the test set."""
    job = Job(folder / "predicted" / "-".join(map(str, labels.values())), labels)
    job.out.mkdir(parents=True)
    Predict().run({"test": folder / "test.xyz", "model": path}, Predict.Settings(), job)
    return Artifact(job.out / "labels", "predict", labels)


def unseen(folder: Path, student: Artifact) -> Artifact:
    """Let a student predict the synthetic structures."""
    job = Job(student.path / "unseen", student.labels)
    job.out.mkdir()
    given = {"structures": folder / "synthetic.xyz", "model": student.path / "model"}
    Unseen().run(given, Unseen.Settings(), job)
    return Artifact(job.out / "labels.npz", "unseen", student.labels)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the stages before leave behind."""
    folder = tmp_path_factory.mktemp("evaluate")
    save(model(100), folder / "zero_shot", {})
    save(model(101), folder / "teacher", {})
    write_frames(folder / "test.xyz", labelled(rattled(4, 0), model(101)))
    write_frames(folder / "synthetic.xyz", model(101).evaluate(rattled(3, 1)))
    runs = [(student, variant, seed) for (student, variant), each in TRAINED.items() for seed in range(len(each))]
    students = [trained(folder / f"train{i}", i, *run) for i, run in enumerate(runs)]
    models = [(folder / name, {"student": "teacher", "variant": variant, "seed": 0}) for name, variant in TEACHERS]
    models += [(source.path / "model", dict(source.labels)) for source in students]
    return {
        "test": folder / "test.xyz",
        "synthetic": folder / "synthetic.xyz",
        "predicted": [predicted(folder, *one) for one in models],
        "unseen": [unseen(folder, one) for one in students],
        "students": students,
    }


@pytest.fixture(scope="module")
def evaluated(inputs: dict[str, Any]) -> tuple[Path, dict[str, Any], list[str]]:
    """The folder that the stage wrote, its summary and its warnings."""
    job = Job(inputs["test"].parent / "out")
    job.out.mkdir()
    summary = Evaluate().run(inputs, Evaluate.Settings(resamples=100), job)
    json.dumps(summary, allow_nan=False)
    return job.out, summary, job.warnings


def without(inputs: dict[str, Any], names: tuple[str, ...], labels: dict[str, Any], out: Path) -> tuple[Any, Job]:
    """Let the stage do without the tasks of one model and return its summary and its job."""
    left = {name: [one for one in inputs[name] if one.labels != labels] for name in names}
    job = Job(out, missing={name: [labels] for name in names})
    return Evaluate().run(inputs | left, Evaluate.Settings(resamples=100), job), job


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def force_mae(evaluated: Any, student: str, variant: str, seed: int, against: str = "dft") -> float:
    """The error recomputed from the predictions that were written."""
    folder = evaluated[0].parent
    guess = read_frames(folder / "predicted" / f"{student}-{variant}-{seed}" / "test.xyz")[0].forces
    truth = folder / ("test.xyz" if against == "dft" else "predicted/teacher-finetuned-0/test.xyz")
    return float(np.abs(guess - read_frames(truth)[0].forces).mean())


def test_every_row_says_how_its_training_ended(evaluated: Any) -> None:
    rows = table(evaluated[0] / "metrics.csv")
    assert tuple(rows[0]) == COLUMNS
    status = {(r["model"], r["variant"], int(r["seed"])): (r["status"], r["valid_loss"]) for r in rows}
    assert status["teacher", "zero_shot", 0] == status["teacher", "finetuned", 0] == ("finished", "")
    assert status["painn", "distilled", 0] == ("finished", "0.1")
    assert status["painn", "distilled", 1] == ("diverged", "0.05")
    assert status["painn", "distilled", 2] == ("stopped early", "0.3")
    assert status["painn", "direct", 1] == ("out of time", "0.1")
    assert status["broken", "distilled", 0] == ("diverged", "")
    for key in status:
        assert len({r["status"] for r in rows if (r["model"], r["variant"], int(r["seed"])) == key}) == 1


def test_a_finished_training_with_broken_predictions_is_not_reported_as_finished(evaluated: Any) -> None:
    rows = [r for r in table(evaluated[0] / "metrics.csv") if (r["variant"], r["seed"]) == ("distilled", "3")]
    assert rows
    assert {(r["status"], r["value"]) for r in rows} == {("not finite", "")}


def test_seeds_are_gathered_without_those_that_failed(evaluated: Any) -> None:
    rows = table(evaluated[0] / "seeds.csv")
    assert tuple(rows[0]) == SEED_COLUMNS
    assert {(r["split"], r["reference"]) for r in rows} == {
        ("test", "dft"),
        ("test", "teacher"),
        ("synthetic", "teacher"),
    }
    assert not [r for r in rows if r["model"] == "teacher"]
    wanted = ("painn", "distilled", "test", "dft", "all", "forces", "mae")
    (row,) = [r for r in rows if tuple(r.values())[:7] == wanted]
    errors = [force_mae(evaluated, "painn", "distilled", seed) for seed in (0, 2)]
    # forces are written with nine digits
    assert float(row["mean"]) == pytest.approx(np.mean(errors), rel=1e-6)
    assert float(row["standard_deviation"]) == pytest.approx(np.std(errors, ddof=1), rel=1e-4)
    assert float(row["best"]) == pytest.approx(errors[0], rel=1e-6)
    assert (row["best_seed"], row["seeds"], row["failed"], row["failed_seeds"]) == ("0", "4", "2", "1 3")
    assert (row["unit"], row["n"]) == ("eV/Å", "4")


def test_a_student_without_a_good_seed_has_no_number(evaluated: Any) -> None:
    rows = [r for r in table(evaluated[0] / "seeds.csv") if (r["model"], r["variant"]) == ("broken", "distilled")]
    assert rows
    assert {(r["mean"], r["standard_deviation"], r["best"], r["best_seed"], r["failed"]) for r in rows} == {
        ("", "", "", "", "1")
    }


def test_the_summary_compares_each_student_with_its_teacher_and_dft(evaluated: Any) -> None:
    found = evaluated[1]["students"]
    assert set(found) == {"painn", "broken"}
    each = [
        force_mae(evaluated, "painn", "direct", s, "teacher") / force_mae(evaluated, "painn", "direct", s)
        for s in (0, 1)
    ]
    assert found["painn"]["direct"]["teacher_to_dft"] == pytest.approx(np.mean(each), rel=1e-6)
    assert 0 < found["painn"]["direct"]["teacher_to_dft"] < 1
    assert found["painn"]["direct"]["best_seed"] == 1
    assert found["painn"]["distilled"]["failed"] == {"1": "diverged", "3": "not finite"}
    assert found["broken"]["distilled"]["teacher_to_dft"] is None
    assert found["broken"]["distilled"]["best_seed"] is None


def test_the_gain_is_that_of_the_mean_over_good_seeds(evaluated: Any) -> None:
    gains = evaluated[1]["gains"]
    assert set(gains) == {"painn"}, "a student without a good seed cannot be compared"
    direct, distilled = (
        np.mean([force_mae(evaluated, "painn", variant, s) for s in good])
        for variant, good in (("direct", (0, 1)), ("distilled", (0, 2)))
    )
    # differences of errors of about 1e-1 eV/Å that are known to 1e-9
    assert gains["painn"]["value"] == pytest.approx(direct - distilled, abs=1e-7)
    assert gains["painn"]["low"] <= gains["painn"]["value"] <= gains["painn"]["high"]


def test_a_refined_student_is_what_is_compared_with_the_direct_one() -> None:
    test = labelled(rattled(6, seed=5), model(0))
    assert test.energy is not None and test.forces is not None
    wrong = np.sign(np.random.default_rng(0).normal(size=test.forces.shape))
    errors = {"distilled": 0.3, "refined": 0.1, "direct": 0.25}
    kept = {
        ("painn", variant): [test.with_labels(test.energy, test.forces + error * wrong, None)]
        for variant, error in errors.items()
    }
    settings = Evaluate.Settings(resamples=100)
    assert _gains(test, kept, settings, 0)["painn"]["value"] == pytest.approx(0.15)
    del kept["painn", "refined"]
    assert _gains(test, kept, settings, 0)["painn"]["value"] == pytest.approx(-0.05)


def test_failures_are_said(evaluated: Any) -> None:
    _, summary, warnings = evaluated
    assert warnings == [
        "painn distilled: 2 of 4 seeds are in no mean (seed 1: diverged, seed 3: not finite)",
        "broken distilled: diverged, so it has no errors",
    ]
    mean = summary["students"]["painn"]["distilled"]["forces_mae_dft"]
    assert f"painn distilled {1000 * mean:.0f} (2 of 4 seeds failed)" in summary["headline"]
    assert "broken distilled diverged" in summary["headline"]


@pytest.mark.parametrize("names", [("predicted", "unseen", "students"), ("unseen",)])
def test_a_model_that_failed_on_the_way_is_counted_and_has_no_values(
    names: tuple[str, ...], evaluated: Any, inputs: dict[str, Any], tmp_path: Path
) -> None:
    gone = {"student": "painn", "variant": "distilled", "seed": 0}
    summary, job = without(inputs, names, gone, tmp_path)
    json.dumps(summary, allow_nan=False)
    whole, rows = table(evaluated[0] / "metrics.csv"), table(tmp_path / "metrics.csv")

    def apart(of: list[dict[str, str]]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        mine = [r for r in of if (r["model"], r["variant"], r["seed"]) == tuple(map(str, gone.values()))]
        return mine, [r for r in of if r not in mine]

    (own, others), (own_before, others_before) = apart(rows), apart(whole)
    assert others == others_before
    values = {"status", "valid_loss", "value", "low", "high"}
    assert [{k: v for k, v in r.items() if k not in values} for r in own] == [
        {k: v for k, v in r.items() if k not in values} for r in own_before
    ]
    assert {(r["status"], r["valid_loss"], r["value"], r["low"]) for r in own} == {("failed", "", "", "")}
    found = summary["students"]["painn"]["distilled"]
    assert found["failed"]["0"] == "failed" and found["seeds"] == 4 and found["best_seed"] == 2
    assert "painn distilled: 3 of 4 seeds are in no mean (seed 0: failed, seed 1: diverged" in job.warnings[0]


def test_the_teacher_as_it_came_may_be_missing_the_fine_tuned_one_not(inputs: dict[str, Any], tmp_path: Path) -> None:
    gone = {"student": "teacher", "variant": "zero_shot", "seed": 0}
    assert "teacher zero shot failed" in without(inputs, ("predicted",), gone, tmp_path)[0]["headline"]
    with pytest.raises(WorkError, match="predicted nothing to compare students with"):
        without(inputs, ("predicted",), gone | {"variant": "finetuned"}, tmp_path)


def test_a_molecule_needs_no_stress() -> None:
    frames = rattled(2, 0)
    stress = np.full((2, 3, 3), np.nan)
    assert not finite(frames.with_labels(np.zeros(2), np.zeros((16, 3)), stress))
    molecules = Frames(
        frames.n_atoms, frames.numbers, frames.positions, np.zeros((2, 3, 3)), np.zeros((2, 3)), stress=stress
    )
    assert finite(molecules)

"""Every recipe loads and plans; the quickstart, made tiny, runs through the command line as a user would run it."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase.build import bulk
from ase.io import read

import distill
from distill.cli import main
from distill.doctor import missing_packages
from distill.potentials import POTENTIALS
from distill.stages.evaluate import COLUMNS

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
QUICKSTART = str(ROOT / "recipes" / "quickstart.yaml")
TINY = {
    "name": "quickstart",
    "executor.workers": 2,
    "teacher.finetune.steps": 4,
    "teacher.finetune.validation_interval": 2,
    "synthetic.structures": 30,
    "students.painn.channels": 8,
    "students.painn.layers": 1,
    "students.painn.cutoff": 4.0,
    "students.painn.steps": 20,
    "students.painn.validation_interval": 10,
    "students.painn.refine.steps": 6,
    "students.painn.refine.validation_interval": 3,
    "benchmark.seconds": 0.1,
    "simulate.0.ps": 0.02,
    "simulate.1.ps": 0.02,
}
"""Overrides that make the quickstart small enough for a test; every stage still does its real work."""


def words(*arguments: str, **overrides: object) -> list[str]:
    """Return what follows ``distill`` on a command line: a verb, and overrides of the recipe."""
    return [*arguments, *(f"--set={key}={value}" for key, value in overrides.items())]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished tiny quickstart that was killed once on its way."""
    folder = tmp_path_factory.mktemp("runs")
    own = words("run", "recipes/quickstart.yaml", "--runs", str(folder), "--device", "cpu", **TINY)
    arguments = [sys.executable, "-m", "distill.cli", *own]
    first = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    journal = wait_for(folder / ".store" / "generate", "journal")
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert not list((folder / ".store" / "generate").glob("[0-9a-f]*")), "a killed stage left an artifact"
    assert journal.name == "journal"
    second = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert second.returncode == 0, second.stdout + second.stderr
    return folder


def wait_for(folder: Path, name: str, timeout: float = 300) -> Path:
    """Return the first non-empty file called ``name`` below ``folder``, once it is there."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        for path in folder.rglob(name):
            if path.stat().st_size:
                return path
        time.sleep(0.02)
    raise TimeoutError(name)


def absent_files(path: Path) -> dict[str, str]:
    """Return overrides that name the data of silicon in place of files that a recipe leaves to its user."""
    said = yaml.safe_load(path.read_text())
    named = {f"data.{name}": said["data"][name] for name in ("train", "valid", "test")}
    named |= {
        f"observe.{name}.reference.structures": one["reference"]["structures"]
        for name, one in said.get("observe", {}).items()
        if "structures" in one.get("reference", {})
    }
    data = ROOT / "data" / "silicon"
    absent = [key for key, file in named.items() if not (path.parent / file).exists()]
    return {
        key: str(data / f"{key.removeprefix('data.') if key.startswith('data.') else 'test'}.xyz") for key in absent
    }


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_recipe_plans_and_documents_every_key(path: Path) -> None:
    if "arch: ace" in path.read_text() and missing_packages(POTENTIALS["ace"]):
        pytest.skip("the extra ace is not installed")
    assert len(distill.plan(path, overrides=absent_files(path))) >= 8
    for line in path.read_text().splitlines():
        if re.match(r"\s*\w+: \S", line) and "structure:" not in line and "kind:" not in line:
            assert "#" in line or line.strip().startswith(("arch", "steps", "batch", "learning", "ps", "temp")), line


@pytest.mark.slow
def test_published_results(runs: Path) -> None:
    run = runs / "quickstart"
    for name in (
        "report.html",
        "metrics.csv",
        "seeds.csv",
        "speed.csv",
        "summary.json",
        "synthetic.xyz",
        "models/teacher",
        "models/painn",
    ):
        assert (run / name).exists(), name
    assert (run / "models" / "painn-direct" / "weights.safetensors").exists()
    assert "<html" in (run / "report.html").read_text()
    assert any((run / "figures").glob("*.png"))


@pytest.mark.slow
def test_metrics_have_every_model_reference_and_family(runs: Path) -> None:
    with (runs / "quickstart" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    on_test = [r for r in rows if r["split"] == "test" and r["quantity"] == "forces" and r["statistic"] == "mae"]
    against_dft = {(r["model"], r["variant"], r["config_type"]) for r in on_test if r["reference"] == "dft"}
    models = [("teacher", "zero_shot"), ("teacher", "finetuned")]
    models += [("painn", "distilled"), ("painn", "refined"), ("painn", "direct")]
    assert against_dft == {(*m, c) for m in models for c in ("all", "strained", "thermal", "liquid")}
    assert {(r["model"], r["variant"]) for r in on_test if r["reference"] == "teacher"} == set(models[2:])
    whole = next(r for r in on_test if r["variant"] == "distilled" and r["config_type"] == "all")
    assert float(whole["low"]) < float(whole["value"]) < float(whole["high"])


@pytest.mark.slow
def test_students_are_judged_on_numbers_that_can_be_recomputed(runs: Path) -> None:
    run = runs / "quickstart"
    test = read(ROOT / "data" / "silicon" / "test.xyz", ":")
    predicted = distill.load_potential(run / "models" / "painn").evaluate(test)
    error = np.abs(predicted.forces - np.concatenate([a.get_forces() for a in test])).mean()
    with (run / "metrics.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["variant"] == "distilled" and r["reference"] == "dft"]
    chosen = [r for r in rows if (r["config_type"], r["quantity"], r["statistic"]) == ("all", "forces", "mae")]
    # single-precision forces, written with nine digits
    assert float(chosen[0]["value"]) == pytest.approx(error, rel=1e-5)


@pytest.mark.slow
def test_calculator_of_a_published_model(runs: Path) -> None:
    atoms = bulk("Si", "diamond", a=5.43, cubic=True)
    atoms.calc = distill.load_potential(runs / "quickstart" / "models" / "painn").calculator()
    # a perfect crystal: forces vanish by symmetry, up to single precision
    assert np.abs(atoms.get_forces()).max() < 1e-3
    assert atoms.get_stress().shape == (6,)


@pytest.mark.slow
def test_no_family_is_on_both_sides(runs: Path) -> None:
    label = next((runs / ".store" / "label").glob("[0-9a-f]*"))
    trees = [{a.info["tree"] for a in read(label / f"{s}.xyz", ":") if "tree" in a.info} for s in ("train", "valid")]
    assert trees[0]
    assert trees[1]
    assert not trees[0] & trees[1]


@pytest.mark.slow
def test_synthetic_structures_know_their_parents(runs: Path) -> None:
    structures = read(runs / "quickstart" / "synthetic.xyz", ":")
    grown = [a for a in structures if a.info.get("generation", 0) > 0]
    assert len(grown) == TINY["synthetic.structures"]
    assert all({"tree", "parent", "generation"} <= set(a.info) for a in grown)


@pytest.mark.slow
def test_second_run_does_no_work(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (runs / ".store").rglob("manifest.json")}
    assert main(words("run", QUICKSTART, "--runs", str(runs), "--device", "cpu", **TINY)) == 0
    assert "Nothing to do" in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in (runs / ".store").rglob("manifest.json")}
    assert after == before and len(after) > 20


@pytest.mark.slow
def test_a_changed_cutoff_trains_that_student_and_nothing_before_it(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words("plan", QUICKSTART, "--runs", str(runs), **TINY | {"students.painn.cutoff": 4.5})) == 0
    plan = capsys.readouterr().out
    state = {line.split()[0]: "will run" in line for line in plan.splitlines() if line and line[0].islower()}
    assert not any(state[stage] for stage in ("check", "finetune", "generate", "label"))
    assert state["train[painn,distilled,0]"]
    assert state["train[painn,direct,0]"]
    assert "students.painn.cutoff: 4.0 -> 4.5" in plan


@pytest.mark.slow
def test_summary_holds_the_cost_of_every_task(runs: Path) -> None:
    summary = json.loads((runs / "quickstart" / "summary.json").read_text())
    for task in summary["tasks"].values():
        assert task["wall_s"] >= 0
        assert len(task["hash"]) == 64
    for_several = {name for name, stage in distill.STAGES.items() if stage.only_for_several}  # one teacher has none
    not_asked = {"timing", "dynamics", "observe", "relabel", "gate", "write", "certify", "card"}
    assert {t.split("[")[0] for t in summary["tasks"]} == set(distill.STAGES) - for_several - not_asked


@pytest.mark.slow
def test_every_student_has_a_verdict(runs: Path) -> None:
    run = distill.open_run("quickstart", runs=runs)
    assert set(run.verdicts.variant) == {"distilled", "refined", "direct"}
    assert set(run.verdicts.decision) <= {"accept", "reject", "cannot tell"}
    assert {0, 1, 2} <= set(run.physics.level)


@pytest.mark.slow
def test_status_of_a_finished_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(runs / "quickstart")]) == 0
    assert "37 of 37 tasks are done" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_packages(POTENTIALS["ace"])), reason="the extra ace is not installed")
def test_an_ace_student_goes_all_the_way(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = {key: value for key, value in TINY.items() if "painn" not in key} | {
        "name": "quickstart-ace",
        "executor.workers": 1,
        "students.ace.functions": 10,
        "students.ace.nradmax": "[5,2]",
        "students.ace.lmax": "[0,1]",
        "students.ace.direct": "false",
        "students.ace.batches.epochs": 4,
        "students.ace.bfgs.iterations": 2,
        "students.ace.refine.epochs": 2,
        "simulate.1.max_grade": 1e-6,
    }
    recipe = str(ROOT / "recipes" / "quickstart-ace.yaml")
    assert main(words("run", recipe, "--runs", str(runs), "--device", "cpu", **tiny)) == 0, capsys.readouterr().err
    run = runs / "quickstart-ace"
    model = run / "models" / "ace"
    assert "academic" in json.loads((model / "model.json").read_text())["provenance"]["architecture_licence"]
    assert "after each phase of its fit: AdamW" in (run / "report.html").read_text()
    assert all((model / name).is_file() for name in ("potential.yaml", "potential.yace", "potential.asi", "in.lammps"))
    predicted = read(run / "predictions" / "ace-distilled-0.xyz", ":")
    assert all(atoms.info["grade"] > 0 for atoms in predicted)
    results = [json.loads(path.read_text()) for path in (runs / ".store" / "simulate").glob("*/result.json")]
    graded = {result["temperature"]: result for result in results if "grade" in result.get("series", {})}
    assert len(graded[300]["series"]["grade"]) == len(graded[300]["series"]["time_fs"])
    assert "extrapolation grade" in graded[1200]["verdict"]["reasons"][0]
    assert len(list((runs / ".store" / "finetune").glob("[0-9a-f]*"))) == 1, "the teacher is that of the quickstart"

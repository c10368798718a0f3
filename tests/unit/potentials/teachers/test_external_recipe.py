"""A recipe whose teacher is a calculator: planned, run through the command line, and refused where it cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write

import distill

CALCULATOR = """
from ase.calculators.emt import EMT

def make():
    return EMT()
"""
RECIPE = """
name: copper
data:
  train: train.xyz
  valid: valid.xyz
  test: test.xyz
teacher:
  model: {model}
  {more}
synthetic:
  structures: 6
  temperature: 800
  sigma: [0.05, 0.2]
students:
  painn: {{arch: painn, channels: 8, layers: 1, cutoff: 4.0, steps: 4, validation_interval: 2, batch_size: 2}}
benchmark: {{seconds: 0.1}}
simulate:
  - kind: energy_volume
    structure: {{crystal: {{name: Cu, crystalstructure: fcc, a: 3.6, cubic: true}}}}
"""
OFFSET = 2.5
"""eV per atom by which the data's level of theory differs from the calculator's."""


def labelled(seed: int) -> Atoms:
    """A strained and rattled copper cell with energies, forces and stress of the data."""
    atoms = bulk("Cu", cubic=True)
    rng = np.random.default_rng(seed)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
    truth = atoms.copy()
    truth.calc = EMT()
    atoms.info |= {
        "REF_energy": truth.get_potential_energy() + OFFSET * len(atoms),
        "REF_stress": truth.get_stress(voigt=False),
    }
    atoms.arrays["REF_forces"] = truth.get_forces()
    return atoms


def recipe(folder: Path, model: str, more: str = "") -> Path:
    """Write data, calculator and recipe."""
    for name, seeds in {"train": range(4), "valid": range(10, 12), "test": range(20, 24)}.items():
        write(folder / f"{name}.xyz", [labelled(seed) for seed in seeds])
    (folder / "my_calc.py").write_text(CALCULATOR)
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(model=model, more=more))
    return path


def distill_cli(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "distill.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)


FORMS = {
    "file": ("ase:my_calc.py:make", ""),
    "module": ("ase:ase.calculators.emt:EMT", ""),
    "file elsewhere": ("ase:my_calc.py:make", f"environment: {sys.executable}"),
}


FUNCTIONS = {
    "file": ("make", None),
    "module": ("ase.calculators.emt:EMT", None),
    "file elsewhere": ("make", sys.executable),
}
"""What each form names, and where it runs."""


@pytest.mark.parametrize("form", FORMS)
def test_plans(form: str, tmp_path: Path) -> None:
    plan = distill.plan(recipe(tmp_path, *FORMS[form]))
    assert {"check", "finetune", "generate", "label", "train[painn,distilled,0]", "evaluate", "report"} <= {
        task.id for task in plan
    }
    settings = plan["finetune"].settings
    function, place = FUNCTIONS[form]
    assert (settings.model, settings.function, settings.environment) == ("ase", function, place)
    assert settings.finetune is None, "a calculator only labels"


def test_what_the_calculator_does_is_part_of_the_plan(tmp_path: Path) -> None:
    """Another file is another teacher; the same file under another name is not."""
    path = recipe(tmp_path, *FORMS["file"])

    def hashes() -> dict[str, str]:
        return {task.id: task.hash for task in distill.plan(path)}

    before = hashes()
    (tmp_path / "my_calc.py").rename(tmp_path / "other.py")
    path.write_text(path.read_text().replace("my_calc.py", "other.py"))
    assert hashes() == before
    (tmp_path / "other.py").write_text(f"{CALCULATOR}\n# changed\n")
    assert hashes()["finetune"] != before["finetune"]


@pytest.mark.parametrize(
    ("model", "more", "words"),
    [
        ("ase:my_calc.py:make", "finetune: {steps: 3}", "ase:my_calc.py:make cannot be fine-tuned"),
        ("chgnet-0.3", f"environment: {sys.executable}\n  finetune: {{}}", "in another interpreter it only labels"),
        ("ase:gone.py:make", "", "gone.py"),
        ("ase", "", "ase needs a function"),
        ("sevennet-0", "", "distill doctor says how to make one"),
    ],
)
def test_refusals(model: str, more: str, words: str, tmp_path: Path) -> None:
    done = distill_cli("plan", str(recipe(tmp_path, model, more)), cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr, done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize("form", ["file", "file elsewhere"])
def test_runs_through(form: str, tmp_path: Path) -> None:
    path = recipe(tmp_path, *FORMS[form])
    done = distill_cli("run", str(path), "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "runs" / "copper"
    assert "<h1>Cu: painn from ase" in (run / "report.html").read_text()
    summary = json.loads((run / "summary.json").read_text())
    finetune = next(task for name, task in summary["tasks"].items() if name.startswith("finetune"))
    assert finetune["summary"]["reference_shift_eV"]["Cu"] == pytest.approx(OFFSET, abs=1e-6)
    synthetic = read(run / "synthetic.xyz", ":")
    grown = [atoms for atoms in synthetic if atoms.info.get("generation", 0) > 0]
    assert len(grown) == 6
    for atoms in synthetic:
        truth = atoms.copy()
        truth.calc = EMT()
        energy = truth.get_potential_energy() + OFFSET * len(atoms)
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-6)  # nine digits are written
        np.testing.assert_allclose(atoms.get_forces(), truth.get_forces(), atol=1e-5)
    assert ends(tmp_path), "a worker outlived the run"
    teacher = distill.load_potential(run / "models" / "teacher", trust_code=True)
    truth = EMT().get_potential_energy(bulk("Cu")) + OFFSET
    assert teacher.evaluate([bulk("Cu")]).energy == pytest.approx(truth, abs=1e-6)


def ends(folder: Path, within: float = 120.0) -> bool:
    """Whether no worker is left, within so many seconds, that was started from a folder."""
    end = time.monotonic() + within
    while found := [process for process in Path("/proc").glob("[0-9]*") if is_worker(process, folder)]:
        if time.monotonic() > end:
            return not found
        time.sleep(0.1)
    return True


def is_worker(process: Path, folder: Path) -> bool:
    try:
        return "workers/calculator.py" in (process / "cmdline").read_text() and (process / "cwd").readlink() == folder
    except OSError:
        return False

"""Students in programs that are used from Python: what each says is what ours does, and its script runs as it is."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

import distill
from distill.base.errors import UserError
from distill.base.files import read_json, write_json
from distill.cli import main
from distill.exporting import TARGETS
from distill.exporting.cells import reduced, turned
from distill.exporting.certificate import frame_checks
from distill.exporting.frames import certificate_frames
from distill.exporting.target import Wanted
from distill.potentials.base import Architecture
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import save
from distill.potentials.students.painn import PaiNN
from distill.potentials.students.tensornet import TensorNet

ELEMENTS = (1, 8, 14)
FRAMES = ("triclinic cell", "slab at one end of its cell", "dimer across the boundary")
MODULES = {
    "ase": "ase",
    "metatomic": "metatomic_ase",
    "openmm": "openmm",
    "torchsim": "torch_sim",
    "ipi": "ipi",
    "lammps-external": "lammps",
}


def needs(program: str) -> pytest.MarkDecorator:
    """Skip where a program is not installed, and say how it is."""
    target = TARGETS[program]
    absent = importlib.util.find_spec(MODULES[program]) is None
    return pytest.mark.skipif(absent, reason=f"there is no {target.title}: {target.install}")


def untrained(architecture: type[Architecture]) -> Potential:
    """A small student with reference energies."""
    sizes = {"channels": 6, "layers": 2, "radial_features": 5, "cutoff": 4.0}
    built = architecture.build(architecture.Settings(**sizes), seed=1)
    built.elements = ELEMENTS
    with torch.no_grad():
        built.reference_energies[list(ELEMENTS)] = torch.tensor([-1.5, -3.0, -4.5], dtype=torch.float64)
    return built.double().eval()


def exported(student: Potential, program: str, root: Path, wanted: Wanted) -> Path:
    """What an export holds that the program reads: the model, and its own folder, which is returned."""
    save(student, root, {})
    target = TARGETS[program]()
    target.check(student, wanted)
    target.write(student, root / program, wanted)
    return root / program


@pytest.mark.parametrize(
    ("program", "architecture"),
    [pytest.param(name, TensorNet if name == "metatomic" else PaiNN, marks=needs(name)) for name in MODULES],
)
def test_a_program_says_what_we_say(program: str, architecture: type[Architecture], tmp_path: Path) -> None:
    """By the limits of the certificate: cells that programs turn, missing periodicity, atoms beyond the boundary."""
    student = untrained(architecture)
    folder = exported(student, program, tmp_path, Wanted())
    frames = {name: certificate_frames(ELEMENTS, student.cutoff)[name] for name in FRAMES}
    found = TARGETS[program]().session(folder, "double").evaluate(list(frames.values()))
    checks = frame_checks(student, frames, dict(zip(frames, found, strict=True)), "double")
    assert [name for name, check in checks.items() if not check["passed"]] == []
    compared = {key for check in checks.values() for key in check} - {"passed"}
    assert len(compared) == (2 if program == "openmm" else 3)  # OpenMM has no stress


SHORTER = {"run(1000)": "run(3)", "run 1000": "run 3", "step(1000)": "step(3)", "n_steps=1000": "n_steps=3"}
SHORTER |= {"<total_steps> 200": "<total_steps> 2", '"16"': '"2"', "<batch_size> 16": "<batch_size> 2"}


def shortened(program: str, root: Path) -> Path:
    """The script of a program in an export, with fewer steps."""
    wanted = Wanted("single", bulk("Si", cubic=True), safety="The safety gate was not run.")
    folder = exported(untrained(PaiNN), program, root, wanted)
    script = folder / ("input.xml" if program == "ipi" else "run.py")
    assert script.name in (folder / "README.md").read_text()
    text = script.read_text()
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    assert text != script.read_text()
    script.write_text(text)
    return script


def ran(command: list[str], folder: Path) -> str:
    """What a command prints that ends well."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_scripts_run_as_they_are(tmp_path: Path) -> None:
    """Those of what is installed, one after the other in one process, since loading torch takes longer than each."""
    here = [
        name for name in ("ase", "openmm", "torchsim", "lammps-external") if importlib.util.find_spec(MODULES[name])
    ]
    scripts = [str(shortened(name, tmp_path)) for name in here]
    code = "import runpy, sys\nfor path in sys.argv.copy()[1:]: sys.argv = [path]; runpy.run_path(path)"
    said = ran([sys.executable, "-c", code, *scripts], tmp_path)
    assert "energy " in said
    assert ("LAMMPS" in said) == ("lammps-external" in here)


@needs("ipi")
@pytest.mark.slow
def test_the_input_of_ipi_runs_as_it_is(tmp_path: Path) -> None:
    """Path integrals: all beads are computed together."""
    script = shortened("ipi", tmp_path)
    ran([sys.executable, str(Path(sys.executable).with_name("i-pi")), script.name], script.parent)
    rows = np.loadtxt(script.parent / "run.out")
    assert np.isfinite(rows).all()


def test_an_export_is_certified_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is here is computed anew; what is not stays as it was; weights that were exchanged are refused."""
    root = tmp_path / "export"
    monkeypatch.setattr("distill.exporting.calculator_session.NVE_STEPS", 20)
    exported(untrained(PaiNN), "ase", root, Wanted())
    elsewhere = {"verdict": "passed", "date": "1999"}
    write_json(root / "certificate.json", {"programs": {"ase": {"verdict": "failed"}, "elsewhere": elsewhere}})
    assert main(["certify", str(root)]) == 0
    assert capsys.readouterr().out == "Certificate of ase: passed.\nCertificate of elsewhere: passed.\n"
    certificate = read_json(root / "certificate.json")
    assert certificate["verdict"] == "passed"
    assert certificate["programs"]["elsewhere"] == elsewhere
    assert certificate["programs"]["ase"]["engine"] == "ASE"
    monkeypatch.setattr("distill.exporting.ase.target.Ase.versions", lambda _: {"ase": ""})  # as if it were not here
    before = certificate["programs"]["ase"]
    assert distill.certify(root)["programs"]["ase"] == before
    (root / "weights.safetensors").write_bytes((root / "weights.safetensors").read_bytes()[:-1] + b"\0")
    with pytest.raises(UserError, match="not those that were saved"):
        distill.certify(root)
    with pytest.raises(UserError, match="no export"):
        distill.certify(tmp_path)


def test_what_is_not_here_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill.exporting.openmm.target.OpenMM.versions", lambda _: {"openmm": ""})
    student = untrained(PaiNN)
    folder = exported(student, "openmm", tmp_path, Wanted())
    verdict = TARGETS["openmm"]().certify(student, folder, Wanted())["verdict"]
    assert verdict == 'not run: there is no openmm; run pip install "mlip-distill[openmm]"'
    if sys.version_info < (3, 12):
        certificate = TARGETS["torchsim"]().certify(student, folder, Wanted())
        assert certificate["verdict"] == "not run: torch_sim needs Python 3.12"


def test_students_that_a_program_does_not_take_are_refused() -> None:
    student = untrained(PaiNN)
    with pytest.raises(UserError, match="the student does not know Ge"):
        TARGETS["ase"]().check(student, Wanted(structure=bulk("Ge")))
    student.architecture = "ace"
    with pytest.raises(UserError, match="metatomic takes painn and tensornet students alone"):
        TARGETS["metatomic"]().check(student, Wanted())
    student.elements = None
    with pytest.raises(UserError, match="does not say which elements"):
        TARGETS["ipi"]().check(student, Wanted())


@needs("openmm")
def test_openmm_refuses_what_repeats_in_some_directions_alone() -> None:
    from distill.exporting.openmm.system import system_of

    slab = Atoms("H", positions=[[1, 1, 1]], cell=[5, 5, 20], pbc=[True, True, False])
    with pytest.raises(UserError, match="pbc is T T F"):
        system_of(untrained(PaiNN), slab)


def test_a_turned_and_reduced_cell_is_of_the_same_lattice() -> None:
    """Metric kept by turning, lattice and OpenMM's limits by reducing, of left-handed and very oblique cells too."""
    random = np.random.default_rng(3)
    for _ in range(50):
        cell = random.normal(size=(3, 3)) * random.uniform(1, 10, size=(3, 1))
        lower, turn = turned(cell)
        assert cell @ turn == pytest.approx(lower, abs=1e-9)
        assert np.allclose(np.triu(lower, 1), 0) and turn @ turn.T == pytest.approx(np.eye(3), abs=1e-9)
        small = reduced(lower)
        steps = small @ np.linalg.inv(lower)
        assert steps == pytest.approx(np.round(steps), abs=1e-6)
        assert abs(np.linalg.det(steps)) == pytest.approx(1, abs=1e-6)
        assert 2 * abs(small[1, 0]) <= small[0, 0]
        assert 2 * abs(small[2, 0]) <= small[0, 0] and 2 * abs(small[2, 1]) <= small[1, 1]

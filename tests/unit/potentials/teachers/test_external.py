"""Calculators as potentials: their own numbers, the laws of a potential, and one sentence for everything that fails."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT

from distill import doctor
from distill.base.errors import UserError, WorkError
from distill.potentials import POTENTIALS
from distill.potentials.base import TeacherSource
from distill.potentials.interface import conformance as check
from distill.potentials.interface.saving import load, save
from distill.potentials.teachers.chgnet import CHGNet03
from distill.potentials.workers import calculator as calculator_worker
from distill.potentials.workers import environments
from distill.potentials.workers.calculator_potential import ExternalPotential
from distill.potentials.workers.environments import commands
from distill.potentials.workers.process import CalculatorWorker
from distill.potentials.workers.protocol import WorkerError
from distill.structures.frames import Frames
from distill.training.reference_energies import shift_reference

CODE = """
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from neighbour import ANSWER

def emt():
    return EMT()

def lj():
    return LennardJones(sigma=2.0, epsilon=0.3, rc=6.0, smooth=True)

class Strange(Calculator):
    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        energy = float("nan") if len(atoms) == 2 else 1.0
        if len(atoms) == 3:
            raise RuntimeError("did not converge")
        self.results = {"energy": energy, "forces": 0 * atoms.positions}

strange = Strange
number = 42

def needy(argument):
    return EMT()

def failing():
    raise OSError("no licence server")

def wrong():
    return {"energy": 1.0}

def structure():
    from ase.build import bulk
    return bulk("Cu")
"""
HERE, THERE = None, sys.executable
PLACES = pytest.mark.parametrize("place", [HERE, pytest.param(THERE, marks=pytest.mark.slow)], ids=["here", "there"])
Opener = Callable[..., ExternalPotential]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of functions, which imports another one beside it."""
    (tmp_path / "neighbour.py").write_text("ANSWER = 42\n")
    path = tmp_path / "calculators.py"
    path.write_text(CODE)
    return path


@pytest.fixture
def opened(file: Path) -> Opener:
    """Open a function of that file."""

    def make(function: str, place: str | None = HERE) -> ExternalPotential:
        potential = TeacherSource("ase", file=file, function=function, environment=place).open()
        assert isinstance(potential, ExternalPotential)
        return potential

    return make


def metals() -> Frames:
    """Rattled crystals of different sizes and a molecule."""
    structures = [bulk("Cu", cubic=True).repeat((2, 1, 1)), bulk("Pd"), molecule("CO"), bulk("Au", cubic=True)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=seed)
    return Frames.from_atoms(structures)


@PLACES
def test_numbers_are_those_of_the_calculator(opened: Opener, place: str | None) -> None:
    frames = metals()
    found = opened("emt", place).evaluate(frames, max_atoms=6)
    assert found.energy is not None and found.forces is not None and found.stress is not None
    for k, atoms in enumerate(frames.to_atoms()):
        atoms.calc = EMT()
        # the same arithmetic in double precision, sums in another order
        assert found.energy[k] == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
        np.testing.assert_allclose(found[k].forces, atoms.get_forces(), atol=1e-10)
        if atoms.pbc.all():
            np.testing.assert_allclose(found.stress[k], atoms.get_stress(voigt=False), atol=1e-10)
    assert np.isnan(found.stress[2]).all()


@PLACES
def test_keeps_the_laws_of_a_potential(opened: Opener, place: str | None) -> None:
    """All but the distance of isolated atoms, since a calculator's reach is not known; so stress has ASE's sign."""
    potential = opened("lj", place)
    frames = check.example_frames(None)
    laws = (
        check.check_derivatives,
        check.check_extensivity,
        check.check_symmetry,
        check.check_batching,
        check.check_saving,
    )
    assert [failure for law in laws for failure in law(potential, frames)] == []


def test_a_slab_has_no_stress(opened: Opener) -> None:
    """The calculator would give one for its cell."""
    slab = bulk("Cu", cubic=True)
    slab.pbc = [True, True, False]
    found = opened("lj").evaluate([slab, bulk("Cu", cubic=True)]).stress
    assert found is not None and np.isnan(found[0]).all() and np.isfinite(found[1]).all()


def test_a_module_of_the_python_path_or_of_the_current_folder(
    file: Path, monkeypatch: pytest.MonkeyPatch, opened: Opener
) -> None:
    monkeypatch.chdir(file.parent)
    file.rename(file.with_name("calculators_in_this_folder.py"))
    expected = EMT().get_potential_energy(bulk("Cu"))
    for place in (HERE, THERE):
        for function in ("ase.calculators.emt:EMT", "calculators_in_this_folder:emt"):
            found = TeacherSource("ase", function=function, environment=place).open().evaluate([bulk("Cu")]).energy
            assert found is not None and found[0] == pytest.approx(expected, abs=1e-10)


MISTAKES = {
    "absent": "has no function 'absent'",
    "number": "'number' in .* cannot be called, it is of type int",
    "needy": r"needy\(\) in .* failed \(TypeError: needy\(\) missing 1 required",
    "failing": r"failing\(\) in .* failed \(OSError: no licence server\)",
    "wrong": "returned no ASE calculator, but an object of type dict",
    "structure": "returned no ASE calculator, but an object of type Atoms",
}


@PLACES
@pytest.mark.parametrize("function", MISTAKES)
def test_a_function_that_is_none_of_ours(opened: Opener, function: str, place: str | None) -> None:
    with pytest.raises(UserError, match=MISTAKES[function]) as caught:
        opened(function, place).evaluate([bulk("Cu")])
    assert "teacher ase" in str(caught.value) and caught.value.remedy


@PLACES
@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("no.such.module:make", "there is no module 'no.such.module'"),
        ("emt", "'emt' names no function"),
        ("ase.calculators.emt:nothing", "ase.calculators.emt has no function 'nothing'"),
        ("antigravity_broken:make", r"importing antigravity_broken failed \(ModuleNotFoundError: .*'not_there'"),
    ],
)
def test_a_module_that_is_not_there(
    function: str, words: str, place: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("antigravity_broken.py").write_text("import not_there\n")
    with pytest.raises(UserError, match=words):
        TeacherSource("ase", function=function, environment=place).open().evaluate([bulk("Cu")])


@PLACES
def test_a_file_that_does_not_run(place: str | None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.py: there is no such file"):
        TeacherSource("ase", file=tmp_path / "gone.py", function="make").open()
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(UserError, match=r"broken\.py failed \(ZeroDivisionError: division by zero\)"):
        TeacherSource("ase", file=tmp_path / "broken.py", function="make", environment=place).open().evaluate(
            [bulk("Cu")]
        )


@PLACES
def test_a_failure_names_the_structure(opened: Opener, place: str | None) -> None:
    potential = opened("strange", place)
    water, pair = molecule("H2O"), molecule("N2")
    with pytest.raises(WorkError, match=r"structure H2O \(2 of a batch of 2\): the calculator failed") as caught:
        potential.evaluate([bulk("Cu"), water])
    trace = caught.value.__notes__ if place else [str(caught.value.__cause__.__cause__)]  # type: ignore[union-attr]
    assert "did not converge" in str(caught.value) and "did not converge" in trace[0]
    with pytest.raises(WorkError, match=r"structure N2 .*: the energy that the calculator gave is not finite"):
        potential.evaluate([pair])
    found = potential.evaluate([bulk("Cu")])
    assert found.energy == 1.0 and not potential.predicts_stress
    assert found.stress is not None and np.isnan(found.stress).all()


@PLACES
def test_reference_energies_are_added_and_saved(opened: Opener, place: str | None, tmp_path: Path) -> None:
    potential, frames = opened("emt", place), metals()
    plain = potential.evaluate(frames)
    assert plain.energy is not None
    shift = {"Cu": -3.0, "Pd": 2.0, "C": 1.0, "O": 1.0, "Au": 0.5}
    moved = [sum(shift[s] for s in atoms.get_chemical_symbols()) for atoms in frames.to_atoms()]
    found = shift_reference(potential, plain.with_labels(plain.energy + moved, plain.forces, plain.stress))
    assert found.shift == pytest.approx(shift, abs=1e-9)  # C and O only together: the smallest shifts are equal ones
    shifted = potential.evaluate(frames)
    np.testing.assert_allclose(shifted.energy, plain.energy + moved, atol=1e-9)
    save(potential, tmp_path / "saved", {})
    again = load(tmp_path / "saved", trust_code=True).evaluate(frames)
    assert np.array_equal(again.energy, shifted.energy) and np.array_equal(again.forces, shifted.forces)
    calculator = load(tmp_path / "saved", trust_code=True).calculator()
    atoms = frames[1].to_atoms()[0]
    atoms.calc = calculator
    assert atoms.get_potential_energy() == pytest.approx(float(shifted.energy[1]), abs=1e-9)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), plain.stress[1], atol=1e-9)
    lone = molecule("CO")
    lone.calc = calculator
    assert lone.get_forces().shape == (2, 3)
    with pytest.raises(PropertyNotImplementedError):
        lone.get_stress()


def test_what_was_saved_needs_the_same_file(opened: Opener, file: Path, tmp_path: Path) -> None:
    save(opened("emt"), tmp_path / "saved", {})
    file.write_text(CODE + "\n# changed\n")
    with pytest.raises(UserError, match=r"calculators\.py has changed since the teacher was made"):
        load(tmp_path / "saved", trust_code=True).evaluate([bulk("Cu")])
    file.unlink()
    with pytest.raises(UserError, match=r"calculators\.py is no longer there"):
        load(tmp_path / "saved", trust_code=True).evaluate([bulk("Cu")])


def test_says_what_it_is_made_of(opened: Opener) -> None:
    potential = opened("emt", THERE)
    potential.evaluate([bulk("Cu")])
    assert f"ase {version('ase')}" in potential.origin["versions"]
    assert math.isinf(potential.cutoff) and potential.dtype == torch.float32
    assert potential.architecture == "ase" and potential.elements is None


def test_there_are_no_gradients(opened: Opener) -> None:
    potential, frames = opened("emt"), metals()
    for refused in (potential.prepare, potential.batch, potential):
        with pytest.raises(UserError, match=r"no gradients: it labels and generates.* teacher\.finetune"):
            refused(frames)


def test_evaluation_mode_and_device_are_harmless(opened: Opener) -> None:
    plain = opened("emt").evaluate([bulk("Cu")])
    potential = opened("emt").eval().to("cpu").double()
    found = potential.evaluate([bulk("Cu")])
    assert found.energy == plain.energy and np.array_equal(found.forces, plain.forces)
    assert found.energy == pytest.approx(EMT().get_potential_energy(bulk("Cu")), abs=1e-10)


def test_elements_are_those_of_the_model() -> None:
    potential = POTENTIALS["sevennet-0"].create(POTENTIALS["sevennet-0"].Settings())
    with pytest.raises(UserError, match="element Po"):
        potential.check(Frames.from_atoms([bulk("Po", "sc", a=3.3)]))


# ---- environments ---------------------------------------------------------------------------------------------------


def test_models_that_have_no_way_into_another_interpreter_are_refused() -> None:
    with pytest.raises(UserError, match=r"mattersim-v1\.0\.0-1m cannot run in .* ase, chgnet, mace, sevennet, uma"):
        TeacherSource("mattersim-v1.0.0-1m", environment=sys.executable).open()


def test_models_that_need_another_interpreter_say_so() -> None:
    with pytest.raises(UserError, match=r"environment of its own\. .*distill doctor"):
        TeacherSource("sevennet-0").open()


@pytest.mark.parametrize("kind", ["nothing", "text", "empty folder"])
def test_a_missing_interpreter_is_the_commands_that_make_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "environment"
    if kind == "text":
        path.write_text("no program")
    elif kind == "empty folder":
        path.mkdir()
    with pytest.raises(UserError) as caught:
        TeacherSource("sevennet-0", environment=str(path)).open()
    assert caught.value.where == "teacher.environment"
    assert all(command in str(caught.value) for command in commands(POTENTIALS["sevennet-0"]))


def test_a_missing_package_is_the_command_that_installs_it() -> None:
    if find_spec("sevenn") is not None:
        pytest.skip("sevenn is installed here")
    with pytest.raises(UserError) as caught:
        TeacherSource("sevennet-0", environment=sys.executable).open().evaluate([bulk("Cu")])
    assert "'sevenn' is not installed there" in str(caught.value)
    assert f"{sys.executable} -m pip install" in str(caught.value) and " sevenn==0.13.0 " in str(caught.value)


def test_the_folder_of_an_environment_stands_for_its_interpreter(file: Path) -> None:
    potential = TeacherSource("ase", file=file, function="emt", environment=sys.prefix).open()
    assert isinstance(potential, ExternalPotential)
    found = potential.evaluate([bulk("Cu")])
    assert found.energy == pytest.approx(EMT().get_potential_energy(bulk("Cu")), abs=1e-10)
    worker = potential.engine()
    assert isinstance(worker, CalculatorWorker) and worker.pid not in (None, os.getpid()), "another process"


@pytest.mark.parametrize(
    ("torch_here", "expected"),
    [
        (
            "2.13.0+cpu",
            "--extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0+cpu sevenn==0.13.0 ase msgpack",
        ),
        ("2.13.0", "torch==2.13.0 sevenn==0.13.0 ase msgpack"),
        ("2.13.0+cu126", "torch==2.13.0 sevenn==0.13.0 ase msgpack"),
    ],
)
def test_an_environment_gets_the_build_of_torch_that_is_here(
    monkeypatch: pytest.MonkeyPatch, torch_here: str, expected: str
) -> None:
    monkeypatch.setattr(environments, "_torch", lambda: torch_here)
    made, installed = commands(POTENTIALS["sevennet-0"])
    assert made == "python3 -m venv ~/.distill/envs/sevennet"
    assert installed == f"~/.distill/envs/sevennet/bin/python -m pip install {expected}"
    assert "torch==" not in commands(POTENTIALS["uma-s-1p1"])[1], "fairchem chooses its own"


def test_the_doctor_says_how_to_make_environments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    texts = [text for _, text in doctor.diagnose()]
    for model in ("sevennet-0", "uma-s-1p1"):
        assert set(commands(POTENTIALS[model])) <= set(texts)
    assert any("hf auth login" in text for text in texts)
    python = tmp_path / ".distill" / "envs" / "sevennet" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    for package in ("sevenn-0.13.0", "ase-3.29.0", "msgpack-1.2.4"):
        (python.parents[1] / "lib" / "python3.11" / "site-packages" / f"{package}.dist-info").mkdir(parents=True)
    rows = dict(doctor.diagnose())
    assert rows["environment sevennet"].startswith("made: teacher: {model: sevennet-0, environment: ~/.distill/")


@pytest.mark.slow
def test_chgnet_in_another_interpreter_is_ours() -> None:
    """Its package against our network: single precision, on energies of some -5 eV an atom."""
    crystal = bulk("Si", cubic=True)
    crystal.rattle(0.1, seed=0)
    ours = CHGNet03.build(CHGNet03.Settings(), 0).evaluate([crystal])
    theirs = TeacherSource("chgnet-0.3", environment=sys.executable).open().evaluate([crystal])
    np.testing.assert_allclose(theirs.energy, ours.energy, atol=1e-4)
    np.testing.assert_allclose(theirs.forces, ours.forces, atol=1e-4)
    np.testing.assert_allclose(theirs.stress, ours.stress, atol=1e-5)


@pytest.mark.slow
def test_mace_in_another_interpreter_is_ours(tmp_path: Path) -> None:
    """A random model in double precision, by its package there and by our adapter here."""
    file = pytest.importorskip("test_mace").random_model(tmp_path / "tiny.model")
    crystal = bulk("Si", cubic=True)
    crystal.rattle(0.1, seed=0)
    ours = TeacherSource("mace", file=file).open().evaluate([crystal])
    theirs = TeacherSource("mace", file=file, environment=sys.executable).open().evaluate([crystal])
    np.testing.assert_allclose(theirs.energy, ours.energy, atol=1e-5)
    np.testing.assert_allclose(theirs.forces, ours.forces, atol=1e-5)
    np.testing.assert_allclose(theirs.stress, ours.stress, atol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_the_other_torch_cannot_use_is_said() -> None:
    with pytest.raises(WorkerError, match=r"its torch cannot use the device cuda:0") as caught:
        calculator_worker.on_device("cuda:0")
    assert caught.value.kind == "input" and "--device cpu" in caught.value.remedy

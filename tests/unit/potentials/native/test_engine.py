"""Students in C++: the same numbers as torch gives, whatever the cell, the elements and the number of threads."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet

from distill.base.errors import UserError
from distill.dynamics.course import Dynamics
from distill.dynamics.engines import begun_with, calculator_for
from distill.dynamics.trajectory_files import TrajectoryFolder
from distill.potentials import POTENTIALS
from distill.potentials.interface.calculator import PotentialCalculator
from distill.potentials.interface.potential import Potential
from distill.potentials.native import calculator as native
from distill.potentials.native import engine
from distill.potentials.native.calculator import NativeCalculator
from distill.simulation import md

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no compiler")

ELEMENTS = (1, 8, 14)
SIZES = {"painn": {"channels": 12, "layers": 3, "radial_features": 6}, "tensornet": {"channels": 32, "layers": 2}}
"""Channels that fill no whole vector, and those that the C++ knows when it is compiled."""


@pytest.fixture(scope="module", autouse=True)
def compiled_once(kept: Path) -> None:
    """The engine is compiled once, and kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISTILL_CACHE", str(kept))
        engine.library()


def untrained(arch: str, precision: str = "float64") -> Potential:
    """A student with numbers of every kind that a trained one has."""
    student: Potential = POTENTIALS[arch].build(POTENTIALS[arch].Settings(cutoff=4.0, **SIZES[arch]), seed=1)
    student.elements = ELEMENTS
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        student.reference_energies[list(ELEMENTS)] = torch.tensor([-1.5, -3.0, -4.5], dtype=torch.float64)
        for parameter in student.parameters():
            if parameter.ndim == 1 and len(parameter) < 100:
                parameter += 0.1 * torch.randn(parameter.shape, generator=random)
    return student.in_precision(precision).eval()  # type: ignore[arg-type]


def structures() -> dict[str, Atoms]:
    """Cells smaller than the cutoff, in which atoms see images of themselves; open directions; nobody to see."""
    random = np.random.default_rng(3)
    small = bulk("Si")
    small.rattle(0.05, seed=1)
    triclinic = bulk("Si", cubic=True)
    triclinic.set_cell(triclinic.cell.array @ [[1.03, 0.2, 0.1], [0, 0.95, 0.15], [0, 0, 1.04]], scale_atoms=True)
    triclinic.numbers[:] = random.permutation(np.resize(ELEMENTS, len(triclinic)))
    triclinic.rattle(0.1, seed=2)
    close = triclinic.copy()
    close.positions[1] += 0.6 * (close.positions[0] - close.positions[1])
    slab = bulk("Si", cubic=True) * (1, 1, 2)
    slab.center(vacuum=3, axis=2)
    slab.pbc = (True, True, False)
    slab.rattle(0.1, seed=3)
    far = slab.copy()
    far.positions += [200.0, -300.0, 0.0]
    pair = Atoms("OH", [[0, 0, 0], [0, 0, 30]])
    return {"small": small, "triclinic": triclinic, "close": close, "slab": slab, "far": far, "lonely": pair}


@pytest.mark.parametrize("arch", list(SIZES))
def test_it_says_what_torch_says(arch: str) -> None:
    """In double precision there are rounding and the splines in between; the energies of pairs are 30 eV at most."""
    student = untrained(arch)
    ours, theirs = NativeCalculator(student), PotentialCalculator(student)
    for name, atoms in structures().items():
        ours.calculate(atoms)
        theirs.calculate(atoms)
        assert set(ours.results) == set(theirs.results), name
        assert ours.results["energies"] == pytest.approx(theirs.results["energies"], abs=1e-9), name
        assert ours.results["energy"] == pytest.approx(theirs.results["energy"], abs=1e-9 * len(atoms)), name
        assert ours.results["forces"] == pytest.approx(theirs.results["forces"], abs=1e-7), name
        if atoms.pbc.all():
            assert ours.results["stress"] == pytest.approx(theirs.results["stress"], abs=1e-9), name
    with pytest.raises(UserError, match="does not know the element C"):
        ours.calculate(bulk("C"))


@pytest.mark.parametrize("arch", list(SIZES))
def test_single_precision_is_that_of_torch(arch: str) -> None:
    """Rounding is 6e-8 of energies of atoms, of a few eV, and of forces, of tens of eV/Å."""
    student = untrained(arch, "float32")
    atoms = structures()["triclinic"]
    ours, theirs = NativeCalculator(student), PotentialCalculator(student)
    ours.calculate(atoms)
    theirs.calculate(atoms)
    assert ours.results["energy"] == pytest.approx(theirs.results["energy"], abs=1e-5)
    assert ours.results["forces"] == pytest.approx(theirs.results["forces"], abs=1e-5)


@pytest.mark.parametrize("arch", list(SIZES))
def test_threads_change_no_bit_and_the_order_of_atoms_nothing(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "ATOMS_OF_THREAD", 1)
    student = untrained(arch, "float32")
    atoms = structures()["triclinic"] * (2, 2, 1)
    results = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
        calculator = NativeCalculator(student)
        calculator.calculate(atoms)
        results.append(calculator.results)
    for other in results[1:]:
        assert all(np.array_equal(results[0][name], other[name]) for name in results[0])
    order = np.random.default_rng(0).permutation(len(atoms))
    calculator.calculate(atoms[order])
    assert calculator.results["forces"] == pytest.approx(results[0]["forces"][order], abs=1e-4)


def test_a_list_that_is_kept_changes_nothing_but_the_last_bits() -> None:
    """Along a trajectory the list is made a few times, and every force is that of a list made for it alone."""
    student = untrained("painn")
    atoms = structures()["triclinic"] * (2, 1, 1)
    atoms.calc = calculator = student.calculator(compiled=True)
    assert isinstance(calculator, NativeCalculator)
    velocities = np.random.default_rng(0).normal(size=(len(atoms), 3)) * np.sqrt(0.05 / atoms.get_masses())[:, None]
    atoms.set_velocities(velocities)
    steps = VelocityVerlet(atoms, 0.5 * units.fs)
    for _ in range(30):
        steps.run(1)
        assert atoms.get_forces() == pytest.approx(NativeCalculator(student, skin=0.0).get_forces(atoms), abs=1e-10)
    assert 1 < calculator.lists_built < 30
    copied = copy.deepcopy(calculator)  # has an engine of its own
    atoms.calc = None
    del calculator
    assert np.isfinite(copied.get_forces(atoms)).all()


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing can be compiled."""
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(native, "library", lambda: engine.find_compiler("no-such-compiler"))
    native._why_not.cache_clear()
    yield
    native._why_not.cache_clear()


def test_without_a_compiler_torch_computes(no_compiler: None) -> None:
    with pytest.warns(UserWarning, match=r"not computed in C\+\+: there is no compiler no-such-compiler"):
        found = calculator_for(untrained("painn"))
    assert type(found) is PotentialCalculator


def test_what_the_student_does_not_say_torch_computes() -> None:
    nameless = untrained("painn")
    nameless.elements = None
    assert nameless.native_calculator() is None
    assert type(calculator_for(nameless)) is PotentialCalculator


def run(out: Path, steps: int) -> Dynamics:
    atoms = structures()["triclinic"]
    how = {"timestep_fs": 0.5, "save_every_fs": 2.5, "checkpoint_ps": 0.005}
    return md(untrained("painn"), atoms, ps=0.0005 * steps, temperature=50, out=out, **how)  # type: ignore[arg-type]


def test_a_run_that_is_continued_is_the_run_in_one_go(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """To the last bit, and with what began it: a run from when there was no C++ goes on without."""
    whole, parts = run(tmp_path / "whole", 30), [run(tmp_path / "parts", steps) for steps in (10, 20, 30)]
    said = whole.trajectory.said()
    assert said is not None and said["computed_by"] == "C++"
    for name in ("positions", "energy"):
        assert np.array_equal(whole.trajectory.column(name), parts[-1].trajectory.column(name))
    former = TrajectoryFolder(tmp_path / "former")
    former.say({name: value for name, value in said.items() if name != "computed_by"} | {"steps": 0})
    run(tmp_path / "former", 10)
    assert begun_with([former.path]) == "Python"
    request.getfixturevalue("no_compiler")
    with pytest.warns(UserWarning), pytest.raises(UserError, match=r"begun with forces from C\+\+"):
        run(tmp_path / "whole", 40)

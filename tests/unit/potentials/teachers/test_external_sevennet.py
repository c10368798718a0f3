"""SevenNet in the environment that ``distill doctor`` says how to make, against SevenNet's own calculator there.

The environment is made by these two commands and kept beside the compiled networks of the tests as long as they are
the same; ``DISTILL_TEST_SEVENN`` names the interpreter of another one. What conflicts with ours and what the commands
name is installed there; torch, a gigabyte, and all else that serves both is lent by the environment of the tests.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from distill.potentials import POTENTIALS
from distill.potentials.base import TeacherSource
from distill.potentials.interface.saving import load, save
from distill.potentials.workers.calculator_potential import ExternalPotential
from distill.potentials.workers.environments import commands
from distill.potentials.workers.process import CalculatorWorker
from distill.structures.frames import Frames

pytestmark = pytest.mark.slow

DIRECTLY = """
import sys
import numpy as np
from ase import Atoms
from sevenn.calculator import SevenNetCalculator

calculator = SevenNetCalculator("7net-0", device="cpu")
data = np.load(sys.argv[1])
energy, forces, stress, begin = [], [], [], 0
for k, count in enumerate(data["n_atoms"]):
    some = slice(begin, begin + count)
    atoms = Atoms(data["numbers"][some], data["positions"][some], cell=data["cells"][k], pbc=data["pbc"][k])
    atoms.calc = calculator
    energy.append(atoms.get_potential_energy())
    forces.append(atoms.get_forces())
    stress.append(atoms.get_stress(voigt=False))
    begin += count
np.savez(sys.argv[2], energy=energy, forces=np.concatenate(forces), stress=stress)
"""

SITE = Path(sysconfig.get_path("purelib"))
OWN = {"sevenn", "e3nn", "ase", "msgpack", "pip", "distill"}
"""Packages that are not lent: the environment has its own, or is not to see ours."""


def lend(home: Path) -> None:
    """Let the environment find what is installed here beside its own packages, which come first.

    The links lie outside of it, so that pip replaces there what does not suit but removes nothing of ours.
    """
    (packages,) = (home / ".distill" / "envs" / "sevennet" / "lib").glob("python*/site-packages")
    lent = home / "lent"
    lent.mkdir()
    for path in SITE.iterdir():
        if path.name.partition("-")[0] not in OWN and path.suffix != ".pth":
            (lent / path.name).symlink_to(path)
    (packages / "lent.pth").write_text(f"{lent}\n")


def run(command: str, home: Path) -> None:
    """Run a command as a user types it whose home is another, or skip the tests where no package can be had."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # an index that cannot be reached is passed over at once; where none can, there is nothing to test
    environment = os.environ | {"HOME": str(home), "PATH": path, "PIP_RETRIES": "0"}
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, timeout=1500)  # noqa: S602
    if done.returncode and "No matching distribution found" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, f"{command}\n{done.stderr[-3000:]}"


@pytest.fixture(scope="session")
def interpreter(kept: Path) -> str:
    """The interpreter of an environment made as the doctor says, in a home of its own."""
    if given := os.environ.get("DISTILL_TEST_SEVENN"):
        return given
    make, install = commands(POTENTIALS["sevennet-0"])
    home = kept / f"sevennet-{hashlib.sha256(repr((make, install, SITE)).encode()).hexdigest()[:8]}"
    complete = home / "complete"
    if not complete.exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        run(make, home)
        lend(home)
        run(install, home)
        complete.touch()
    return str(home / ".distill" / "envs" / "sevennet" / "bin" / "python")


def structures() -> Frames:
    """A water molecule, boxes of water and cells of silicon, rattled, of different sizes."""
    box = Atoms(cell=[6.4, 6.4, 6.4], pbc=True)
    for k, corner in enumerate(np.ndindex(2, 2, 2)):
        water = molecule("H2O")
        water.rotate(47 * k, (1, k, 2))
        water.positions += 3.2 * np.array(corner) - water.get_center_of_mass()
        box += water
    silicon = bulk("Si", cubic=True)
    every = [molecule("H2O"), silicon, box, silicon.repeat((2, 1, 1)), bulk("Si", a=5.3), box.copy()]
    for seed, atoms in enumerate(every):
        atoms.rattle(0.05, seed=seed)
    return Frames.from_atoms(every)


@pytest.fixture(scope="module")
def expected(interpreter: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What SevenNet's own calculator says of them, in its own interpreter."""
    folder, frames = tmp_path_factory.mktemp("direct"), structures()
    names = ("n_atoms", "numbers", "positions", "cells", "pbc")
    np.savez(folder / "structures.npz", **{name: getattr(frames, name) for name in names})
    (folder / "directly.py").write_text(DIRECTLY)
    command = [interpreter, "directly.py", "structures.npz", "answers.npz"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "answers.npz") as answers:
        return dict(answers)


def agrees(found: Frames, expected: dict[str, np.ndarray]) -> None:
    """Single precision: 1e-4 eV is a ten-millionth of what the sums behind an energy are made of."""
    np.testing.assert_allclose(found.energy, expected["energy"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.forces, expected["forces"], rtol=0, atol=1e-4)
    whole = found.pbc.all(-1)
    assert found.stress is not None and whole.sum() == 5
    np.testing.assert_allclose(found.stress[whole], expected["stress"][whole], rtol=0, atol=1e-6)
    assert np.isnan(found.stress[~whole]).all()


def test_agrees_with_its_own_calculator(interpreter: str, expected: dict[str, np.ndarray], tmp_path: Path) -> None:
    """In batches, after its process was killed, and after saving and loading."""
    teacher = TeacherSource("sevennet-0", environment=interpreter).open()
    assert isinstance(teacher, ExternalPotential) and teacher.architecture == "sevennet-0"
    frames = structures()
    agrees(teacher.evaluate(frames, max_atoms=30), expected)
    worker = teacher.engine()
    assert isinstance(worker, CalculatorWorker) and worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    agrees(teacher.evaluate(frames), expected)
    assert worker.restarts == 1
    assert "sevenn " in teacher.origin["versions"]
    save(teacher, tmp_path / "teacher", {})
    environment = getattr(teacher.settings, "environment", None)
    del teacher, worker
    loaded = load(tmp_path / "teacher", environment=environment)
    assert loaded.architecture == "sevennet-0" and loaded.elements == POTENTIALS["sevennet-0"].elements
    agrees(loaded.evaluate(frames), expected)


@pytest.mark.parametrize("model", ["sevennet-l3i5", "sevennet-mf-0-pbe", "sevennet-mf-0-r2scan"])
def test_its_siblings_open(interpreter: str, model: str) -> None:
    """The two levels of theory of the multi-fidelity network differ by electronvolts, PBE networks by little."""
    silicon = bulk("Si")
    energy = TeacherSource(model, environment=interpreter).open().evaluate([silicon]).energy_per_atom[0]
    # PBE silicon of the Materials Project: -5.42 eV an atom; r2SCAN has deeper cores
    assert (abs(energy + 5.42) < 0.05) == (model != "sevennet-mf-0-r2scan")
    assert -12 < energy < -5

"""SevenNet in the environment that ``distill doctor --make sevennet`` makes, against SevenNet's own calculator there.

Skipped where there is none; ``DISTILL_TEST_SEVENN`` names the interpreter of another one.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from distill.potentials import POTENTIALS
from distill.potentials.base import TeacherSource
from distill.potentials.interface.conformance import (
    check_batching,
    check_derivatives,
    check_extensivity,
    check_isolated,
    check_symmetry,
    example_frames,
)
from distill.potentials.interface.saving import load, save
from distill.potentials.workers.environments import environment_folder, is_whole
from distill.potentials.workers.remote_potential import RemotePotential
from distill.structures.frames import Frames
from distill.training.gradient.fit import fit

pytestmark = pytest.mark.slow

DIRECTLY = """
import sys
import numpy as np
from ase import Atoms
from sevenn.calculator import SevenNetCalculator

data = np.load("structures.npz")
for k, named in enumerate(sys.argv[1:]):
    model, _, level = named.partition(":")
    calculator = SevenNetCalculator(model, device="cpu", modal=level or None)
    energy, forces, stress, begin = [], [], [], 0
    for j, count in enumerate(data["n_atoms"]):
        some = slice(begin, begin + count)
        atoms = Atoms(data["numbers"][some], data["positions"][some], cell=data["cells"][j], pbc=data["pbc"][j])
        atoms.calc = calculator
        energy.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
        stress.append(atoms.get_stress(voigt=False))
        begin += count
    np.savez(f"{k}.npz", energy=energy, forces=np.concatenate(forces), stress=stress)
"""

MODELS = {
    "sevennet-0": "7net-0",
    "sevennet-l3i5": "7net-l3i5",
    "sevennet-mf-0-r2scan": "7net-mf-0:R2SCAN",
}
"""Our names, and those of the package, with the level of theory after a colon."""


@pytest.fixture(scope="session")
def interpreter() -> str:
    """The interpreter of the environment."""
    folder = environment_folder(POTENTIALS["sevennet-0"]).expanduser()
    if given := os.environ.get("DISTILL_TEST_SEVENN"):
        return given
    if not is_whole(folder, POTENTIALS["sevennet-0"]):
        pytest.skip("there is no environment of SevenNet: distill doctor --make sevennet")
    return str(folder / "bin" / "python")


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


def directly(interpreter: str, folder: Path, frames: Frames, models: list[str]) -> list[dict[str, np.ndarray]]:
    """What SevenNet's own calculators say of structures, in their own interpreter."""
    names = ("n_atoms", "numbers", "positions", "cells", "pbc")
    np.savez(folder / "structures.npz", **{name: getattr(frames, name) for name in names})
    (folder / "directly.py").write_text(DIRECTLY)
    command = [interpreter, "directly.py", *models]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    answers = []
    for k in range(len(models)):
        with np.load(folder / f"{k}.npz") as answer:
            answers.append(dict(answer))
    return answers


@pytest.fixture(scope="module")
def expected(interpreter: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, np.ndarray]]:
    """What they say of all published networks."""
    folder = tmp_path_factory.mktemp("direct")
    return dict(zip(MODELS, directly(interpreter, folder, structures(), list(MODELS.values())), strict=True))


def agrees(found: Frames, expected: dict[str, np.ndarray]) -> None:
    """Single precision: 1e-4 eV is a ten-millionth of what the sums behind an energy are made of."""
    np.testing.assert_allclose(found.energy, expected["energy"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.forces, expected["forces"], rtol=0, atol=1e-5)
    whole = found.pbc.all(-1)
    assert found.stress is not None and whole.sum() == 5
    np.testing.assert_allclose(found.stress[whole], expected["stress"][whole], rtol=0, atol=1e-6)
    assert np.isnan(found.stress[~whole]).all()


def opened(model: str, interpreter: str) -> RemotePotential:
    teacher = TeacherSource(model, environment=interpreter).open()
    assert isinstance(teacher, RemotePotential) and teacher.architecture == model
    return teacher


@pytest.mark.parametrize("model", MODELS)
def test_agrees_with_its_own_calculator(
    interpreter: str, expected: dict[str, dict[str, np.ndarray]], model: str
) -> None:
    """In batches, and after its process was killed."""
    teacher = opened(model, interpreter)
    frames, worker = structures(), teacher.worker()
    agrees(teacher.evaluate(frames, max_atoms=30), expected[model])
    assert teacher.elements == POTENTIALS[model].elements and "sevenn " in teacher.origin["versions"]
    assert sum(p.numel() for p in teacher.network.parameters()) == POTENTIALS[model].parameters
    if model == "sevennet-0":
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        agrees(teacher.evaluate(frames), expected[model])
        assert worker.restarts == 1


def test_fine_tuned_it_is_its_package_s_too(interpreter: str, tmp_path: Path) -> None:
    """Fitted for two steps, the file that its own calculator opens and the saved potential say the same."""
    teacher, frames = opened("sevennet-mf-0-pbe", interpreter), structures()
    energy, forces = np.full(len(frames), -10.0), np.zeros(frames.positions.shape)
    data = frames.with_labels(energy, forces, None)
    fitted = fit(
        teacher, data, data, steps=2, batch_size=6, learning_rate=1e-3, validation_interval=1, work=tmp_path / "work"
    )
    losses = [point.valid_loss for point in fitted.curve]
    assert losses[-1] < losses[0]
    with torch.no_grad():
        teacher.reference_energies[[1, 8, 14]] += torch.tensor([0.5, -1.0, 2.0])
    found = teacher.evaluate(frames)
    save(teacher, tmp_path / "teacher", {})
    environment = getattr(teacher.settings, "environment", None)
    del teacher
    (answer,) = directly(interpreter, tmp_path, frames, ["teacher/sevennet.pth:PBE"])
    agrees(found, answer)
    loaded = load(tmp_path / "teacher", environment=environment)
    assert np.array_equal(loaded.evaluate(frames).forces, found.forces)


def test_its_derivatives_are_exact(interpreter: str) -> None:
    """Forces and stress against finite differences in double precision, and the other laws of a potential."""
    teacher, frames = opened("sevennet-0", interpreter), example_frames((8, 14))
    laws = (check_derivatives, check_extensivity, check_symmetry, check_batching, check_isolated)
    assert [failure for law in laws for failure in law(teacher, frames)] == []

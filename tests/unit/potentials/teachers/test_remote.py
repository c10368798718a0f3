"""A network in another interpreter is the network here: its numbers, its gradients, its fits, also after a kill.

The other interpreter is this one, and the network a small random MACE, which has an implementation here to be compared.
"""

from __future__ import annotations

import copy
import os
import pickle
import signal
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from distill.base.consent import Consent
from distill.base.errors import UserError
from distill.potentials import POTENTIALS
from distill.potentials.base import TeacherSource
from distill.potentials.interface.conformance import check_potential
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import load, open_saved, save
from distill.potentials.workers import networks
from distill.potentials.workers.protocol import WorkerError
from distill.potentials.workers.remote_potential import RemotePotential
from distill.stages.base import Job
from distill.stages.finetune import Finetune
from distill.stages.teacher import FinetuneSettings
from distill.stages.tuning import TUNED
from distill.structures.frames import Frames
from distill.structures.write import write_frames
from distill.training.gradient.adapt import freeze, parts
from distill.training.gradient.fit import fit

if find_spec("mace") is None:
    pytest.skip("mace-torch is not installed", allow_module_level=True)

SAME = {"rtol": 1e-9, "atol": 1e-11}
"""Double precision; the two networks add up the same numbers in another order."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random MACE in double precision, as its package saves it."""
    path: Path = pytest.importorskip("test_mace").random_model(tmp_path_factory.mktemp("mace") / "tiny.model")
    return path


@pytest.fixture(scope="module")
def opened(file: Path) -> Iterator[tuple[Potential, RemotePotential]]:
    """The network in this process, and the same one in another."""
    theirs = TeacherSource("mace", file=file, environment=sys.executable).open()
    assert isinstance(theirs, RemotePotential)
    yield TeacherSource("mace", file=file).open(), theirs
    theirs.worker().close()


@pytest.fixture
def here(opened: tuple[Potential, RemotePotential]) -> Potential:
    """A copy of the network in this process."""
    return copy.deepcopy(opened[0])


@pytest.fixture
def there(opened: tuple[Potential, RemotePotential]) -> RemotePotential:
    """A copy of the one in another process, which copies share."""
    return copy.deepcopy(opened[1])


def labelled(count: int, first_seed: int = 0) -> Frames:
    """Rattled cells of SiO2 and molecules with random labels."""
    structures = []
    for seed in range(first_seed, first_seed + count):
        atoms = bulk("NaCl", "rocksalt", a=4.4, cubic=True) if seed % 3 else Atoms("OH2", np.eye(3))
        atoms.symbols[:] = "Si" if seed % 3 else "O"
        atoms.symbols[::2] = "O" if seed % 3 else "H"
        atoms.rattle(0.1, seed=seed)
        structures.append(atoms)
    frames, rng = Frames.from_atoms(structures), np.random.default_rng(first_seed)
    stress = rng.normal(0, 0.01, (count, 3, 3))
    stress = np.where(frames.pbc.all(-1)[:, None, None], stress + stress.swapaxes(1, 2), np.nan)
    energy = np.array([{14: -7890.0, 8: -2045.0, 1: -14.0}[int(z)] for z in frames.numbers])
    sums = np.add.reduceat(energy, frames.offsets[:-1])
    return frames.with_labels(sums + rng.normal(size=count), rng.normal(size=frames.positions.shape), stress)


def loss(potential: Potential, frames: Frames) -> torch.Tensor:
    """A loss of all that a potential says, energies of atoms among it."""
    batch = potential.prepare(frames).collate()
    prediction, atomic = potential.train().with_atomic_energies(batch)
    assert prediction.stress is not None
    energies = (prediction.energy - torch.tensor(frames.energy)).square().sum()
    return energies + prediction.forces.square().sum() + prediction.stress.nan_to_num().square().sum() + atomic[0]


def gradients(potential: Potential) -> dict[str, torch.Tensor]:
    """The gradients that a backward pass left."""
    return {name: p.grad.clone() for name, p in potential.named_parameters() if p.grad is not None}


def test_numbers_and_gradients_are_those_of_the_network_here(here: Potential, there: RemotePotential) -> None:
    frames = labelled(4)
    ours, theirs = here.evaluate(frames), there.evaluate(frames)
    assert here.cutoff == there.cutoff and here.elements == there.elements and here.n_parameters == there.n_parameters
    for name in ("energy", "forces", "stress"):
        np.testing.assert_allclose(getattr(theirs, name), getattr(ours, name), **SAME)
    for potential in (here, there):
        loss(potential, frames).backward()
    ours, theirs = gradients(here), gradients(there)
    assert ours.keys() == theirs.keys() and len(ours) == len(list(here.network.parameters()))  # type: ignore[union-attr,arg-type]
    for name, gradient in ours.items():
        torch.testing.assert_close(theirs[name], gradient, rtol=1e-7, atol=1e-9 * float(gradient.abs().max()))


def settings(folder: Path) -> dict[str, Any]:
    return {"steps": 6, "batch_size": 2, "learning_rate": 5e-3, "validation_interval": 3, "work": folder}


def test_a_fit_is_the_fit_here(here: Potential, there: RemotePotential, tmp_path: Path) -> None:
    """To rounding, with averaged weights, clipped gradients, and a part that stays as it is."""
    assert parts(there) == parts(here)
    before = {name: p.detach().clone() for name, p in there.named_parameters()}
    for potential in (here, there):
        freeze(potential, ["products.0"])
        fit(potential, labelled(4), labelled(2, 50), **settings(tmp_path / type(potential).__name__))
    for name, parameter in here.named_parameters():
        torch.testing.assert_close(there.get_parameter(name), parameter, rtol=1e-6, atol=1e-8)
        assert torch.equal(there.get_parameter(name), before[name]) == ("products.0" in name or "reference" in name)


@pytest.mark.slow
def test_a_worker_that_is_killed_changes_no_bit(there: RemotePotential, capfd: pytest.CaptureFixture[str]) -> None:
    """Between the forward and the backward pass, so that weights are told again and the first is made again."""
    frames = labelled(3)
    with torch.no_grad():
        next(there.network.parameters()).mul_(1.1)
    loss(there, frames).backward()
    whole = gradients(there)
    there.zero_grad()
    half = loss(there, frames)
    pid = there.worker().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    half.backward()
    assert all(torch.equal(gradient, whole[name]) for name, gradient in gradients(there).items())
    assert there.worker().restarts == 1 and "was killed by SIGKILL" in capfd.readouterr().err


@pytest.mark.slow
def test_weights_travel_whenever_they_have_changed(here: Potential, there: RemotePotential) -> None:
    """By steps, by loading, and in ways that PyTorch does not count."""
    frames = labelled(2)
    for change in (lambda p: p.add_(0.1), lambda p: p.data.mul_(0.9), lambda p: p.data.copy_(p.data.flip(0))):
        for potential in (here, there):
            with torch.no_grad():
                change(next(p for p in potential.network.parameters() if p.dim() == 2))  # type: ignore[union-attr,operator]
        np.testing.assert_allclose(there.evaluate(frames).forces, here.evaluate(frames).forces, **SAME)
    single = there.in_precision("float32").evaluate(frames).forces
    np.testing.assert_allclose(single, here.evaluate(frames).forces, rtol=1e-3, atol=1e-4)


def test_saved_loaded_and_opened_by_its_package(there: RemotePotential, file: Path, tmp_path: Path) -> None:
    from mace.calculators import MACECalculator

    with torch.no_grad():
        for parameter in there.network.parameters():
            parameter.mul_(1.01)
        there.reference_energies[14] += 2.0
    frames = labelled(3)
    expected = there.evaluate(frames)
    save(there, tmp_path / "saved", {})
    with pytest.raises(UserError, match=r"runs the file .*tiny\.model"):
        load(tmp_path / "saved", environment=sys.executable)
    with pytest.raises(UserError, match="runs in an interpreter of its own, and one that the folder names"):
        load(tmp_path / "saved", trust_code=True)
    atoms = frames[1].to_atoms()[0]
    atoms.calc = MACECalculator(model_paths=str(tmp_path / "saved" / "mace.model"), device="cpu")
    assert atoms.get_potential_energy() == pytest.approx(expected.energy[1], abs=1e-7)
    np.testing.assert_allclose(atoms.get_forces(), expected[1].forces, atol=1e-8)
    (tmp_path / "saved" / "mace.model").write_bytes(pickle.dumps(os.system))  # nobody reads it
    loaded = load(tmp_path / "saved", trust_code=True, environment=sys.executable)
    assert isinstance(loaded, RemotePotential)
    again = loaded.evaluate(frames)
    # TorchScript optimises a network after its first calls, and rounds differently from then on
    np.testing.assert_allclose(again.energy, expected.energy, rtol=0, atol=1e-6)
    np.testing.assert_allclose(again.forces, expected.forces, rtol=0, atol=1e-6)
    assert loaded.origin["sha256"] == there.origin["sha256"] and "mace-torch" in loaded.origin["versions"]


@pytest.mark.slow
def test_the_stage_tunes_it_and_others_open_what_it_leaves(
    opened: tuple[Potential, RemotePotential], file: Path, tmp_path: Path
) -> None:
    """With the consent of a recipe that names file and interpreter, as the stages that follow have it."""
    frames = labelled(4)
    write_frames(tmp_path / "train.xyz", frames[[0, 1, 2]])
    write_frames(tmp_path / "valid.xyz", frames[[1, 2]])  # what is learnt is not the question
    (tmp_path / "isolated.json").write_text("{}")
    inputs = {"train": tmp_path / "train.xyz", "valid": tmp_path / "valid.xyz", "file": file, "replay": None}
    tuned = FinetuneSettings(steps=6, validation_interval=2, learning_rate=5e-3, average=0.0)
    settings = Finetune.Settings(model="mace", environment=sys.executable, finetune=tuned)
    job = Job(tmp_path / "out")
    summary = Finetune().run(inputs | {"isolated_atoms": tmp_path / "isolated.json"}, settings, job)
    assert summary["parameters_fitted"] == opened[0].n_parameters and summary["kept"] == TUNED
    consent = Consent(named=Finetune.code({"file": file}, settings))
    model = open_saved(job.out / "model", "cpu", consent)
    assert isinstance(model, RemotePotential) and (job.out / "model" / "mace.model").exists()
    before, after = (np.abs(one.evaluate(frames).forces - frames.forces).mean() for one in (opened[1], model))
    assert after < before


@pytest.mark.slow
def test_keeps_the_contract_of_a_potential(there: RemotePotential, monkeypatch: pytest.MonkeyPatch) -> None:
    """All laws of ``check_potential``; saving is tested with an interpreter and a file that are allowed."""
    from distill.potentials.interface import conformance

    monkeypatch.setattr(conformance, "check_saving", lambda *_: ())
    assert check_potential(there) == []


def test_memory_that_runs_out_there_can_be_cured_here(there: RemotePotential) -> None:
    """What the network raises reaches the fit as what makes it divide its batches."""
    server = networks.NetworkServer()
    server.graphs = {}
    failure = server._described(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 TB"))
    assert failure.kind == "memory" and isinstance(there._error(failure), torch.OutOfMemoryError)
    assert not isinstance(there._error(server._described(RuntimeError("shapes"))), torch.OutOfMemoryError)


def test_rows_say_whether_there_is_an_adapter() -> None:
    for name, row in POTENTIALS.items():
        if row.role == "teacher":
            assert bool(networks.family_of(name)) == row.fits_elsewhere, name
    with pytest.raises(WorkerError, match="has no adapter"):
        networks.NetworkServer().handshake({"model": "uma-s-1p1", "file": None, "device": "cpu"})

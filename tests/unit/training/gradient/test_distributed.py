"""Training with several processes: the curve of one with larger batches; it resumes, and no process is left behind."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from test_gradient import Interrupted, StopAt, frames, run, student, tight
from toy_work import Dies, Refuses, Waits

from distill.base.errors import UserError, WorkError
from distill.base.progress import Progress, Record
from distill.structures.frames import Frames, concatenate
from distill.training.curve import FitResult
from distill.training.gradient.callbacks import Checkpoint
from distill.training.gradient.distributed import Work, check_devices, together
from distill.training.gradient.fit import fit
from distill.training.gradient.losses import LossWeights


def processes_with(word: str) -> list[int]:
    """The ids of the processes whose command line has a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word in path.read_text():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def assert_same_curve(one: FitResult, two: FitResult) -> None:
    """Sums in another order, in single precision, over tens of steps."""
    assert len(one.curve) == len(two.curve)
    for a, b in zip(one.curve, two.curve, strict=True):
        assert a.step == b.step
        for name in ("train_loss", "valid_loss", "valid_energy_mae", "valid_forces_mae", "valid_virial_mae"):
            assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-4, nan_ok=True), name
        assert a.learning_rate == b.learning_rate


@pytest.mark.slow
def test_two_processes_are_one_with_twice_the_batch(tmp_path: Path) -> None:
    """With averaged weights, and gradients of which about half are clipped (their norms are between 1 and 13): a factor
    of them all would go unnoticed by AdamW otherwise."""
    options = {"steps": 40, "average": 0.9, "clip": 5.0, "patience": 3}
    one = student()
    reference = run(tmp_path / "one", one, batch_size=4, **options)
    two = student()
    found = run(tmp_path / "two", two, batch_size=2, devices=2, **options)
    assert_same_curve(found, reference)
    assert found.status == reference.status
    for name, value in one.state_dict().items():
        if isinstance(value, torch.Tensor):
            np.testing.assert_allclose(two.state_dict()[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
    assert not two.training
    assert not (tmp_path / "two" / "processes").exists()


@pytest.mark.slow
def test_so_it_is_where_terms_are_balanced_and_the_rate_follows_the_losses(tmp_path: Path) -> None:
    weights = LossWeights(energy=1.0, forces=1.0, balance=True)
    options: dict = {"steps": 20, "validation_interval": 2, "weights": weights, "average": 0.0}
    options |= {"schedule": "plateau", "decay_patience": 0, "learning_rate": 0.02}
    reference = run(tmp_path / "one", student(), batch_size=4, **options)
    found = run(tmp_path / "two", student(), batch_size=2, devices=2, **options)
    assert found.curve[-1].learning_rate < found.curve[0].learning_rate
    assert_same_curve(found, reference)


def mixed(n: int, seed: int) -> Frames:
    """Structures of different sizes, of which only some have a stress."""
    small = frames(n, seed)
    large = Frames.from_atoms([atoms.repeat((2, 1, 1)) for atoms in frames(2, seed + 10).to_atoms()])
    large = large.with_labels(np.full(2, -80.0), np.zeros((32, 3)), None)
    both = concatenate([small, large])
    stress = np.full((len(both), 3, 3), np.nan)
    stress[: len(both) // 2] = 0.01 * np.eye(3)
    return both.with_labels(both.energy, both.forces, stress)


@pytest.mark.slow
def test_a_process_may_have_nothing_to_do(tmp_path: Path) -> None:
    """Three processes, batches of one to three structures, two validation structures, stresses in some."""
    data, valid = mixed(4, 0), mixed(2, 1)[[0, 3]]
    curves = []
    for devices in (1, 3):
        potential = student()
        potential.initialise(data)
        arguments = {"steps": 9, "validation_interval": 3, "learning_rate": 5e-3, "seed": 1}
        work = tmp_path / str(devices)
        curves.append(fit(potential, data, valid, batch_size=3 // devices, devices=devices, work=work, **arguments))
    assert_same_curve(*curves)


@pytest.mark.slow
def test_an_interrupted_fit_of_two_processes_resumes_and_leaves_none_behind(tmp_path: Path) -> None:
    options = {"steps": 40, "batch_size": 2, "devices": 2}
    with pytest.raises(Interrupted):
        run(tmp_path / "halted", student(), StopAt(15), **options)
    assert not processes_with(str(tmp_path))
    assert (tmp_path / "halted" / Checkpoint.LAST).exists()
    again = Steps()
    continued = run(tmp_path / "halted", student(), again, **options)
    assert min(again.seen) >= 10
    assert_same_curve(continued, run(tmp_path / "whole", student(), steps=40, batch_size=4))


class Steps(Progress):
    """Remembers the steps that were reported."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def publish(self, record: Record, force: bool = False) -> None:
        if record.note:
            self.seen.append(record.done)


@pytest.mark.slow
def test_where_memory_is_short_the_fit_fails_in_words(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"does not suffice for 5 structures a step\. Lower batch_size"):
        run(tmp_path, tight(3), batch_size=5, devices=2)


@pytest.mark.parametrize(
    ("work", "error", "said"),
    [(Dies(), WorkError, "training process 1 of 2 was killed by SIGKILL"), (Refuses(), UserError, "here: not so")],
)
def test_the_death_of_one_ends_all_with_its_reason(tmp_path: Path, work: Work, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        together(work, 2, "cpu", tmp_path / "processes", Progress())
    assert not processes_with(str(tmp_path))
    assert not (tmp_path / "processes").exists()


def test_what_cannot_travel_is_refused(tmp_path: Path) -> None:
    class Local(Waits):
        pass

    with pytest.raises(WorkError, match="cannot be passed on to other processes"):
        together(Local(), 2, "cpu", tmp_path / "processes", Progress())


def test_processes_end_when_their_starter_is_killed(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\nfrom toy_work import Waits\nfrom distill.base.progress import Progress\n"
        "from distill.training.gradient.distributed import together\n"
        f"together(Waits(), 2, 'cpu', Path({str(tmp_path)!r}) / 'processes', Progress())"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent)
    wait_for(lambda: (tmp_path / "processes" / "progress.json").exists())
    assert len(processes_with(str(tmp_path / "processes") + "\0")) == 2
    starter.kill()
    starter.wait()
    wait_for(lambda: not processes_with(str(tmp_path / "processes") + "\0"))


def wait_for(condition: object, timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_more_devices_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No machine of the tests has four GPUs, so their number is made up."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_devices("cpu", 64)
    check_devices("cuda", 2)
    with pytest.raises(UserError, match=r"4 devices are asked for, but there are 2 GPUs\. Use at most 2"):
        check_devices("cuda", 4)
    with pytest.raises(UserError, match="there is one GPU"):
        check_devices("cuda:1", 2)

"""Training with several processes: the curve of one with larger batches; it resumes, and no process is left behind."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_gradient import Interrupted, StopAt, frames, run, student, tight
from toy_work import Dies, OneAfterAnother, Refuses, Waits

from distill.base.errors import UserError, WorkError
from distill.base.progress import Progress
from distill.potentials.interface.potential import Potential
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


class Prepared(Exception):
    """Carries the work of a fit that is ready to travel to other processes."""


def prepare(work: Work, *_: object) -> None:
    raise Prepared(work)


@dataclass
class Case:
    """A fit in two processes: which one, how it went, and what it left.

    Attributes:
        fit: does it into a folder, with more or other arguments of :func:`distill.training.gradient.fit.fit`.
        options: those of the two processes.
        potential: what is fitted.
    """

    fit: Callable[..., FitResult]
    options: dict[str, Any]
    potential: Potential
    result: FitResult = field(default_factory=FitResult)


def on(data: Frames, valid: Frames) -> Callable[..., FitResult]:
    """Return a fit to other data than :func:`run` has."""

    def of(work: Path, potential: Potential, **options: Any) -> FitResult:
        potential.initialise(data)
        arguments = {"learning_rate": 5e-3, "seed": 1, "work": work}
        return fit(potential, data, valid, **arguments | options)

    return of


def mixed(n: int, seed: int) -> Frames:
    """Structures of different sizes, of which only some have a stress."""
    small = frames(n, seed)
    large = Frames.from_atoms([atoms.repeat((2, 1, 1)) for atoms in frames(2, seed + 10).to_atoms()])
    large = large.with_labels(np.full(2, -80.0), np.zeros((32, 3)), None)
    both = concatenate([small, large])
    stress = np.full((len(both), 3, 3), np.nan)
    stress[: len(both) // 2] = 0.01 * np.eye(3)
    return both.with_labels(both.energy, both.forces, stress)


BALANCED = LossWeights(energy=1.0, forces=1.0, balance=True)
CASES: dict[str, tuple[Callable[..., FitResult], dict[str, Any]]] = {
    # with averaged weights, and gradients of which about half are clipped (their norms are between 1 and 13): a factor
    # of them all would go unnoticed by AdamW otherwise
    "twice the batch": (run, {"steps": 40, "batch_size": 2, "average": 0.9, "clip": 5.0, "patience": 3}),
    "balanced": (
        run,
        {"steps": 20, "validation_interval": 2, "batch_size": 2, "weights": BALANCED, "average": 0.0}
        | {"schedule": "plateau", "decay_patience": 0, "learning_rate": 0.02},
    ),
    # batches of one to two structures, one validation structure, stresses in some
    "nothing to do": (on(mixed(4, 0), mixed(2, 1)[[3]]), {"steps": 9, "validation_interval": 3, "batch_size": 1}),
    "resumed": (run, {"steps": 40, "batch_size": 2}),
    "memory": (run, {"steps": 10, "batch_size": 5}),
}
"""Fits that one pair of processes does one after another; the last of them fails, and the pair with it."""


@dataclass
class Pair:
    """What the pair of processes did.

    Attributes:
        cases: the fits that succeeded. folder: where each has its folder.
        error: how the last one failed.
        halted: the curve at which the fit that was resumed had been interrupted.
        left: processes that were left by the interruption, and by the end.
    """

    cases: dict[str, Case]
    folder: Path
    error: Exception
    halted: list[dict[str, str]]
    left: list[int]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Do all fits of :data:`CASES` in one pair of processes, one of them having been interrupted before."""
    folder = tmp_path_factory.mktemp("pair")
    interrupted_fit, options = CASES["resumed"]
    with pytest.raises(Interrupted):
        interrupted_fit(folder / "resumed", student(), progress=StopAt(15), devices=2, **options)
    left = processes_with(str(folder))
    with (folder / "resumed" / Checkpoint.CURVE).open(newline="") as file:
        halted = list(csv.DictReader(file))
    cases = {
        name: Case(how, options, tight(3) if name == "memory" else student()) for name, (how, options) in CASES.items()
    }
    pieces = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distill.training.gradient.fit.together", prepare)
        for name, case in cases.items():
            with pytest.raises(Prepared) as prepared:
                case.fit(folder / name, case.potential, devices=2, **case.options)
            pieces.append(prepared.value.args[0])
    with pytest.raises(WorkError) as failed:
        together(OneAfterAnother(tuple(pieces)), 2, "cpu", folder / "processes", Progress())
    left += processes_with(str(folder))
    del cases["memory"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distill.training.gradient.fit.together", lambda *_: None)  # it is done: take up what it left
        for name, case in cases.items():
            case.result = case.fit(folder / name, case.potential, devices=2, **case.options)
    return Pair(cases, folder, failed.value, halted, left)


def alone(case: Case, work: Path) -> tuple[FitResult, Potential]:
    """Return what one process with twice the batch makes of a case."""
    potential = student()
    return case.fit(work, potential, **case.options | {"batch_size": 2 * case.options["batch_size"]}), potential


@pytest.mark.slow
def test_two_processes_are_one_with_twice_the_batch(pair: Pair, tmp_path: Path) -> None:
    case = pair.cases["twice the batch"]
    reference, one = alone(case, tmp_path)
    assert_same_curve(case.result, reference)
    assert case.result.status == reference.status
    for name, value in one.state_dict().items():
        if isinstance(value, torch.Tensor):
            np.testing.assert_allclose(case.potential.state_dict()[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
    assert not case.potential.training


@pytest.mark.slow
def test_so_it_is_where_terms_are_balanced_and_the_rate_follows_the_losses(pair: Pair, tmp_path: Path) -> None:
    case = pair.cases["balanced"]
    assert case.result.curve[-1].learning_rate < case.result.curve[0].learning_rate
    assert_same_curve(case.result, alone(case, tmp_path)[0])


@pytest.mark.slow
def test_a_process_may_have_nothing_to_do(pair: Pair, tmp_path: Path) -> None:
    """In some steps, and in every validation."""
    case = pair.cases["nothing to do"]
    assert_same_curve(case.result, alone(case, tmp_path)[0])


@pytest.mark.slow
def test_an_interrupted_fit_of_two_processes_resumes_and_leaves_none_behind(pair: Pair, tmp_path: Path) -> None:
    case = pair.cases["resumed"]
    assert not pair.left
    assert 1 <= len(pair.halted) < 4  # interrupted before the last validation interval; when depends on the machine
    # it was not begun again: even the seconds of the first interval are those of the interrupted fit
    assert float(pair.halted[0]["seconds"]) == pytest.approx(case.result.curve[0].seconds, rel=1e-12)
    assert_same_curve(case.result, alone(case, tmp_path)[0])


@pytest.mark.slow
def test_where_memory_is_short_the_fit_fails_in_words(pair: Pair) -> None:
    assert re.search(r"does not suffice for 5 structures a step\. Lower batch_size", str(pair.error))
    assert not (pair.folder / "processes").exists()


@pytest.mark.slow
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


@pytest.mark.slow
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


def wait_for(condition: object, timeout_s: float = 300.0) -> None:
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

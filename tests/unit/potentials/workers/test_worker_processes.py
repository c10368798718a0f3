"""A calculator in another process: the same numbers, whatever is printed, and an end that is always said and complete.

The other interpreter is this one; ASE's own calculators stand for models.
"""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from distill.base.errors import UserError, WorkError
from distill.potentials.workers import process
from distill.potentials.workers.process import CalculatorWorker
from distill.potentials.workers.protocol import WorkerError

CALCULATORS = """
import os, signal, sys, time
from pathlib import Path
from ase.calculators.emt import EMT
from ase.calculators.calculator import Calculator, all_changes

class Odd(EMT):
    def __init__(self, deed):
        super().__init__()
        self.deed = deed

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        self.deed(atoms)
        super().calculate(atoms, properties, system_changes)

def chat(atoms):
    print("o" * 4000)
    print("e" * 4000, file=sys.stderr)
    os.system("echo from a child process")

def die(atoms):
    print("first line\\nout of luck", file=sys.stderr)
    os._exit(7)

def crash(atoms):
    os.kill(os.getpid(), signal.SIGSEGV)

def once(deed):
    def first(atoms):
        mark = Path(__file__).with_name("done")
        if not mark.exists():
            mark.touch()
            deed(atoms)
    return first

def doze(atoms):
    time.sleep(300)

def sleep(atoms):
    if len(atoms) == 1:
        time.sleep(300)

def grumble(atoms):
    if len(atoms) == 3:
        raise ValueError("no molecules\\nand more")

class Cheap(Calculator):
    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        chat(atoms)
        self.results = {"energy": float(os.environ["OMP_NUM_THREADS"]), "forces": 2 * atoms.positions}

emt = EMT
cheap = Cheap
dying, dying_once, crashing, sleeping, sleeping_once, grumbling = (
    (lambda deed=deed: Odd(deed)) for deed in (die, once(die), crash, sleep, once(doze), grumble)
)

def searching():
    if any(Path(folder, "protocol.py").exists() for folder in sys.path):
        raise RuntimeError("the folder of the worker shadows packages")
    return EMT()
"""

SAME = partial(pytest.approx, rel=0, abs=1e-10)
"""The same code on the same numbers: neighbours may be added up in another order, which costs roundings of 1e-14."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of calculators, some of which misbehave."""
    path = tmp_path / "calculators.py"
    path.write_text(CALCULATORS)
    return path


@pytest.fixture
def start(file: Path) -> Iterator[Any]:
    """Make a worker for one of them; all are ended afterwards."""
    workers: list[CalculatorWorker] = []

    def make(function: str, interpreter: str | Path = sys.executable) -> CalculatorWorker:
        workers.append(CalculatorWorker(str(interpreter), "ase", str(file), function, "cpu", "Run: the command"))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


def batch(structures: list[Atoms], stress: bool = True) -> dict[str, Any]:
    """What is sent."""
    return {
        "n_atoms": np.array([len(a) for a in structures]),
        "numbers": np.concatenate([a.numbers for a in structures]),
        "positions": np.concatenate([a.positions for a in structures]),
        "cells": np.stack([a.cell.array for a in structures]),
        "pbc": np.stack([a.pbc for a in structures]),
        "stress": stress,
    }


def rattled(count: int, size: int = 1) -> list[Atoms]:
    crystals = [bulk("Cu", cubic=True).repeat((size, size, size)) for _ in range(count)]
    for seed, atoms in enumerate(crystals):
        atoms.rattle(0.1, seed=seed)
    return crystals


def alone(atoms: Atoms) -> float:
    atoms = atoms.copy()
    atoms.calc = EMT()
    return float(atoms.get_potential_energy())


def gone(pid: int, within: float = 120.0) -> bool:
    """Whether a process ends within so many seconds; a zombie that nobody has waited for counts as ended."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


def test_numbers_are_those_of_the_calculator(start: Any) -> None:
    structures = [*rattled(3), molecule("H2O"), bulk("Pd")]
    found = start("emt").evaluate(batch(structures))
    begin = 0
    for k, atoms in enumerate(structures):
        atoms.calc = EMT()
        assert found["energy"][k] == SAME(atoms.get_potential_energy())
        assert found["forces"][begin : begin + len(atoms)] == SAME(atoms.get_forces())
        if atoms.pbc.all():
            assert found["stress"][k] == SAME(atoms.get_stress(voigt=False))
        begin += len(atoms)
    assert np.isnan(found["stress"][3]).all()
    assert {array.dtype.str for array in found.values()} == {"<f8"}


def test_no_stress_where_none_is_wanted(start: Any) -> None:
    assert np.isnan(start("emt").evaluate(batch(rattled(1), stress=False))["stress"]).all()


def test_large_batches_and_much_printing_block_nothing(start: Any) -> None:
    """More than any pipe holds, in all directions at once: 3 MB of structures, 3 MB of answers, 1 MB of chatter."""
    message = batch([*rattled(100), *rattled(1, 30)])
    found = start("cheap").evaluate(message)
    assert found["forces"].nbytes > 2.5e6
    assert np.array_equal(found["forces"], 2 * message["positions"])


@pytest.mark.slow
@pytest.mark.parametrize("when", ["between two questions", "within one"])
def test_a_killed_worker_is_started_again(start: Any, when: str, capfd: pytest.CaptureFixture[str]) -> None:
    worker, one = start("emt" if when == "between two questions" else "sleeping_once"), rattled(1)
    worker.open()
    first = worker.pid
    if when == "between two questions":
        os.kill(first, signal.SIGKILL)
    else:
        threading.Timer(0.3, os.kill, (first, signal.SIGKILL)).start()
    assert worker.evaluate(batch(one))["energy"][0] == SAME(alone(one[0]))
    assert worker.restarts == 1 and worker.pid != first and gone(first)
    assert "was killed by SIGKILL" in capfd.readouterr().err


def test_killed_while_it_opens_it_is_started_again(start: Any, file: Path) -> None:
    file.write_text(f"import os, signal\n{CALCULATORS}\nonce(lambda _: os.kill(os.getpid(), signal.SIGKILL))(None)\n")
    worker, one = start("emt"), rattled(1)
    assert worker.evaluate(batch(one))["energy"][0] == SAME(alone(one[0]))
    assert worker.restarts == 1


def test_dying_within_a_question_asks_it_again(start: Any) -> None:
    worker, structures = start("dying_once"), rattled(2)
    assert list(worker.evaluate(batch(structures))["energy"]) == SAME([alone(atoms) for atoms in structures])
    assert worker.restarts == 1


@pytest.mark.slow
def test_each_death_has_its_restart(start: Any) -> None:
    worker, one = start("emt"), rattled(1)
    for _ in range(3):
        worker.evaluate(batch(one))
        os.kill(worker.pid, signal.SIGKILL)
    worker.evaluate(batch(one))
    assert worker.restarts == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "words"),
    [("dying", ["ended with status 7", "first line / out of luck"]), ("crashing", ["was killed by SIGSEGV"])],
)
def test_dying_twice_is_an_error_with_its_last_words(start: Any, function: str, words: list[str]) -> None:
    worker = start(function)
    with pytest.raises(WorkError) as caught:
        worker.evaluate(batch(rattled(1)))
    assert all(word in str(caught.value) for word in [*words, "ase in", sys.executable])
    assert worker.pid is None
    if function == "dying":
        assert "out of luck" in caught.value.__notes__[0]


def test_an_error_of_the_calculator_is_not_a_death(start: Any) -> None:
    worker = start("grumbling")
    with pytest.raises(WorkerError) as caught:
        worker.evaluate(batch([bulk("Cu"), bulk("Cu"), molecule("H2O")]))
    assert (caught.value.kind, caught.value.structure) == ("structure", 2)
    assert caught.value.what == "the calculator failed (ValueError: no molecules)"
    assert "in grumble" in caught.value.__notes__[0]
    assert worker.evaluate(batch(rattled(1)))["energy"].shape == (1,)
    assert worker.restarts == 0


@pytest.mark.slow
def test_an_interrupted_question_is_not_answered_to_the_next(start: Any) -> None:
    worker, one = start("sleeping"), rattled(1)
    worker.evaluate(batch(one))
    first = worker.pid

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            worker.evaluate(batch([bulk("Cu")]))
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert worker.evaluate(batch(one))["energy"][0] == SAME(alone(one[0]))
    assert gone(first)


def test_threads_ask_one_after_another(start: Any) -> None:
    worker = start("cheap")
    messages = [batch([atoms]) for atoms in rattled(8)]
    wrong: list[int] = []

    def ask(k: int) -> None:
        for _ in range(25):
            forces = worker.evaluate(messages[k])["forces"]
            if not np.array_equal(forces, 2 * messages[k]["positions"]):
                wrong.append(k)

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and worker.restarts == 0


@pytest.mark.slow
def test_copies_have_a_process_of_their_own(start: Any) -> None:
    worker, one = start("emt"), batch(rattled(1))
    expected = worker.evaluate(one)["energy"]
    for copied in (copy.deepcopy(worker), pickle.loads(pickle.dumps(worker))):  # noqa: S301 - our own
        assert copied.pid is None
        assert copied.evaluate(one)["energy"] == SAME(expected)
        assert copied.pid != worker.pid
        copied.close()


def test_ends_when_it_is_no_longer_held(file: Path) -> None:
    worker = CalculatorWorker(sys.executable, "ase", str(file), "emt", "cpu")
    worker.open()
    pid = worker.pid
    assert pid is not None
    del worker
    gc.collect()
    assert gone(pid)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "sys.exit(0)", "raise KeyboardInterrupt", "work()"])
def test_ends_with_the_process_that_started_it(file: Path, end: str) -> None:
    """Killed, finished, interrupted, and killed by another while the worker is at work."""
    code = f"""
import os, sys, time
import numpy as np
from distill.potentials.workers.process import CalculatorWorker
worker = CalculatorWorker(sys.executable, "ase", {str(file)!r}, "sleeping", "cpu")
worker.open()
print(worker.pid, flush=True)
def work():
    one = dict(n_atoms=[1], numbers=np.array([29]), positions=np.zeros((1, 3)), cells=3 * np.eye(3)[None],
               pbc=np.ones((1, 3), bool), stress=False)
    worker.evaluate(one)
{end}
"""
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    if end == "work()":
        time.sleep(0.5)
        starter.kill()
    starter.wait(30)
    assert gone(pid)


def test_missing_packages_and_interpreters(start: Any, tmp_path: Path, file: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True, timeout=60)
    bare = tmp_path / "bare" / "bin" / "python"
    with pytest.raises(UserError, match=rf"{bare}: the package 'msgpack' is not installed there\. Run: the command"):
        start("emt", bare).open()
    with pytest.raises(UserError, match="the package 'fairchem-core' is not installed there"):
        CalculatorWorker(sys.executable, "uma-s-1p1", None, "", "cpu", "Run: the command").open()
    with pytest.raises(UserError, match="cannot be started"):
        start("emt", file).open()


def test_an_interpreter_that_says_nothing(start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nsleep 60\n")
    script.chmod(0o755)
    monkeypatch.setattr(process, "START_TIMEOUT", 0.3)
    with pytest.raises(WorkError, match="did not start the worker within 0 s"):
        start("emt", script).open()


def test_what_an_interpreter_prints_first_is_skipped(start: Any, tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nprintf "loading modules"\nexec {sys.executable} "$@"\n')
    script.chmod(0o755)
    one = rattled(1)
    assert start("emt", script).evaluate(batch(one))["energy"][0] == SAME(alone(one[0]))


def test_threads_are_limited_as_here(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    worker = start("cheap")
    assert worker.evaluate(batch(rattled(1)))["energy"][0] == 3
    assert not worker.handshake["stress"]


def test_the_folder_of_the_worker_shadows_no_package(start: Any) -> None:
    """It holds files called chgnet.py and mace.py."""
    assert start("searching").open()["versions"]["ase"]

"""Misbehaving teachers in processes of their own: each ends in one sentence or goes on, soon; none hangs or is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from distill.base.errors import WorkError
from distill.potentials.workers.process import CalculatorWorker
from distill.potentials.workers.protocol import WorkerError

LIMIT_S = 90.0
"""What takes about a second on an idle machine is taken for hanging after this time."""

TEACHERS = """
import ctypes, os, signal, struct, subprocess, sys, time
from pathlib import Path
import numpy as np
from ase.calculators.calculator import Calculator

class Teacher(Calculator):
    implemented_properties = ["energy", "forces"]

    def __init__(self, deed):
        super().__init__()
        self.deed = deed

    def calculate(self, atoms=None, *args):
        super().calculate(atoms, *args)
        self.results = {"energy": 1.0, "forces": np.full((len(atoms), 3), 2.0)}
        self.results.update(self.deed(atoms) or {})

def note(pid):
    with Path(__file__).with_name("pids").open("a") as file:
        file.write(f"{pid}\\n")

def pipes():
    found = []
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                if os.readlink(f"/proc/self/fd/{name}").startswith("pipe:"):
                    found.append(int(name))
            except OSError:
                pass
    return found

def write(data):
    for descriptor in pipes():
        try:
            os.write(descriptor, data)
        except OSError:
            pass

def leaves(atoms): sys.exit(3)
def leaves_at_once(atoms): os._exit(7)
def kills_itself(atoms): os.kill(os.getpid(), signal.SIGKILL)
def crashes(atoms): ctypes.string_at(0)
def aborts(atoms): os.abort()
def raises(atoms): raise ValueError("no convergence\\nsecond line")
def raises_much(atoms): raise ValueError("x" * 10**7)
def overflows(atoms): return overflows(atoms)
def gives_nan(atoms): return {"energy": float("nan")}
def gives_a_row(atoms): return {"forces": np.ones((1, 3))}
def gives_complex(atoms): return {"forces": np.ones((len(atoms), 3)) * 1j}
def gives_nothing(atoms): return {"forces": None}
def prints(atoms): print("o" * 10**6); print("e" * 10**6, file=sys.stderr); os.write(1, b"\\0distill worker 1\\n" * 9)
def closes_streams(atoms): sys.stdout.close(); os.closerange(0, 3)
def closes_all(atoms): os.closerange(3, 100)
def stops_half_way(atoms): write(struct.pack(">Q", 1000) + b"half"); os._exit(0)
def writes_garbage(atoms): write(b"garbage that is no length"); time.sleep(60)

def forks_and_returns(atoms):
    if os.fork() == 0:
        note(os.getpid())

def forks_and_dies(atoms):
    if os.fork():
        os._exit(1)
    note(os.getpid())
    time.sleep(600)

def leaves_a_daemon(atoms):
    if os.fork():
        time.sleep(0.2)
        os._exit(1)
    os.setsid()
    note(os.getpid())
    time.sleep(600)

def starts_a_program_and_dies(atoms):
    note(subprocess.Popen(["sleep", "600"]).pid)
    os._exit(1)

def is_stuck(atoms):
    note(subprocess.Popen(["sleep", "600"]).pid)
    ctypes.PyDLL(None).sleep(600)  # unlike CDLL, with the interpreter's lock

for name, deed in list(globals().items()):
    if getattr(deed, "__code__", None) and name not in ("note", "pipes", "write"):
        globals()["teacher_that_" + name] = (lambda deed=deed: Teacher(deed))
"""


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A file of teachers; what they have left behind on purpose is ended."""
    path = tmp_path / "teachers.py"
    path.write_text(TEACHERS)
    yield path
    for pid in noted(path):
        if not ends(pid, 0):
            os.kill(pid, signal.SIGKILL)


def noted(file: Path) -> list[int]:
    """Return the processes that teachers have started."""
    pids = file.with_name("pids")
    return [int(line) for line in pids.read_text().split()] if pids.exists() else []


def ends(pid: int, within_s: float = 30) -> bool:
    """Return whether a process ends soon; one that nobody has waited for counts as ended."""
    until = time.monotonic() + within_s
    while True:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.05)


def batch() -> dict[str, Any]:
    """Two dimers."""
    atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, 2]])
    return {
        "n_atoms": np.array([2, 2]),
        "numbers": np.tile(atoms.numbers, 2),
        "positions": np.tile(atoms.positions, (2, 1)),
        "cells": np.zeros((2, 3, 3)),
        "pbc": np.zeros((2, 3), bool),
        "stress": False,
    }


def within(limit_s: float, act: Callable[[], Any]) -> Any:
    """Return what a call returns or raise what it raises; fails if it takes longer."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(act())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit_s)
    assert outcome, f"no answer within {limit_s:g} s"
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


DEATHS = {
    "leaves": "ended with status 3",
    "leaves_at_once": "ended with status 7",
    "kills_itself": "was killed by SIGKILL",
    "crashes": "was killed by SIGSEGV",
    "aborts": "was killed by SIGABRT",
    "closes_all": "ended with status 1",
    "stops_half_way": "ended with status 0",
    "writes_garbage": "closed its pipe",
    "forks_and_dies": "ended with status 1",
    "leaves_a_daemon": "ended with status 1",
    "starts_a_program_and_dies": "ended with status 1",
}
FAILURES = {
    "raises": "the calculator failed (ValueError: no convergence)",
    "raises_much": "the calculator failed (ValueError: xxx",
    "overflows": "the calculator failed (RecursionError: maximum recursion depth",
    "gives_nan": "the energy that the calculator gave is not finite",
    "gives_a_row": "the forces that the calculator gave have shape (1, 3), not (2, 3)",
    "gives_complex": "the forces that the calculator gave are complex numbers, not real ones",
    "gives_nothing": "the forces that the calculator gave are of type object, not real ones",
}
SOUND = ("prints", "closes_streams", "forks_and_returns")


@pytest.mark.parametrize("deed", [*DEATHS, *FAILURES, *SOUND])
def test_a_teacher_ends_in_one_sentence_or_goes_on(file: Path, deed: str) -> None:
    worker = CalculatorWorker(sys.executable, "ase", str(file), f"teacher_that_{deed}", "cpu")
    try:
        answer = within(LIMIT_S, lambda: worker.evaluate(batch()))
        assert deed in SOUND
        assert list(answer["energy"]) == [1.0, 1.0] and (answer["forces"] == 2).all()
        assert worker.restarts == 0
    except WorkError as error:
        assert DEATHS[deed] in str(error) and "and so did the one before it" in str(error)
        assert "\n" not in str(error)
    except WorkerError as error:
        assert FAILURES[deed] in error.what
        assert "\n" not in error.what and len(error.what) < 500
    finally:
        worker.close()
    assert deed == "leaves_a_daemon" or all(ends(pid) for pid in noted(file))


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_a_teacher_that_is_stuck_in_compiled_code_ends_with_its_run(file: Path, end: str) -> None:
    """It keeps the interpreter's lock, so that none of its own threads can notice; what it has started ends too."""
    code = f"""
import sys
from distill.potentials.workers.process import CalculatorWorker
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_misbehaviour import batch
worker = CalculatorWorker(sys.executable, "ase", {str(file)!r}, "teacher_that_is_stuck", "cpu")
worker.open()
print(worker.pid, flush=True)
worker.evaluate(batch())
"""
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert run.stdout is not None
    pid = int(run.stdout.readline())
    until = time.monotonic() + LIMIT_S
    while not noted(file) and time.monotonic() < until:
        time.sleep(0.05)
    assert noted(file) and not ends(pid, 0.5)
    getattr(run, end)()
    run.wait(LIMIT_S)
    assert ends(pid) and all(ends(program) for program in noted(file))

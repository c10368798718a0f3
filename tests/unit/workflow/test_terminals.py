"""Signals, terminals and disks: a run ends in one sentence or goes on; nothing hangs, and no worker is left."""

from __future__ import annotations

import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy_folder import TOY_CLI, Toy

LIMIT_S = 120
"""What takes a second or two on an idle machine is taken for hanging after this time."""

CLI = shlex.join([sys.executable, TOY_CLI])
RUN, PLAN, STATUS = f"{CLI} run toy.yaml", f"{CLI} plan toy.yaml", f"{CLI} status toy"
RECIPE = """\
name: toy
data: {file: numbers.txt}
count: {steps: 3}
students: {one: {cutoff: 6.0}}
executor: {workers: 1}
"""

STREAMS = {
    "all goes to a reader of one line": (f"{RUN} 2>&1 | head -1", 0, ""),
    "errors go to a reader of one line": (f"{RUN} 2>&1 >/dev/null | head -1", 0, ""),
    "output goes to a reader of nothing": (f"{RUN} | true", 0, "[6/6]"),
    "no error stream": (f"{RUN} 2>&-", 0, "runs/toy/table.csv"),
    "no output stream": (f"{RUN} >&-", 0, "[6/6]"),
    "no input stream": (f"{RUN} <&-", 0, "[6/6]"),
    "no stream at all": (f"{RUN} <&- >&- 2>&-", 0, ""),
    "no terminal": (f"setsid -w {RUN} </dev/null", 0, "[6/6]"),
    "errors to a full disk": (f"{RUN} 2>/dev/full", 0, "runs/toy/table.csv"),
    "output to a full disk": (f"{RUN} >/dev/full", 0, "distill: the output cannot be written: [Errno 28]"),
    "both to a full disk": (f"{RUN} >/dev/full 2>&1", 0, ""),
    "a small alphabet": (f"PYTHONIOENCODING=ascii LC_ALL=C {RUN}", 0, "[6/6]"),
    "a plan to a reader of one line": (f"{PLAN} | head -1", 0, "task"),
    "a plan to a full disk": (f"{PLAN} >/dev/full", 1, "distill: the output cannot be written: [Errno 28]"),
    "a plan to nobody": (f"{PLAN} >&-", 0, ""),
    "a sentence to a reader that has gone": (f"{STATUS} 2>&1 | true", 2, ""),
    "a sentence to a full disk": (f"{STATUS} 2>/dev/full", 2, ""),
}


@pytest.fixture(autouse=True)
def short(toy: Toy) -> None:
    """A recipe of a few tasks in one process."""
    toy.path.write_text(RECIPE)


@pytest.mark.parametrize("case", STREAMS)
def test_whoever_listens_the_work_is_done_and_the_status_is_its_own(toy: Toy, case: str) -> None:
    line, status, said = STREAMS[case]
    script = f"{line}; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", script], cwd=toy.folder, capture_output=True, text=True, timeout=LIMIT_S)
    text = ended.stdout + ended.stderr
    assert ended.returncode == status, text
    assert said in text and "Traceback" not in text and "Exception ignored" not in text
    assert (toy.runs / "toy" / "table.csv").exists() == line.startswith((RUN, "setsid", "PYTHON"))


TERMINALS = {
    "dumb": {"TERM": "dumb"},
    "one column wide": {"TERM": "xterm", "COLUMNS": "1", "LINES": "1"},
    "of no known kind": {"TERM": "no-such-terminal", "COLUMNS": "nonsense"},
    "of ten thousand columns": {"TERM": "xterm-256color", "COLUMNS": "10000"},
    "with a small alphabet": {"TERM": "xterm", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
}


@pytest.mark.parametrize("case", [*TERMINALS, "that is closed"])
def test_bars_are_drawn_on_any_terminal(toy: Toy, case: str) -> None:
    here, there = pty.openpty()
    process = subprocess.Popen(
        shlex.split(RUN),
        cwd=toy.folder,
        stdin=there,
        stdout=subprocess.PIPE,
        stderr=there,
        env=os.environ | TERMINALS.get(case, {}),
    )
    os.close(there)
    shown = b""
    while case != "that is closed":
        try:
            shown += os.read(here, 65536)
        except OSError:  # the other side has ended
            break
    os.close(here)
    assert process.stdout is not None
    text = process.stdout.read().decode()
    assert process.wait(LIMIT_S) == 0, shown.decode(errors="replace")
    assert "runs/toy/table.csv" in text and b"Traceback" not in shown


def start(
    toy: Toy, *before: str, until: str = "step 0", settings: tuple[str, ...] = ()
) -> tuple[subprocess.Popen[str], list[int]]:
    """Start a run that stands still at its work; return it there, and its workers."""
    command = [*before, *shlex.split(RUN), *settings]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, cwd=toy.folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )
    end = time.monotonic() + LIMIT_S
    while until not in toy.trace() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    return process, children(process.pid)


def children(pid: int) -> list[int]:
    """Return the processes that one has started and that live."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ends(pid: int) -> bool:
    """Return whether a process ends soon; one that nobody has waited for counts as ended."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


SIGNALS = {
    "interrupt": ([signal.SIGINT], 130),
    "termination": ([signal.SIGTERM], 130),
    "a terminal that goes away": ([signal.SIGHUP], 130),
    "interrupt upon interrupt": ([signal.SIGINT] * 3, 130),
    "quit": ([signal.SIGQUIT], -signal.SIGQUIT),
    "kill": ([signal.SIGKILL], -signal.SIGKILL),
    "a signal of the user's": ([signal.SIGUSR1], -signal.SIGUSR1),
    "stop and go on": ([signal.SIGTSTP, signal.SIGCONT], 0),
    "another size of the window": ([signal.SIGWINCH], 0),
    "a broken pipe": ([signal.SIGPIPE], 0),
}


@pytest.mark.parametrize("case", SIGNALS)
def test_a_signal_ends_the_run_and_its_workers_or_nothing(toy: Toy, case: str) -> None:
    signals, status = SIGNALS[case]
    with toy.held(0):
        process, workers = start(toy)
        assert workers
        for number in signals:
            os.killpg(process.pid, number)
            time.sleep(0.1)
        if status:
            process.wait(LIMIT_S)
    out, error = process.communicate(timeout=LIMIT_S)
    assert process.returncode == status, error
    assert all(ends(worker) for worker in workers)
    assert "Traceback" not in error
    assert error.count("Nothing is lost: the same command continues") == (status == 130)
    assert ("table.csv" in out) == (status == 0)


def test_a_run_under_nohup_outlives_its_terminal(toy: Toy) -> None:
    with toy.held(0):
        process, _ = start(toy, "nohup")
        process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
    out, error = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, "table.csv" in out) == (0, True), error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_worker_that_is_stuck_in_compiled_code_ends_with_its_run(toy: Toy, number: signal.Signals) -> None:
    """It keeps the interpreter's lock, so that none of its own threads can notice; it held the lock of the store."""
    process, workers = start(toy, until="count", settings=("--set", "count.fail=stuck"))
    time.sleep(0.5)
    os.killpg(process.pid, number)
    process.communicate(timeout=LIMIT_S)
    assert workers and all(ends(worker) for worker in workers)


MISDEEDS = {
    "half": (1, "count: the worker process ended with status 0"),
    "orphan": (1, "count: the worker process ended with status 1"),
    "segfault": (1, "count: the worker process was killed by SIGSEGV"),
    "twice": (0, "[6/6]"),
}


@pytest.mark.parametrize("deed", MISDEEDS)
def test_a_worker_that_misbehaves_ends_in_one_sentence_or_goes_on(toy: Toy, deed: str) -> None:
    """An answer cut short, a process that keeps the pipe of the answers, a crash, a fork that comes back."""
    status, said = MISDEEDS[deed]
    line = [*shlex.split(RUN), "--set", f"count.fail={deed}"]
    try:
        ended = subprocess.run(line, cwd=toy.folder, capture_output=True, text=True, timeout=LIMIT_S)
        assert (ended.returncode, said in ended.stderr) == (status, True), ended.stderr
    finally:
        left = toy.folder / "orphan.pid"
        if left.exists():
            os.kill(int(left.read_text()), signal.SIGKILL)


DRAWN = {"TERM": "xterm", "COLUMNS": "200"}


def test_a_run_that_waits_for_another_says_for_whom(toy: Toy) -> None:
    """The artifact's lock is held by a worker of the first run; the second shows it until that one is done."""
    with toy.held(0):
        first, workers = start(toy)
        here, there = pty.openpty()
        second = subprocess.Popen(
            shlex.split(RUN), cwd=toy.folder, stdout=subprocess.DEVNULL, stderr=there, env=os.environ | DRAWN
        )
        os.close(there)
        shown = b""
        while b"held by" not in shown:
            shown += os.read(here, 65536)
        second.terminate()
        second.wait(LIMIT_S)
        os.close(here)
        first.kill()
        first.communicate()
    assert f"held by process {workers[0]} on {os.uname().nodename} since 2".encode() in shown

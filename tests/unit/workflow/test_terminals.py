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


def start(toy: Toy, *before: str) -> tuple[subprocess.Popen[str], list[int]]:
    """Start a run that takes a while; return it at work, and its workers."""
    command = [*before, *shlex.split(RUN), "--set", "count.pause_s=0.4"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, cwd=toy.folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )
    until = time.monotonic() + LIMIT_S
    while "step 0" not in toy.trace() and process.poll() is None and time.monotonic() < until:
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
    process, workers = start(toy)
    assert workers
    for number in signals:
        os.killpg(process.pid, number)
        time.sleep(0.1)
    out, error = process.communicate(timeout=LIMIT_S)
    assert process.returncode == status, error
    assert all(ends(worker) for worker in workers)
    assert "Traceback" not in error
    assert error.count("Nothing is lost: the same command continues") == (status == 130)
    assert ("table.csv" in out) == (status == 0)


def test_a_run_under_nohup_outlives_its_terminal(toy: Toy) -> None:
    process, _ = start(toy, "nohup")
    process.send_signal(signal.SIGHUP)
    out, error = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, "table.csv" in out) == (0, True), error

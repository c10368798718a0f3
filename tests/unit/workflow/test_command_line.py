"""The verbs of the command line over the toy stages, as a user types them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from toy_folder import TOY_CLI, Toy


def test_plan_run_and_status_tell_one_story(toy: Toy) -> None:
    code, said = toy.call("plan", "toy.yaml")
    assert code == 0 and "12 tasks, 12 to run, 0 cached." in said and "never run" in said
    assert not toy.runs.exists()  # planning writes nothing
    code, said = toy.call("run", "toy.yaml")
    assert code == 0 and "[12/12]" in said and "3 rows" in said and "runs/toy/table.csv" in said
    assert said.count("warning: read: only a toy") == 1
    code, said = toy.call("run", "toy.yaml")
    assert code == 0 and "Nothing to do: all 12 tasks are finished." in said
    code, said = toy.call("plan", "toy.yaml", "--set", "students.big.cutoff=5.5")
    assert "students.big.cutoff: 6.0 -> 5.5" in said and "12 tasks, 4 to run, 8 cached." in said
    code, said = toy.call("plan", "toy.yaml", "--force", "judge")
    assert said.count("forced") == 3 and "12 tasks, 7 to run, 5 cached." in said
    code, said = toy.call("status", "runs/toy")
    assert code == 0 and "12 of 12 tasks are done." in said


def test_quiet_says_nothing_and_errors_end_with_their_status(toy: Toy) -> None:
    assert toy.call("run", "toy.yaml", "--quiet") == (0, "")
    code, said = toy.call("run", "toy.yaml", "--quiet", "--set", "count.fail=user")
    assert code == 2 and said.startswith("distill: numbers.txt: frame 3 has no energy. Add it.")
    code, said = toy.call("run", "toy.yaml", "--quiet", "--set", "count.fail=bug")
    assert code == 1 and "Traceback" not in said and "log.txt" in said
    code, said = toy.call("run", "toy.yaml", "--quiet", "--debug", "--set", "count.fail=bug")
    assert code == 1 and "in _misbehave" in said


def test_a_device_that_is_not_there_is_refused_before_anything_starts(toy: Toy) -> None:
    code, said = toy.call("run", "toy.yaml", "--device", "gpu")
    assert code == 2 and "unknown device 'gpu'" in said
    assert toy.trace() == []


def test_a_terminal_shows_bars_and_keeps_the_lines(toy: Toy) -> None:
    here, there = pty.openpty()
    command = [sys.executable, TOY_CLI, "run", "toy.yaml", "--set", "count.pause_s=0.3"]
    process = subprocess.Popen(
        command,
        cwd=toy.folder,
        stdout=subprocess.PIPE,
        stderr=there,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(there)
    shown = b""
    while True:
        try:
            shown += os.read(here, 65536)
        except OSError:  # the other side of a terminal that closes is an input/output error
            break
    os.close(here)
    assert process.wait(timeout=120) == 0
    text = shown.decode()
    assert "━" in text and "counting" in text and "/4 step" in text and "/12" in text
    assert "[12/12] total done" in text and "fit[big,distilled,0]" in text

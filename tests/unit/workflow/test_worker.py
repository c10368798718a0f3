"""The worker process: one answer for every request, errors as data, nothing between, and no life of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

Process = subprocess.Popen[str]


@pytest.fixture
def worker() -> Iterator[Process]:
    """A worker in a process group of its own, as the executor starts it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "distill.workflow.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()


def ask(worker: Process, **request: Any) -> dict[str, Any]:
    """Send a request and return the answer."""
    assert worker.stdin is not None and worker.stdout is not None
    tell(worker, **request)
    return dict(json.loads(worker.stdout.readline()))


def tell(worker: Process, **request: Any) -> None:
    assert worker.stdin is not None
    worker.stdin.write(json.dumps(request) + "\n")
    worker.stdin.flush()


def test_requests_are_answered_in_their_order(worker: Process) -> None:
    assert ask(worker, do="device", device="cpu") == {"device": "cpu"}
    error = ask(worker, do="device", device="toaster")["error"]
    assert "unknown device 'toaster'" in error["what"] and error["where"] == "--device"
    assert ask(worker, do="device", device="cpu") == {"device": "cpu"}, "it goes on after an error"


def test_what_is_no_request_is_an_error_that_names_itself(worker: Process) -> None:
    assert "KeyError" in ask(worker, something="else")["error"]["what"]


def test_a_path_is_taken_without_an_answer(worker: Process, tmp_path: Path) -> None:
    """Modules of the starter's path can be imported, and nothing that they print gets between the answers."""
    tell(worker, do="path", path=[str(tmp_path)])
    assert ask(worker, do="device", device="cpu") == {"device": "cpu"}


def test_an_interrupt_is_the_starters_business(worker: Process) -> None:
    assert ask(worker, do="device", device="cpu") == {"device": "cpu"}
    os.kill(worker.pid, signal.SIGINT)
    assert ask(worker, do="device", device="cpu") == {"device": "cpu"}


def test_it_ends_when_the_pipe_closes(worker: Process) -> None:
    assert ask(worker, do="device", device="cpu") == {"device": "cpu"}
    assert worker.stdin is not None
    worker.stdin.close()
    assert worker.wait(timeout=120) != 0

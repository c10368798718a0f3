"""Tasks on this machine, in a few worker processes that live as long as the run.

A worker is ``python -m distill.workflow.worker``, a plain subprocess: it needs no importable ``__main__``, so that runs
start from scripts and notebooks alike, and a task that dies takes neither the run nor the notebook with it.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from distill.base.errors import DistillError, WorkError
from distill.base.processes import DRAIN_S, kill_group, wait_for_end
from distill.workflow.executors.base import Executor, ExecutorSettings, Outcome
from distill.workflow.machine import has_nvidia_driver, usable_cores
from distill.workflow.store import LOG, Store
from distill.workflow.work import Submission, failure_from_data

ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024**2),
    "MALLOC_TRIM_THRESHOLD_": str(1024**3),
    "MALLOC_TOP_PAD_": str(64 * 1024**2),
}
"""Makes glibc keep the memory of freed tensors. Otherwise it goes back to the system after every operation and comes
again as cold pages, which costs a network of small tensors on a CPU up to 40 % of its time."""


class LocalSettings(ExecutorSettings):
    """Worker processes on this machine."""

    kind: Literal["local"] = "local"
    """The executor's name."""
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Tasks at once; ``auto`` is one on a GPU, otherwise as many as there are cores and independent tasks."""


class _Worker:
    """One worker process; a thread turns its answers, and its end, into entries of a queue."""

    def __init__(self, answers: queue.Queue[tuple[_Worker, dict[str, Any] | None]]) -> None:
        self.submission: Submission | None = None
        self._answers = answers
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "distill.workflow.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
            text=True,
            env=ALLOCATOR | os.environ,
        )
        listening = threading.Thread(target=self._listen, daemon=True)
        listening.start()
        threading.Thread(target=self._wait, args=(listening,), daemon=True).start()
        self.tell({"do": "path", "path": [p for p in sys.path if p]})

    def _listen(self) -> None:
        """Pass answers on; one that is cut short, or is none, is the end of the worker."""
        with suppress(ValueError):
            for line in self._process.stdout or ():
                self._answers.put((self, json.loads(line)))
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(DRAIN_S)
        self.kill()

    def _wait(self, listening: threading.Thread) -> None:
        """Tell of the worker's death also where a process that it started keeps the pipe of its answers open."""
        wait_for_end(self._process, listening)
        self._answers.put((self, None))

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message; a worker that is dead answers through the queue."""
        with suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.write(json.dumps(message) + "\n")
                self._process.stdin.flush()

    def kill(self) -> None:
        """End the worker and every process that it started."""
        kill_group(self._process)
        self._process.wait()

    def how_it_died(self) -> str:
        """Return how the process ended, e.g. ``was killed by SIGKILL``, with the last thing it said, if any."""
        code = self._process.returncode
        text = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        if code == -signal.SIGKILL:
            text += ", perhaps because memory ran out"
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"{text} ({said[-1]})" if said else text


class Local(Executor):
    """A pool of worker processes."""

    Settings = LocalSettings

    def __init__(self, settings: LocalSettings) -> None:
        self.settings = settings
        self._pool: list[_Worker] = []
        self._answers: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()

    def start(self, device: str, width: int) -> str:
        """Start the first worker, ask it for the device where that takes a look, and say how many there will be."""
        certain = device == "cpu" or (device == "auto" and not has_nvidia_driver())
        found = "cpu" if certain else self._ask_device(device)
        many = width if found != "cpu" else min(usable_cores(), width)
        automatic = 1 if found != "cpu" else many
        self.workers = max(1, automatic if self.settings.workers == "auto" else min(self.settings.workers, width))
        return found

    def _ask_device(self, device: str) -> str:
        if not self._pool:
            self._pool.append(_Worker(self._answers))
        self._pool[0].tell({"do": "device", "device": device})
        worker, answer = self._answers.get()
        if answer is None:
            raise WorkError(f"the worker process {worker.how_it_died()}")
        if "error" in answer:
            raise failure_from_data(answer["error"])
        return str(answer["device"])

    def submit(self, submission: Submission) -> None:
        """Give the submission to an idle worker, starting one if all are busy."""
        idle = next((worker for worker in self._pool if worker.submission is None), None)
        if idle is None:
            idle = _Worker(self._answers)
            self._pool.append(idle)
        idle.submission = submission
        idle.tell({"do": "execute", "submission": submission.as_data()})

    def wait(self, timeout_s: float) -> Outcome | None:
        """Return the next outcome; a worker that died counts as a failure of its task and leaves the pool."""
        try:
            worker, answer = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            return None
        submission, worker.submission = worker.submission, None
        if answer is None:
            if worker in self._pool:
                self._pool.remove(worker)
            return Outcome(submission.id, error=self._death(worker, submission)) if submission else None
        if submission is None:
            return None
        if "error" in answer:
            return Outcome(submission.id, error=failure_from_data(answer["error"]))
        return Outcome(submission.id, manifest=answer["manifest"])

    @staticmethod
    def _death(worker: _Worker, submission: Submission) -> DistillError:
        log = Store(Path(submission.store)).work(submission) / LOG
        what = f"the worker process {worker.how_it_died()}"
        remedy = f"The log is {log}. The same command continues where the task stood"
        return WorkError(what, where=submission.id, remedy=remedy)

    def stop(self) -> None:
        """Kill the workers; their tasks resume from what they left."""
        for worker in self._pool:
            worker.kill()
        self._pool.clear()

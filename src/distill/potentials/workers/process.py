"""The starter's side of the workers' protocol: starts a script in another interpreter, asks, starts it again.

A worker that dies is started again and asked once more; if it dies on the same question a second time, that is the
answer. It is a process group of its own, so that an interrupt from the keyboard does not reach it, and it ends with the
object that holds it, with this process, or, if this process is killed, when its incoming pipe closes.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from distill.base.errors import UserError, WorkError
from distill.base.processes import DRAIN_S, kill_group, wait_for_end
from distill.base.streams import say
from distill.potentials.workers import calculator as calculator_worker
from distill.potentials.workers import protocol
from distill.potentials.workers.protocol import MISSING, READY, WorkerError

START_TIMEOUT = 120.0
"""Seconds that an interpreter may take to start and to import numpy and ase; slow shared disks take a minute."""

OPEN_TIMEOUT = 1800.0
"""Seconds that opening a model may take; some packages download their weights then."""

KEPT = 40
"""Lines of what a worker writes to its standard error that are kept for an error."""

SHOWN = 3
"""Lines of them that are part of the error's sentence; the others are in its notes."""


OnProgress = Callable[[dict[str, Any]], None]

Question = Mapping[str, Any] | Callable[[int], Mapping[str, Any]]
"""What is asked; where that depends on what the process knows, a function of :attr:`Worker.life`."""


class WorkerDied(Exception):
    """The worker ended without an answer; the text says how."""


class Worker:
    """A process in another interpreter that answers questions; nothing runs before the first one.

    Args:
        interpreter: path of the Python interpreter.
        script: a module of this package that it runs, with a :class:`~distill.potentials.workers.protocol.Server`.
        name: what it is for, in messages.
        opening: what it is asked first, each time that it is started.
        install: what to run where a package is missing there; the sentence ends with it.

    Attributes:
        life: how many processes were started so far: what one of them was told, the next does not know.
        restarts: how often a process that had died was followed by another.
        handshake: what the process said of itself when it was last started.
    """

    def __init__(
        self, interpreter: str, script: ModuleType, name: str, opening: Mapping[str, Any], install: str = ""
    ) -> None:
        self.interpreter, self.name, self.install = interpreter, name, install
        self.life, self.restarts = 0, 0
        self.handshake: dict[str, Any] = {}
        self._script = str(Path(script.__file__ or "").absolute())
        self._opening = {"do": "handshake", **opening}
        self._lock = threading.Lock()
        self._process: _Process | None = None

    @property
    def pid(self) -> int | None:
        """Number of the running process, if there is one."""
        return self._process.popen.pid if self._process else None

    def open(self) -> dict[str, Any]:
        """Return :attr:`handshake`, starting the process if need be.

        Raises:
            UserError: there is no such interpreter, or a package is missing in it.
            WorkError: it does not answer, or dies.
            WorkerError: the model cannot be opened.
        """
        with self._lock:
            self._running()
            return self.handshake

    def ask(self, question: Question, on_progress: OnProgress | None = None) -> dict[str, Any]:
        """Return the answer to a question; ``on_progress`` is given what it reports before.

        Raises:
            UserError: there is no such interpreter, or a package is missing in it.
            WorkError: the process died twice, or does not answer.
            WorkerError: it cannot be opened, or the question failed.
        """
        with self._lock:
            try:
                return self._asked(question, on_progress)
            except WorkerDied as death:
                self.close()
                self._tell_of_restart(death)
            try:
                return self._asked(question, on_progress)
            except WorkerDied as death:
                self.close()
                raise self._failed(f"the worker process {death}, and so did the one before it", death) from None

    def _asked(self, question: Question, on_progress: OnProgress | None) -> dict[str, Any]:
        process = self._running()
        return process.ask(question(self.life) if callable(question) else question, on_progress=on_progress)

    def close(self) -> None:
        """End the process; the next question starts another."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _running(self) -> _Process:
        """Return the process, once it has opened the model."""
        if self._process is None or self._process.broken:
            self.close()
            self._process = self._start()
            self.life += 1
        return self._process

    def _start(self, again: bool = True) -> _Process:
        """Return a process that has opened the model; one that is killed meanwhile is followed by another, once."""
        try:
            process = _Process(self.interpreter, self._script)
        except OSError as error:
            what = f"the interpreter cannot be started ({error.strerror})"
            raise UserError(what, self.interpreter, self.install) from None
        try:
            process.wait_until_ready()
            self.handshake = process.ask(self._opening, timeout=OPEN_TIMEOUT)
        except WorkerDied as death:
            process.end()
            if process.popen.returncode == MISSING and process.said:
                raise self._missing(process.said[-1].strip()) from None
            if again and process.popen.returncode == -signal.SIGKILL:
                self._tell_of_restart(death)
                return self._start(again=False)
            raise self._failed(f"the worker process {death}", death) from None
        except TimeoutError as error:
            process.end()
            raise self._failed(str(error)) from None
        except WorkerError as failure:
            process.end()
            if failure.kind == "missing":
                raise self._missing(failure.what) from None
            raise
        return process

    def _tell_of_restart(self, death: WorkerDied) -> None:
        self.restarts += 1
        say(f"distill: the worker of {self.name} {death}; it is started again")

    def _missing(self, package: str) -> UserError:
        return UserError(f"the package {package!r} is not installed there", self.interpreter, self.install)

    def _failed(self, what: str, death: WorkerDied | None = None) -> WorkError:
        error = WorkError(what, where=f"{self.name} in {self.interpreter}")
        for note in getattr(death, "__notes__", []):
            error.add_note(note)
        return error


class CalculatorWorker(Worker):
    """An ASE calculator in another interpreter; copies start a process of their own.

    Args:
        interpreter: path of the Python interpreter.
        model: its name, as in a recipe.
        file: of weights or of Python code, if any.
        function: for ``ase``: ``module:function``, or the function alone where ``file`` is a Python file.
        device: as torch names it.
        install: what to run where a package is missing there; the sentence ends with it.
    """

    def __init__(
        self, interpreter: str, model: str, file: str | None, function: str, device: str, install: str = ""
    ) -> None:
        self._arguments = (interpreter, model, file, function, device, install)
        opening = {"model": model, "file": file, "function": function, "device": device}
        super().__init__(interpreter, calculator_worker, model, opening, install)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments

    def evaluate(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return what :func:`distill.potentials.workers.calculator.evaluate` gives in the other interpreter.

        Raises:
            UserError, WorkError, WorkerError: as :meth:`Worker.ask` does.
        """
        return self.ask({"do": "evaluate", **batch})


class _Process:
    """One life of a worker: threads turn its answers into entries of a queue and keep what it says."""

    def __init__(self, interpreter: str, script: str) -> None:
        self.said: deque[str] = deque(maxlen=KEPT)
        self.broken = False
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.popen = subprocess.Popen(
            [interpreter, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name != "PYTHONHOME"},
        )
        self.end = weakref.finalize(self, _kill, self.popen, os.getpid())
        listening = threading.Thread(target=_listen, args=(self.popen.stdout, self._answers), daemon=True)
        self._keeping = threading.Thread(target=_keep, args=(self.popen.stderr, self.said), daemon=True)
        ending = threading.Thread(target=_wait, args=(self.popen, listening, self._answers), daemon=True)
        for thread in (listening, self._keeping, ending):
            thread.start()

    def wait_until_ready(self) -> None:
        """Return when it can be asked; raises :class:`WorkerDied` or TimeoutError."""
        self._next(START_TIMEOUT, "the interpreter did not start the worker")

    def ask(
        self, message: Mapping[str, Any], *, on_progress: OnProgress | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        """Return its answer to a message; raises :class:`WorkerDied`, :class:`WorkerError` or TimeoutError."""
        assert self.popen.stdin is not None  # noqa: S101 - asked for when it was started
        self.broken = True  # until its answer has come, whatever interrupts us: the next question would get that answer
        with suppress(BrokenPipeError):  # then it is dead, and there will be no answer
            self.popen.stdin.write(protocol.pack(dict(message)))
            self.popen.stdin.flush()
        while "progress" in (answer := self._next(timeout, "the model was not opened")):
            if on_progress is not None:
                on_progress(answer["progress"])
        self.broken = False
        if "error" in answer:
            raise worker_error_from(answer["error"])
        return answer

    def _next(self, timeout: float | None, what: str) -> dict[str, Any]:
        try:
            answer = self._answers.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"{what} within {timeout:.0f} s") from None
        if answer is None:
            raise self._death()
        return answer

    def _death(self) -> WorkerDied:
        """Return how it ended, with the last lines that it wrote."""
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(DRAIN_S)
        self._keeping.join(2)
        code = self.popen.poll()
        text = "closed its pipe" if code is None else f"ended with status {code}"
        if code is not None and code < 0:
            text = f"was killed by {signal.Signals(-code).name}"
            if code == -signal.SIGKILL:
                text += ", perhaps because memory ran out"
        lines = [line.strip() for line in list(self.said) if line.strip()]
        died = WorkerDied(f"{text} ({' / '.join(lines[-SHOWN:])})" if lines else text)
        died.add_note("It wrote at last:\n" + "\n".join(lines))
        return died


def worker_error_from(data: Mapping[str, Any]) -> WorkerError:
    """Return the error that a worker described, with its traceback as a note."""
    failure = WorkerError(data["kind"], data["what"], data["remedy"], data["structure"])
    failure.add_note(data["trace"])
    return failure


def _listen(pipe: IO[bytes], answers: queue.Queue[dict[str, Any] | None]) -> None:
    """Pass answers on, after the sign that the worker is ready; None at the end."""
    heard = b""
    while not heard.endswith(READY) and (byte := pipe.read(1)):
        heard = (heard + byte)[-len(READY) :]
    if heard.endswith(READY):
        answers.put({})
    with suppress(Exception):  # a message cut short is the end of the worker
        while (answer := protocol.receive(pipe)) is not None:
            answers.put(answer)
    answers.put(None)


def _wait(popen: subprocess.Popen[bytes], listening: threading.Thread, answers: queue.Queue[Any]) -> None:
    """Tell of a worker's death also where a process that it started keeps the pipe of its answers open."""
    wait_for_end(popen, listening)
    answers.put(None)


def _keep(pipe: IO[bytes], said: deque[str]) -> None:
    for line in pipe:
        said.append(line.decode(errors="replace").rstrip("\n"))


def _kill(popen: subprocess.Popen[bytes], owner: int) -> None:
    """End a worker and every process that it started; a fork of the starter leaves it alone."""
    if os.getpid() != owner:
        return
    kill_group(popen)
    popen.wait()

"""What runs in another interpreter: a process that answers messages, whatever they ask for.

:mod:`distill.potentials.workers.calculator` answers with an ASE calculator, :mod:`distill.potentials.workers.ace` for
ACE. They are run as scripts, also where this package is not installed: they import the standard library, numpy, ase,
msgpack and the model's own package, all but the first inside functions, and keep to Python 3.9.

A message is eight bytes of length and a msgpack map; arrays travel as their bytes. The pipes are moved away from
descriptors 0 and 1 before anything is imported, so that nothing a package prints gets between. When the incoming pipe
closes, whoever started this is gone, and it ends at once with all processes that it started, also while compiled code
keeps the interpreter's lock.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import queue
import signal
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

READY = b"\0distill worker 1\n"
"""Written once everything but the model is there; what an interpreter prints before is skipped."""

MISSING = 3
"""Exit status where a package is missing that is needed to answer at all; its name is the last thing said."""

NEEDED = ("msgpack", "numpy", "ase")
LENGTH = struct.Struct(">Q")

LONGEST = 1 << 36
"""Bytes of a message; what says that it is longer is none."""

SHOWN = 300
"""Letters of an exception that are shown."""


class WorkerError(Exception):
    """Why there is no answer.

    Args:
        kind: ``"input"`` (what was asked for is wrong), ``"missing"`` (``what`` is the package that is not installed),
            ``"structure"`` (the calculator failed on one structure), ``"result"`` (what it gave for one is not finite)
            or ``"work"`` (anything else).
        what: what is wrong, one clause.
        remedy: what can be done about it.
        structure: which structure of the batch.
    """

    def __init__(self, kind: str, what: str, remedy: str = "", structure: int = 0) -> None:
        super().__init__(what)
        self.kind, self.what, self.remedy, self.structure = kind, what, remedy, structure

    def as_data(self) -> dict[str, Any]:
        """Return what travels, the traceback included."""
        trace = "".join(traceback.format_exception(type(self), self, self.__traceback__))
        return {
            "kind": self.kind,
            "what": self.what,
            "remedy": self.remedy,
            "structure": self.structure,
            "trace": trace,
        }


def describe(error: BaseException) -> str:
    """Return an exception as one line of a length that can be read."""
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {first if len(first) <= SHOWN else first[:SHOWN] + ' ...'}"


def module(name: str, distribution: str) -> Any:
    """Import a module of a model's package; a package that is not there is named as pip knows it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name.partition(".")[0]:
            raise WorkerError("missing", distribution) from error
        raise


def see(folder: str) -> None:
    """Let modules be imported from a folder, after everything else."""
    if folder not in sys.path:
        sys.path.append(folder)


def structure(batch: dict[str, Any], k: int, begin: int, end: int) -> Any:
    """Return structure ``k`` of a batch as ASE knows it."""
    from ase import Atoms

    return Atoms(
        batch["numbers"][begin:end],
        positions=batch["positions"][begin:end],
        cell=batch["cells"][k],
        pbc=batch["pbc"][k],
    )


# ---- messages -------------------------------------------------------------------------------------------------------


def pack(message: dict[str, Any]) -> bytes:
    """Return a message as it travels."""
    import msgpack

    body = msgpack.packb(message, default=_array_as_map)
    return LENGTH.pack(len(body)) + body


def receive(pipe: Any) -> dict[str, Any] | None:
    """Return the next message of a pipe that is read in blocks; None where it has closed, or holds something else."""
    import msgpack

    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    if size > LONGEST:
        return None
    body = pipe.read(size)
    if len(body) < size:
        return None
    message: dict[str, Any] = msgpack.unpackb(body, object_hook=_map_as_array)
    return message


def _array_as_map(array: Any) -> dict[str, Any]:
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": array.tobytes()}


def _map_as_array(found: dict[str, Any]) -> Any:
    import numpy as np

    if found.keys() != {"dtype", "shape", "data"}:
        return found
    return np.frombuffer(found["data"], dtype=found["dtype"]).reshape(found["shape"])


# ---- the process ----------------------------------------------------------------------------------------------------


def serve(server: Server) -> None:
    """Answer requests until the incoming pipe closes."""
    sys.path[:] = [folder for folder in sys.path if folder != os.path.dirname(os.path.abspath(__file__))]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt from the keyboard is the starter's business
    requests, answers = take_pipes()
    lifeline().end_with_starter(requests.fileno())
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            traceback.print_exc()
            print(error.name or name, file=sys.stderr)
            sys.exit(MISSING)
    answers.write(READY)
    answers.flush()
    waiting: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=listen, args=(requests, waiting), daemon=True).start()

    own = os.getpid()

    def write(message: dict[str, Any]) -> None:
        if os.getpid() != own:  # a calculator has forked, and its child has come back from it
            os._exit(1)
        answers.write(pack(message))
        answers.flush()

    server.report = lambda progress: write({"progress": progress})
    while True:
        write(server.answer(waiting.get()))


def lifeline() -> Any:
    """Return :mod:`distill.base.lifeline`, from its place beside this file: the package may not be installed here."""
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.path.join(here, os.pardir, os.pardir, "base", "lifeline.py")
    spec = importlib.util.spec_from_file_location("distill_lifeline", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def take_pipes() -> tuple[Any, Any]:
    """Return the pipes of the messages on fresh descriptors; 0 becomes empty and 1 goes where 2 goes."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def listen(requests: Any, waiting: queue.Queue[dict[str, Any]]) -> None:
    """Pass requests on; end the process, and all that it started, when there are no more."""
    while (message := receive(requests)) is not None:
        waiting.put(message)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


class Server:
    """Answers requests by the method that ``do`` names; subclasses list theirs and keep what lasts between them.

    Class attributes:
        does: names of the methods that may be asked for; ``handshake`` comes first.

    Attributes:
        report: sends the progress of a request that takes long, any number of times before its answer.
    """

    does: tuple[str, ...] = ("handshake",)

    def __init__(self) -> None:
        self.report: Callable[[dict[str, Any]], None] = lambda progress: None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to one request, or the error that it met."""
        try:
            if request["do"] not in self.does:
                raise WorkerError("input", f"nothing is done for {request['do']!r}")
            answer: dict[str, Any] = getattr(self, request["do"])(request)
            return answer
        except WorkerError as failure:
            return {"error": failure.as_data()}
        except Exception as error:
            unforeseen = WorkerError("work", describe(error))
            unforeseen.__cause__ = error
            return {"error": unforeseen.as_data()}


def versions(packages: dict[str, str]) -> dict[str, str]:
    """Return the versions of Python and of packages, given as module and distribution, where they are loaded."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": sys.version.split()[0]}
    for name, distribution in packages.items():
        if name in sys.modules:
            try:
                found[distribution] = version(distribution)
            except PackageNotFoundError:
                continue
    return found

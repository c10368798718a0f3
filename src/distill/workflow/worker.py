"""The process that executes submitted tasks: reads JSON lines, answers JSON lines, and dies with whoever started it.

The pipes of the protocol are moved away from descriptors 0 and 1 first, so that nothing a stage prints or reads can get
between. When the incoming pipe closes, the starter is gone, and the process ends at once with all processes it started,
also while compiled code keeps the interpreter's lock. An interrupt from the keyboard is the starter's business and is
ignored here.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import signal
import sys
import threading
from typing import Any, TextIO

from distill.base.disk import disk_error
from distill.base.errors import DistillError, WorkError
from distill.base.lifeline import end_with_starter
from distill.workflow.machine import resolve_device
from distill.workflow.work import Submission, execute, failure_data


def main() -> None:
    """Execute submitted tasks until the incoming pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = _take_pipes()
    end_with_starter(requests.fileno())
    faulthandler.enable()
    waiting: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read, args=(requests, waiting), daemon=True).start()
    while True:
        answer = _serve(waiting.get())
        if answer is not None:
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


def _take_pipes() -> tuple[TextIO, TextIO]:
    """Return the protocol's pipes on fresh descriptors; 0 becomes empty and 1 goes where 2 goes."""
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _read(requests: TextIO, waiting: queue.Queue[dict[str, Any]]) -> None:
    for line in requests:
        waiting.put(json.loads(line))
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _serve(request: dict[str, Any]) -> dict[str, Any] | None:
    try:
        if request["do"] == "path":
            sys.path.extend(p for p in request["path"] if p not in sys.path)
            return None
        if request["do"] == "device":
            return {"device": resolve_device(request["device"])}
        return {"manifest": execute(Submission(**request["submission"]))}
    except DistillError as error:
        return {"error": failure_data(error)}
    except Exception as error:
        return {"error": failure_data(disk_error(error) or WorkError(f"{type(error).__name__}: {error}"))}


if __name__ == "__main__":
    main()

"""The end of a process that was started as a group of its own, with all that it started in turn."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress

DRAIN_S = 2.0
"""Seconds that reading on may take, once a process is dead, what it had answered before."""


def kill_group(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """Kill a process and every process of its group; none need be left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def wait_for_end(process: subprocess.Popen[bytes] | subprocess.Popen[str], listening: threading.Thread) -> None:
    """Wait until a process is dead and what it had answered is read, by ``listening``.

    The system tells of its death, not the end of its pipe: a process that it started may keep that open.
    """
    process.wait()
    kill_group(process)
    listening.join(DRAIN_S)

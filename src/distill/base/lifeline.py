"""A process that ends with whoever started it, whatever it is doing.

A thread that reads the incoming pipe sees the starter's end only while it gets the interpreter's lock; compiled code
that keeps that lock would outlive its run, and hold the locks of the store. So a second, small process looks at the
pipe. Other interpreters run this file too: it keeps to the standard library and to Python 3.9.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress

LOOK_MS = 1000
"""Milliseconds between two looks at what tells nothing by itself."""


def end_with_starter(pipe: int) -> None:
    """Have this process and its group killed once nobody holds the other end of a pipe, or its parent is another.

    To be called before threads are started. The process that looks after it is nobody's child, so that no ``wait``
    meets it, and ends with this one.

    Args:
        pipe: a descriptor that the starter writes to; what is written is left alone.
    """
    ward, starter = os.getpid(), os.getppid()
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return
    try:
        if os.fork() == 0:
            _watch(pipe, ward, starter)
    finally:
        os._exit(0)


def _watch(pipe: int, ward: int, starter: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watched = os.dup2(pipe, 0)
    os.closerange(1, min(os.sysconf("SC_OPEN_MAX"), 65536))
    poll = select.poll()
    poll.register(watched, 0)  # the end of the other side is always told
    ended = os.pidfd_open(ward) if hasattr(os, "pidfd_open") else -1
    if ended >= 0:
        poll.register(ended, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll(LOOK_MS):
            if descriptor == ended:
                return
            _kill(ward)
        if not _lives(ward):
            return
        if _parent(ward) not in (starter, None):
            _kill(ward)


def _kill(ward: int) -> None:
    """Kill a process, and all of its group where it leads one."""
    with suppress(ProcessLookupError):
        if os.getpgid(ward) == ward:
            os.killpg(ward, signal.SIGKILL)
        os.kill(ward, signal.SIGKILL)
    os._exit(0)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def _parent(process: int) -> int | None:
    """Return the parent of a process, None where the system does not say."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None

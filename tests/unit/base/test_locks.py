"""Locks, with the system's ``flock`` and with every answer of a file system that has none."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from distill.base.errors import WorkError
from distill.base.locks import foreign_holder, soft_file, try_lock

HOLDER = """
import errno, fcntl, sys, time
from pathlib import Path
from distill.base.locks import try_lock
def refuse(*arguments):
    raise OSError(int(sys.argv[2]), "")
if sys.argv[2] != "0":
    fcntl.flock = refuse
with try_lock(Path(sys.argv[1])) as attempt:
    print(attempt.locked, flush=True)
    time.sleep(600)
"""
KINDS = [0, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK]


@pytest.fixture(params=KINDS, ids=["flock", "ENOSYS", "EOPNOTSUPP", "ENOLCK"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The error that ``flock`` answers from now on, 0 where it works."""
    if request.param:
        without_flock(monkeypatch, request.param)
    return int(request.param)


def without_flock(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)


@contextmanager
def held(path: Path, kind: int) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until it is killed."""
    command = [sys.executable, "-c", HOLDER, str(path), str(kind)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "True\n"
        yield process
    finally:
        process.kill()
        process.wait()


def is_free(path: Path) -> bool:
    with try_lock(path) as attempt:
        return attempt.locked


def test_a_lock_is_exclusive_and_ends_with_its_block(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "deep" / "a.lock"
    for _ in range(2):
        with try_lock(path) as attempt:
            assert attempt.locked and not attempt.removed
            assert not is_free(path)
            assert is_free(tmp_path / "deep" / "b.lock")
    assert not soft_file(path).exists()
    with pytest.raises(KeyError), try_lock(path):
        raise KeyError
    assert is_free(path)


def test_a_lock_ends_with_its_process(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "a.lock"
    with held(path, kind) as process:
        assert not is_free(path)
        assert foreign_holder(path) == ""
    with try_lock(path) as attempt:
        assert attempt.locked
        assert attempt.removed == (f"process {process.pid}" if kind else "")
    assert is_free(path)


def test_a_process_that_is_dead_and_not_yet_waited_for_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.lock"
    without_flock(monkeypatch, errno.ENOSYS)
    with held(path, errno.ENOSYS) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_free(path)


def test_a_lock_of_another_machine_is_respected_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.lock"
    without_flock(monkeypatch, errno.ENOSYS)
    with held(path, errno.ENOSYS) as process:
        here = socket.gethostname()
        text = soft_file(path).read_text().replace(here, "node7")
    soft_file(path).write_text(text)  # as if the dead process had lived on another machine
    assert not is_free(path)
    assert (
        foreign_holder(path) == f"(held by process {process.pid} on node7; if that is dead, remove {soft_file(path)})"
    )
    soft_file(path).unlink()
    assert is_free(path)


def test_a_guard_that_was_left_behind_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_flock(monkeypatch, errno.ENOSYS)
    monkeypatch.setattr("distill.base.locks.GUARD_S", 0.1)
    guard = tmp_path / "a.guard"
    guard.write_text("4711\nnode7\n")
    with pytest.raises(WorkError, match=r"a\.guard: is there for longer"), try_lock(tmp_path / "a.lock"):
        pass


def test_other_errors_of_the_system_are_not_taken_for_missing_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_flock(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), try_lock(tmp_path / "a.lock"):
        pass
    assert not soft_file(tmp_path / "a.lock").exists()

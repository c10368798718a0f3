"""Locks between processes: the system's where the file system has them, else a file that names its holder.

A lock of the system ends with its process. Some network file systems have none (Lustre mounted without ``flock``, NFS
without its lock daemon, many in user space); there a second file beside the first is the lock while it exists. What a
dead process of this machine left is removed; whether one on another machine lives, nobody can know from here.
The two kinds do not see each other: machines that share a folder have to mount it alike.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from distill.base.errors import WorkError

if TYPE_CHECKING:
    from filelock import BaseFileLock, SoftFileLock

NO_FLOCK = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK}
"""What a file system without locks answers."""
SIGNED = ".holder"
"""What the names of files end with in which the holder of a lock says who it is."""
GUARD_S = 10.0
"""Seconds after which a file that is there for moments only counts as left behind."""


@dataclass(frozen=True)
class Attempt:
    """How an attempt to get a lock went.

    Attributes:
        locked: whether the lock is held now.
        removed: the dead process whose lock was removed for it, e.g. ``"process 4711"``, or empty.
    """

    locked: bool
    removed: str = ""


@contextmanager
def try_lock(path: Path) -> Iterator[Attempt]:
    """Hold a lock inside the ``with`` block if it is free; the file at ``path`` stays, and says nothing by itself.

    Raises:
        WorkError: where the file system has no locks, a file that is there for moments only does not go away.
        OSError: the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock: BaseFileLock = FileLock(path, fallback_to_soft=False)
    removed = ""
    try:
        try:
            lock.acquire(blocking=False)
        except OSError as error:
            if error.errno not in NO_FLOCK:
                raise
            lock, removed = _acquire_soft(soft_file(path))
    except Timeout:
        yield Attempt(False)
        return
    try:
        _sign(path)
        yield Attempt(True, removed)
    finally:
        signature(path).unlink(missing_ok=True)
        lock.release()


def soft_file(path: Path) -> Path:
    """Return the file that is the lock of ``path`` while it exists, where the file system has none."""
    return path.with_suffix(".held")


def signature(path: Path) -> Path:
    """Return the file in which the holder of the lock at ``path`` says who it is; by itself it means nothing."""
    return path.with_suffix(SIGNED)


def _sign(path: Path) -> None:
    """Say who holds a lock, where that can be written."""
    since = datetime.now().isoformat(" ", timespec="minutes")
    own = {"process": os.getpid(), "starter": os.getppid(), "host": os.uname().nodename, "since": since}
    with suppress(OSError):
        signature(path).write_text(json.dumps(own), encoding="utf-8")


@dataclass(frozen=True)
class _Signed:
    """What the holder of a lock says of itself."""

    process: int
    starter: int
    host: str
    since: str

    @property
    def is_dead(self) -> bool:
        """Whether it is known to be dead, as only its own machine can tell."""
        return self.host == os.uname().nodename and not is_alive(self.process)


def _read_signature(path: Path) -> _Signed | None:
    """Return what a signature says, None where there is none or nothing can be read in it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return _Signed(int(found["process"]), int(found["starter"]), str(found["host"]), str(found["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _signed(path: Path) -> str:
    """Return who says that it holds a lock; empty where that is this process, or one that it has started."""
    found = _read_signature(signature(path))
    if found is None or found.is_dead:
        return ""
    if found.host == os.uname().nodename and os.getpid() in (found.process, found.starter):
        return ""
    return f"(held by process {found.process} on {found.host} since {found.since})"


def is_held(path: Path) -> bool:
    """Return whether somebody holds a lock, by what it says of itself; nothing is locked or written for that.

    Whether a holder on another machine still lives, nobody can know from here: it counts.
    """
    found, soft = _read_signature(signature(path)), _holder(soft_file(path))
    if soft is not None and (soft.host.partition("?")[0] != os.uname().nodename or is_alive(soft.process)):
        return True
    return found is not None and not found.is_dead


def sweep_signatures(folder: Path) -> None:
    """Remove what dead processes of this machine have said of locks in ``folder``."""
    for path in folder.glob(f".*{SIGNED}"):
        found = _read_signature(path)
        if found is None or found.is_dead:
            path.unlink(missing_ok=True)


def foreign_holder(path: Path) -> str:
    """Return which other run holds a lock, and since when; empty where none does.

    How to end it, should it be dead, is said where only a file of another machine tells of it.
    """
    holder = _holder(soft_file(path))
    host = holder.host.partition("?")[0] if holder else ""  # what follows names a container
    if holder is None or host == os.uname().nodename:
        return _signed(path)
    return f"(held by process {holder.process} on {host}; if that is dead, remove {soft_file(path)})"


@dataclass(frozen=True)
class _Holder:
    """What a soft lock says of the process that made it."""

    process: int
    host: str


def _holder(path: Path) -> _Holder | None:
    """Return who made a soft lock, None where there is none or nothing can be read in it."""
    try:
        process, host, *_ = path.read_text(encoding="utf-8").split()
        return _Holder(int(process), host)
    except (OSError, ValueError):
        return None


def _acquire_soft(path: Path) -> tuple[SoftFileLock, str]:
    """Return the lock, held, and the dead process that had it; raises ``filelock.Timeout`` while a living one has it.

    Whoever wants the lock looks, removes and takes under a second lock, so that nobody removes what is not dead.
    """
    from filelock import SoftFileLock, Timeout

    lock, guard = SoftFileLock(path), path.with_suffix(".guard")
    try:
        alone = SoftFileLock(guard).acquire(timeout=GUARD_S)
    except Timeout:
        what, remedy = f"is there for longer than {GUARD_S:g} s", "Remove it if nothing runs on this store"
        raise WorkError(what, where=str(guard), remedy=remedy) from None
    with alone:
        holder, own = _holder(path), _holder(guard)
        dead = holder and own and holder.host == own.host and not is_alive(holder.process)
        if dead:
            lock.break_lock()
        lock.acquire(blocking=False)
        return lock, f"process {holder.process}" if dead and holder else ""


def is_alive(process: int) -> bool:
    """Return whether a process of this machine lives; one that is dead and still listed does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    with suppress(OSError, IndexError):  # other systems than Linux have no such file
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    return True

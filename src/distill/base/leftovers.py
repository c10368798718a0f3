"""Names of files that are there for moments only, and the removal of those that a dead process left.

Each name says in which process of which machine it was made: ``.writing-<machine>-<process>-<number>``. What a living
process or another machine made is left alone.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
from contextlib import suppress
from functools import cache
from pathlib import Path

from distill.base.locks import is_alive

KINDS = ("writing", "copying", "making", "trash", "linking")
"""Files that are being written, folders that are being copied, filled or deleted, and links that are being made."""

_NAME = re.compile(rf"\.({'|'.join(KINDS)})-([0-9a-f]{{8}})-(\d+)-")
_numbers = itertools.count()


def passing_name(kind: str, suffix: str = "") -> str:
    """Return a name that no other process uses, for what will be renamed or removed soon.

    Args:
        kind: one of :data:`KINDS`.
        suffix: what the name ends with; many writers choose their format by it.
    """
    return f".{kind}-{_machine()}-{os.getpid()}-{next(_numbers)}{suffix}"


def sweep(folder: Path, alone: bool = False) -> None:
    """Remove what processes left in ``folder`` that are dead.

    Args:
        folder: need not exist; where it cannot be written, all stays.
        alone: whether nobody but the caller uses the folder now. Then all that is for moments only goes, wherever it
            was made, and in the folders below too.
    """
    with suppress(OSError):
        for path in list(folder.rglob(".*") if alone else folder.glob(".*")):
            if path.name.startswith(tuple(f".{kind}-" for kind in KINDS)) and (alone or _was_left(path.name)):
                remove(path)


def remove(path: Path) -> None:
    """Delete a file, a link, or a folder with all that is in it; what cannot be deleted stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def remove_at_once(folder: Path) -> None:
    """Delete a folder; it is renamed first, so that nobody, even after a kill, sees half of it. It need not exist."""
    trash = folder.with_name(passing_name("trash", f"-{folder.name}"))
    with suppress(FileNotFoundError):
        folder.rename(trash)
        remove(trash)


def _was_left(name: str) -> bool:
    made = _NAME.match(name)
    return made is not None and made[2] == _machine() and not is_alive(int(made[3]))


@cache
def _machine() -> str:
    """Return a word for this machine, and for the container of processes on it: equal numbers mean equal processes."""
    with suppress(OSError):
        return _digits(f"{os.uname().nodename} {os.stat('/proc/self/ns/pid').st_ino}")
    return _digits(os.uname().nodename)


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]

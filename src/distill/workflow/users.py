"""Which runs use which artifacts: a run says so while it lasts, so that no other one deletes them under it.

``<store>/.runs/`` has a file for each run, with a lock that ends with the run's process. Runs enter one after another,
and who wants to delete looks before any other may enter.
"""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from distill.base.errors import WorkError
from distill.base.leftovers import remove
from distill.base.locks import try_lock
from distill.base.sealed import DamagedError, read_sealed, write_sealed

FOLDER = ".runs"
POLL_S = 0.05
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
"""What a place answers that may be read only: nobody deletes there either."""


@contextmanager
def using(
    root: Path, run: str, artifacts: Collection[str], unwanted: Collection[str], discard: Callable[[], None]
) -> Iterator[None]:
    """Say inside the ``with`` block that a run uses artifacts; before that, delete those that it does not want.

    Args:
        root: the store's folder.
        run: the run's name, for people.
        artifacts: hashes of what it uses.
        unwanted: hashes of what it deletes, none in most cases.
        discard: deletes it.

    Raises:
        WorkError: another run, which lives, uses what is unwanted.
    """
    folder = root / FOLDER
    with ExitStack() as stack:
        try:
            with _alone(folder):
                _refuse_used(folder, set(unwanted))
                discard()
                stack.enter_context(_entry(folder, run, artifacts))
        except OSError as error:
            if unwanted or error.errno not in READ_ONLY:
                raise
        yield


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other run enters."""
    while True:
        with try_lock(folder / "enter.lock") as attempt:
            if attempt.locked:
                yield
                return
        time.sleep(POLL_S)


@contextmanager
def _entry(folder: Path, run: str, artifacts: Collection[str]) -> Iterator[None]:
    path = folder / f".{uuid.uuid4().hex}.json"
    with try_lock(path.with_suffix(".lock")):
        since = datetime.now(UTC).isoformat(timespec="seconds")
        said = {"run": run, "process": os.getpid(), "host": os.uname().nodename, "since": since}
        write_sealed(path, said | {"artifacts": sorted(artifacts)})
        try:
            yield
        finally:
            remove(path)
            remove(path.with_suffix(".lock"))


def _refuse_used(folder: Path, unwanted: set[str]) -> None:
    """Raise if a living run uses what is unwanted; forget the dead ones."""
    for path in [lock.with_suffix(".json") for lock in folder.glob(".*.lock")]:  # some were killed before they said it
        with try_lock(path.with_suffix(".lock")) as attempt:
            if attempt.locked:
                remove(path)
                remove(path.with_suffix(".lock"))
                continue
        said = _said(path)
        if unwanted.intersection(said.get("artifacts", unwanted)):
            who = f"process {said.get('process', '?')} on {said.get('host', '?')}, since {said.get('since', '?')}"
            what = f"another run, {said.get('run', '?')}, uses what would be made again ({who})"
            raise WorkError(what, where="--force", remedy="Wait for it, or stop it")


def _said(path: Path) -> dict[str, Any]:
    """Return what a run says of itself; nothing where it has just ended, or the file is damaged."""
    try:
        return read_sealed(path)
    except FileNotFoundError:
        return {"artifacts": []}
    except (OSError, DamagedError):
        return {}

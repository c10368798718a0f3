"""What goes wrong with a disk, as a sentence that names the place and what to do."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path

from distill.base.errors import DistillError, UserError, WorkError

_AGAIN = "the same command continues where the work stood"
_ELSEWHERE = "or name another place with --runs, --store or --out"

_FULL = ("the disk is full", f"Free space there: {_AGAIN}")

_FAILURES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: ("your quota on this disk is used up", f"Free space there: {_AGAIN}"),
    errno.EFBIG: ("the file is larger than it may be here", f"Raise the limit (ulimit -f): {_AGAIN}"),
    errno.EIO: ("the disk cannot be read or written", f"Look at the system's log; once it is mended {_AGAIN}"),
}
"""By the number of the system's error: what is wrong at work, and what to do."""

_MISTAKES = {
    errno.EROFS: ("this disk can only be read", f"Mount it for writing, {_ELSEWHERE}"),
    errno.EACCES: ("you may not read or write here", f"Change its permissions (chmod), {_ELSEWHERE}"),
    errno.EPERM: ("you may not read or write here", f"Change its permissions (chmod), {_ELSEWHERE}"),
    errno.ELOOP: ("symbolic links lead round in a circle", f"Remove one of them, {_ELSEWHERE}"),
    errno.ENOTDIR: ("a file stands where a folder belongs", f"Move it away, {_ELSEWHERE}"),
    errno.ENAMETOOLONG: ("the name is longer than names may be here", "Choose a shorter one"),
}
"""By the number of the system's error: what is wrong with a place that was named, and what to do."""

_WRITERS = re.compile(r"No space left on device|PytorchStreamWriter failed|file write failed|unexpected pos \d+ vs")
"""How libraries that have no such number say that they could not write."""


def disk_error(error: BaseException, place: Path | None = None) -> DistillError | None:
    """Return a failure of the disk as a sentence, None where ``error`` is none.

    Args:
        error: what was raised, perhaps because of something else.
        place: where the work was going on, for errors that do not say it.
    """
    for one in _causes(error):
        if isinstance(one, OSError):
            where = one.filename2 or one.filename or place
            known = _FAILURES.get(one.errno or 0), _MISTAKES.get(one.errno or 0)
            for kind, found in zip((WorkError, UserError), known, strict=True):
                if found is not None and where is not None:
                    return kind(found[0], where=str(where), remedy=found[1])
        if place is not None and not isinstance(one, DistillError) and _WRITERS.search(str(one)):
            return WorkError(_FULL[0], where=str(place), remedy=_FULL[1])
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that it was raised from, or in the treatment of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

"""Put on the path of a run that is to die: Python imports it at the start as ``sitecustomize``.

``KILL_AT`` is ``ROLE:WHOM:EVENT:NUMBER:ROOT:FLAG``. The process of that role (``worker`` or ``run``) counts operations
of that kind (``any``, ``os.rename``, ``os.remove``, ``finish``) on files below ROOT by an audit hook. Just before the
NUMBER-th it kills itself, and its starter too where WHOM is ``all``. FLAG is a file that tells that it did, and
``finish`` is the renaming of a finished folder to its place.
"""

from __future__ import annotations

import os
import signal
import sys

OPERATIONS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "os.truncate", "os.chmod"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
HASH_DIGITS = 16


def role() -> str:
    """Return what this process is in a run."""
    words = " ".join(sys.orig_argv)
    return "worker" if "distill.workflow.worker" in words else "run" if " run " in words else ""


def counts(event: str, arguments: tuple[object, ...], wanted: str, root: str) -> bool:
    """Return whether an audited event is one of those that are counted."""
    if event not in OPERATIONS or wanted not in ("any", "finish", event):
        return False
    if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITING):
        return False
    names = [os.fsdecode(one) for one in arguments if isinstance(one, str | bytes | os.PathLike)]
    if wanted == "finish":
        return event == "os.rename" and names[0].endswith("/out") and len(os.path.basename(names[1])) == HASH_DIGITS
    beside = event in ("os.remove", "os.rmdir") and isinstance(arguments[-1], int) and arguments[-1] != -1
    return beside or any(root in name for name in names)  # beside: named relative to an open folder, as rmtree does


def arm(whom: str, wanted: str, number: int, root: str, flag: str) -> None:
    """Kill this process before the ``number``-th operation that counts."""
    left = [number]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if left[0] <= 0 or not counts(event, arguments, wanted, root):
            return
        left[0] -= 1
        if left[0]:
            return
        try:
            os.close(os.open(flag, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:  # another one has died
            return
        if whom == "all":
            os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if spec := os.environ.get("KILL_AT", ""):
    _role, _whom, _event, _number, _root, _flag = spec.split(":", 5)
    if _role == role():
        arm(_whom, _event, int(_number), _root, _flag)

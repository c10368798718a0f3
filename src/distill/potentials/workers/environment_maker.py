"""Make a virtual environment for potentials whose packages conflict with ours, in the versions that were tested.

It is made beside its place and renamed when it is whole: what is interrupted leaves nothing that could be taken for an
environment. Programs inside name the folder that they are in, and are told its last name before.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from importlib.resources import as_file, files
from pathlib import Path

from distill.base.errors import UserError, WorkError, nearest
from distill.base.leftovers import passing_name, remove, sweep
from distill.potentials.base import Architecture
from distill.potentials.workers.environments import (
    commands,
    environment_folder,
    environments,
    is_whole,
    requirements,
)

KEPT = 30
"""Lines of what pip says that are looked at when it fails."""

NO_INDEX = ("No matching distribution found", "ResolutionImpossible", "connection broken")
"""What pip says where it reaches no index, or one that has not got what is asked for."""


def make_environment(name: str, say: Callable[[str], None]) -> str:
    """Make the environment called ``name``, unless it is there; return what to write into a recipe.

    Args:
        name: of the folder, as ``distill doctor`` lists it, for instance ``"sevennet"``.
        say: is given one line after another of what is being done.

    Raises:
        UserError: there is no such environment, or something else is in its place.
        WorkError: it cannot be made.
    """
    known = environments()
    if name not in known:
        raise UserError(f"there is no environment {name!r}", "distill doctor --make", nearest(name, known))
    row = known[name]
    place = environment_folder(row).expanduser()
    if not is_whole(place, row):
        if place.exists():
            what = f"it is there, but {', '.join(row.packages or row.requires)} is not in it"
            raise UserError(what, str(place), f"Run: {commands(row)[1]} (or remove the folder)")
        _make(row, place, say)
        say(f"{place} is made")
    else:
        say(f"{place} is there already")
    return f"teacher: {{model: {row.name}, environment: {environment_folder(row)}}}"


def _make(row: type[Architecture], place: Path, say: Callable[[str], None]) -> None:
    """Make and fill an environment beside its place, then rename it."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkError(f"the folder cannot be made ({error.strerror})", str(place.parent)) from error
    sweep(place.parent)
    passing = place.with_name(passing_name("making", f"-{place.name}"))
    try:
        _run([sys.executable, "-m", "venv", str(passing)], say)
        with as_file(files("distill.potentials.workers") / "versions" / f"{place.name}.txt") as tested:
            constraint = ["--constraint", str(tested)] if tested.is_file() else []
            pip = [str(passing / "bin" / "python"), "-m", "pip", "install", "--retries", "2", "--no-input"]
            _run([*pip, *constraint, *requirements(row)], say)
        rename_inside(passing, place)
        try:
            passing.rename(place)
        except OSError:
            if not is_whole(place, row):  # another process was faster
                raise
    finally:
        remove(passing)


def _run(command: Sequence[str], say: Callable[[str], None]) -> None:
    """Run a command and pass on what it says; raises WorkError with its last error where it fails."""
    say(f"$ {shlex.join(command)}")
    said: deque[str] = deque(maxlen=KEPT)
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment.pop("PYTHONPATH", None)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment, text=True
    )
    assert process.stdout is not None  # noqa: S101 - asked for above
    try:
        for line in process.stdout:
            said.append(line.rstrip())
            say(f"  {line.rstrip()}")
    except BaseException:
        process.kill()
        raise
    finally:
        status = process.wait()
    if status:
        errors = [line for line in said if line.startswith("ERROR")] or [line for line in said if line] or [""]
        if any(word in line for word in NO_INDEX for line in said):
            what = (
                f"pip finds no package index that has what is needed ({errors[0].removeprefix('ERROR: ').rstrip('.')})"
            )
            raise WorkError(what, "distill doctor --make", "Connect to the network, or to a mirror of PyPI, and repeat")
        raise WorkError(
            f"{Path(command[0]).name} failed with status {status} ({errors[-1].removeprefix('ERROR: ')})",
            "distill doctor --make",
        )


def rename_inside(folder: Path, name: Path) -> None:
    """Let the programs of an environment, and what is written in it about its place, say that it is called ``name``."""
    for path in [folder / "pyvenv.cfg", *(folder / "bin").iterdir()]:
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if str(folder).encode() in content:
                path.write_bytes(content.replace(str(folder).encode(), str(name).encode()))

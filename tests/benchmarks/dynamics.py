"""A step of molecular dynamics of 192 atoms: replicas as one batch against ASE's loop, and ACE beside LAMMPS.

    python tests/benchmarks/dynamics.py --device cuda
    python tests/benchmarks/dynamics.py --device cpu --steps 20       # the rehearsal: seven minutes on one core
    python tests/benchmarks/dynamics.py --device cpu --ace MODEL      # ACE alone, beside LAMMPS

What is timed is what ``distill md`` does: Langevin dynamics (BAOAB, 0.5 fs) that is written to disk, from one
checkpoint to the next, lists of neighbours and samples (every 20 steps) included. What comes before the first
checkpoint does not count: there code is compiled and recorded. Students are untrained, with energies scaled down so
that they do not tear the water apart; a step costs the same. The interval is one of 95 % by Student's t over the parts
between two checkpoints. Run on one card, in one call, what is to be compared.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import training
from ase import Atoms
from ase.build import bulk
from ase.data import chemical_symbols
from ase.io import write
from generation import build_water, our_teacher, positive, say, table
from scipy.stats import t as student_t

from distill.base.errors import DistillError
from distill.base.progress import Progress, Record
from distill.dynamics.batched import run_batch
from distill.dynamics.course import Course, first_velocities
from distill.dynamics.ensembles import Ensemble
from distill.dynamics.md import run_md
from distill.dynamics.speed import describe_machine
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import load
from distill.structures.frames import Frames
from distill.workflow.machine import resolve_device

TIMESTEP_FS, EVERY = 0.5, 20
AIMS = {1: 2.0, 16: 4.0}
"""Milliseconds of a step of a student on an H200, by replicas."""
QUIET = 1e-3
"""Scale of the energies of an untrained student, eV."""

Run = Callable[[Course, Path, Progress], object]


@dataclass
class Checkpoints(Progress):
    """Notes when each checkpoint was reached.

    Attributes:
        steps: between two, of all replicas together.
        at: seconds.
    """

    steps: int
    at: list[float] = field(default_factory=list)

    def publish(self, record: Record, force: bool = False) -> None:
        """Note the time where as many steps are done as a further checkpoint has."""
        if record.done >= self.steps * (len(self.at) + 1):
            self.at.append(time.perf_counter())


def ms_per_step(run: Run, replicas: int, steps: int, parts: int) -> tuple[float, float]:
    """Return the milliseconds of a step of all replicas together, and half of the 95 % interval of their mean.

    Args:
        run: runs dynamics.
        replicas: that it runs.
        steps: between two checkpoints.
        parts: how many such are timed.
    """
    ps = steps * TIMESTEP_FS / 1000
    course = Course(ps * (parts + 1), TIMESTEP_FS, min(EVERY, steps) * TIMESTEP_FS, checkpoint_ps=ps)
    seen = Checkpoints(course.checkpoint * replicas)
    with tempfile.TemporaryDirectory() as folder:
        run(course, Path(folder), seen)
    took = 1000 * np.diff(seen.at) / course.checkpoint
    if len(took) < parts:
        raise RuntimeError("the dynamics broke")
    return float(took.mean()), float(student_t.ppf(0.975, parts - 1) * took.std(ddof=1) / np.sqrt(parts))


def in_ase(atoms: Atoms, potential: Potential) -> Run:
    """Return one replica through ASE."""
    held, calculator = Ensemble("nvt"), potential.calculator()
    return lambda course, folder, seen: run_md(atoms, calculator, held, course, folder / "0", progress=seen)


def in_batch(atoms: Atoms, potential: Potential, replicas: int) -> Run:
    """Return replicas in one pass of the network."""
    held = Ensemble("nvt")

    def run(course: Course, folder: Path, seen: Progress) -> object:
        folders = [folder / str(k) for k in range(replicas)]
        return run_batch(atoms, potential, held, course, folders, together=replicas, progress=seen)

    return run


def water_and_student(arch: str, device: str) -> tuple[Atoms, Potential]:
    """Return 64 molecules and an untrained student for them."""
    atoms = build_water(0, our_teacher(None, device), steps=10)
    frames = our_teacher(None, device).evaluate(Frames.from_atoms([atoms]))
    potential: Potential = training.Ours(arch, frames, 1, device).potential
    with torch.no_grad():
        potential.scale.fill_(QUIET)  # type: ignore[operator]
    return atoms, potential.eval()


def student_rows(options: argparse.Namespace) -> Iterator[str]:
    """Yield the rows of each student."""
    for arch in options.students:
        atoms, potential = water_and_student(arch, options.device)
        for compiled in (False, True) if options.compiled else (False,):
            if compiled:
                potential.compile_for("use")
            name = f"{arch}, compiled" if compiled else arch
            alone = ms_per_step(in_ase(atoms, potential), 1, options.steps, options.parts)
            yield row(name, "ASE's loop", 1, *alone, alone[0])
            for n in options.replicas:
                yield row(
                    name,
                    "batch",
                    n,
                    *ms_per_step(in_batch(atoms, potential, n), n, options.steps, options.parts),
                    alone[0],
                )


def row(model: str, engine: str, replicas: int, ms: float, half: float, alone: float | None) -> str:
    """Return a row of the table; ``alone`` are the milliseconds of one replica through ASE."""
    aim = f"{AIMS[replicas]:g}" if engine == "batch" and replicas in AIMS else ""
    times = f"{alone * replicas / ms:.1f}" if alone else ""
    text = f"| {model} | {engine} | {replicas} | {ms:.2f} ± {half:.2f} | {ms / replicas:.2f} | {times} | {aim} |"
    say(text)
    return text


# ACE


def ace_rows(options: argparse.Namespace) -> Iterator[str]:
    """Yield the rows of a saved ACE student on one core, in ASE's loop and in LAMMPS."""
    torch.set_num_threads(1)
    potential = load(options.ace)
    atoms = structure_of(potential)
    alone = ms_per_step(in_ase(atoms, potential), 1, options.steps, options.parts)
    yield row(f"ACE, {len(atoms)} atoms", "ASE's loop", 1, *alone, alone[0])
    program = shutil.which(options.lammps)
    if program is None or "pace" not in styles_of(program):
        what = f"there is no program {options.lammps}" if program is None else f"{program} has no pair style pace"
        say(f"LAMMPS is left out: {what}; name a LAMMPS with ML-PACE by --lammps")
        return
    took = [lammps_ms(program, atoms, options.ace, options.steps) for _ in range(options.parts)]
    half = float(student_t.ppf(0.975, len(took) - 1) * np.std(took, ddof=1) / np.sqrt(len(took)))
    yield row(f"ACE, {len(atoms)} atoms", "LAMMPS", 1, float(np.mean(took)), half, alone[0])


def structure_of(potential: Potential) -> Atoms:
    """Return water, or a crystal of at least 192 atoms for a potential of one element."""
    known = potential.elements or ()
    if set(known) == {1, 8}:
        return build_water(0, our_teacher(None, "cpu"), steps=10)
    if len(known) > 1:
        raise SystemExit("dynamics.py: ACE is timed for water or for one element")
    cell = bulk(chemical_symbols[known[0]], cubic=True)
    repeats = int(np.ceil((192 / len(cell)) ** (1 / 3)))
    return cell.repeat(repeats)


def styles_of(program: str) -> list[str]:
    """Return what LAMMPS says that it has been built with."""
    return subprocess.run([program, "-h"], capture_output=True, text=True).stdout.split()


def lammps_ms(program: str, atoms: Atoms, model: Path, steps: int) -> float:
    """Return the milliseconds of a step that LAMMPS reports, with the files that are saved with an ACE student."""
    symbols = sorted(set(atoms.get_chemical_symbols()))
    warm = atoms.copy()
    first_velocities(warm, 300.0, np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        for name in ("in.lammps", "potential.yace"):
            shutil.copy(model / name, folder)
        script = Path(folder) / "in.lammps"
        write(Path(folder) / "structure.data", warm, format="lammps-data", specorder=symbols, velocities=True)
        text = re.sub(r"timestep .*", f"timestep {TIMESTEP_FS / 1000}", script.read_text(encoding="utf-8"))
        text = re.sub(r"velocity all create.*\n", "", text)
        text = re.sub(r"fix dynamics.*", "fix dynamics all nve\nfix bath all langevin 300 300 0.1 1", text)
        script.write_text(re.sub(r"run \d+", f"run {max(steps, 100)}", text), encoding="utf-8")
        ran = subprocess.run([program, "-in", script.name], cwd=folder, capture_output=True, text=True)
    found = re.search(r"Loop time of ([\d.eE+-]+) on .* for (\d+) steps", ran.stdout)
    if ran.returncode or found is None:
        raise SystemExit(f"dynamics.py: LAMMPS failed: {(ran.stdout + ran.stderr)[-600:]}")
    return 1000 * float(found.group(1)) / int(found.group(2))


def arguments() -> argparse.Namespace:
    """Return the command line, read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu (default: cuda)")
    parser.add_argument("--students", nargs="+", default=["painn", "tensornet"], metavar="NAME")
    parser.add_argument(
        "--replicas", type=positive, nargs="+", default=sorted(AIMS), metavar="N", help="(default: 1 16)"
    )
    parser.add_argument("--steps", type=positive, default=500, help="between two checkpoints (default: 500)")
    parser.add_argument("--parts", type=positive, default=5, help="between checkpoints, that are timed (default: 5)")
    parser.add_argument("--compiled", action="store_true", help="compiled students too")
    parser.add_argument("--ace", type=Path, metavar="MODEL", help="folder of an ACE student: time it, and nothing else")
    parser.add_argument("--lammps", default="lmp", help="the program LAMMPS, with ML-PACE (default: lmp)")
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    options = arguments()
    options.device = resolve_device(options.device)
    rows = list(ace_rows(options) if options.ace else student_rows(options))
    print(f"{describe_machine(torch.device(options.device))}, torch {torch.__version__}\n")
    header = "| model | engine | replicas | ms a step of all | ms a step of one | times faster than one by one | aim |"
    print(table(header, rows))


if __name__ == "__main__":
    try:
        main()
    except DistillError as error:
        say(str(error))
        sys.exit(error.exit_code)

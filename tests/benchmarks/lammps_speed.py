"""A step of molecular dynamics by ``pair_style distill``, beside our calculator, eager and compiled.

    python tests/benchmarks/lammps_speed.py               # a PaiNN and a TensorNet student of default size: minutes
    python tests/benchmarks/lammps_speed.py --model MODEL --cells 2 4 --skip-compiled

Silicon at 600 K, constant energy, 1 fs, one core. What is timed is the processor's time, not that of the clock, so that
other work on the machine disturbs less: of LAMMPS the difference between a long and a short run, of our calculator that
of steps after the first. The interval is one of 95 % by Student's t over repetitions.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet
from generation import table
from scipy.stats import t as student_t

from distill.dynamics.speed import describe_machine
from distill.exporting.lammps.build import build_plugin, find_lammps
from distill.exporting.lammps.compare import Setting, setup, write_data
from distill.exporting.lammps.run import run_lammps
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import load
from distill.potentials.native.model_file import write_model_file
from distill.potentials.students.painn import PaiNN
from distill.potentials.students.tensornet import TensorNet

TEMPERATURE, SEED = 600, 1


def students(model: str | None) -> dict[str, Potential]:
    """The student that is named, or untrained ones of default size, whose energies are too small to tear a crystal."""
    if model is not None:
        return {Path(model).name: load(model)}
    built = {"painn": PaiNN.build(PaiNN.Settings(), seed=0), "tensornet": TensorNet.build(TensorNet.Settings(), seed=0)}
    for student in built.values():
        student.elements = (14,)
        with torch.no_grad():
            student.scale.fill_(0.01)
    return built


def silicon(cells: int) -> Atoms:
    return bulk("Si", "diamond", a=5.43, cubic=True) * (cells, cells, cells)


def in_lammps(student: Potential, atoms: Atoms, precision: str, steps: int) -> Callable[[], float]:
    """What returns the processor's time of a step, s."""
    lammps, folder = find_lammps(), Path(tempfile.mkdtemp())
    write_model_file(student, folder / "model.distill", precision)  # type: ignore[arg-type]
    setting = Setting(lammps, "distill", build_plugin(lammps), folder / "model.distill", student.elements or ())
    write_data(setting, atoms, folder / "cell.data")

    def spent(n: int) -> float:
        dynamics = f"velocity all create {TEMPERATURE} {SEED}\nfix 1 all nve\ntimestep 0.001\nrun {n}\n"
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        run_lammps(setting.lammps, setting.plugin, setup(setting, "cell.data") + dynamics, folder)
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

    return lambda: (spent(steps) - spent(0)) / steps


def in_ase(student: Potential, atoms: Atoms, compiled: bool, steps: int) -> Callable[[], float]:
    """What returns the processor's time of a step, s."""
    atoms = atoms.copy()
    atoms.calc = student.calculator(compiled=compiled)
    random = np.random.default_rng(SEED).normal(size=atoms.positions.shape)
    atoms.set_momenta(random * np.sqrt(units.kB * TEMPERATURE * atoms.get_masses())[:, None])
    dynamics = VelocityVerlet(atoms, units.fs)
    dynamics.run(2)

    def step() -> float:
        before = time.process_time()
        dynamics.run(steps)
        return (time.process_time() - before) / steps

    return step


def measured(step: Callable[[], float], repetitions: int, n_atoms: int) -> str:
    """Microseconds an atom and step, with the interval, as text."""
    times = 1e6 * np.array([step() for _ in range(repetitions)]) / n_atoms
    half = student_t.ppf(0.975, repetitions - 1) * times.std(ddof=1) / np.sqrt(repetitions)
    return f"{times.mean():.3g} ± {half:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a student that knows silicon")
    parser.add_argument("--cells", type=int, nargs="+", default=[2, 5], help="cubic cells along each side")
    parser.add_argument("--atom-steps", type=int, default=20000, help="atoms times steps of one repetition in LAMMPS")
    parser.add_argument("--repetitions", type=int, default=4)
    parser.add_argument("--skip-compiled", action="store_true", help="compiling takes a minute for each student")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(describe_machine(torch.device("cpu")))
    rows: list[str] = []
    for name, student in students(options.model).items():
        for cells in options.cells:
            atoms = silicon(cells)
            steps = max(5, options.atom_steps // len(atoms))
            ways = {f"LAMMPS, {p}": in_lammps(student, atoms, p, steps) for p in ("single", "double")}
            ours = max(3, steps // 20)
            ways["ASE, eager"] = in_ase(student, atoms, False, ours)
            if not options.skip_compiled:
                ways["ASE, compiled"] = in_ase(student, atoms, True, ours)
            for way, step in ways.items():
                student.compiled = "use" if way.endswith("compiled") else "no"
                value = measured(step, options.repetitions, len(atoms))
                rows.append(f"| {name} | {len(atoms)} | {way} | {value} |")
                print(rows[-1], flush=True)
    print(table("| student | atoms | by | µs an atom and step |", rows))


if __name__ == "__main__":
    main()

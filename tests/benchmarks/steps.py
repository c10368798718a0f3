"""What a step of molecular dynamics with a student costs by every way there is, for an atom.

    python tests/benchmarks/steps.py                # PaiNN and TensorNet of default size, 64 and 512 atoms: minutes
    python tests/benchmarks/steps.py --cells 2 8 23 --skip compiled eager graph-pes     # up to 97 336 atoms
    python tests/benchmarks/steps.py --model MODEL --skip compiled --threads 2

Silicon at 600 K, constant energy, 1 fs. What is timed is the processor's time, not that of the clock, so that other
work on the machine disturbs less; with --threads C++ is also timed on so many, by the clock: then nothing else should
run. Of LAMMPS it is the difference between a long and a short run, of calculators that of steps after the first ones,
ASE's integrator included. The interval is one of 95 % by Student's t over repetitions. LAMMPS is left out where there
is none.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.md.verlet import VelocityVerlet
from generation import table
from scipy.stats import t as student_t

from distill.dynamics.speed import describe_machine
from distill.exporting.lammps.build import build_plugin, find_lammps
from distill.exporting.lammps.compare import Setting, setup, write_data
from distill.exporting.lammps.run import run_lammps
from distill.potentials.interface.calculator import PotentialCalculator
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import load
from distill.potentials.native.calculator import NativeCalculator
from distill.potentials.native.model_file import write_model_file
from distill.potentials.students.painn import PaiNN
from distill.potentials.students.tensornet import TensorNet

TEMPERATURE, SEED = 600, 1
WARM_UP = 2
Step = Callable[[], float]
"""Returns the time of a step, s."""


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


def in_lammps(student: Potential, atoms: Atoms, precision: str, steps: int) -> Step:
    """Steps by the pair style on one rank."""
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


def in_ase(calculator: Calculator, atoms: Atoms, steps: int, threads: int = 1, compiled: bool = False) -> Step:
    """Steps by a calculator; on several threads by the clock."""
    atoms = atoms.copy()
    atoms.calc = calculator
    random = np.random.default_rng(SEED).normal(size=atoms.positions.shape)
    atoms.set_momenta(random * np.sqrt(units.kB * TEMPERATURE * atoms.get_masses())[:, None])
    dynamics = VelocityVerlet(atoms, units.fs)
    clock = time.process_time if threads == 1 else time.perf_counter

    def spent(n: int) -> float:
        potential = getattr(calculator, "potential", None)
        if isinstance(potential, Potential):
            potential.compiled = "use" if compiled else "no"
        torch.set_num_threads(threads)
        before = clock()
        dynamics.run(n)
        torch.set_num_threads(1)
        return clock() - before

    spent(WARM_UP)
    return lambda: spent(steps) / steps


def of_graph_pes(student: Potential) -> Calculator:
    """The same network of graph-pes, untrained, by its own calculator."""
    from graph_pes.models import PaiNN as Theirs

    model = Theirs(**student.settings.network_arguments())  # type: ignore[attr-defined]
    return model.eval().ase_calculator()


def ways(student: Potential, atoms: Atoms, steps: int, threads: int, skip: list[str]) -> dict[str, Step]:
    """All ways to make steps, by name."""
    found: dict[str, Step] = {}
    if importlib.util.find_spec("lammps") is not None and "lammps" not in skip:
        found |= {f"LAMMPS, {p}": in_lammps(student, atoms, p, steps) for p in ("single", "double")}
    few = max(3, steps // 20)
    if "c++" not in skip:
        for precision in ("single", "double"):
            student.in_precision("float32" if precision == "single" else "float64")
            found[f"C++, {precision}"] = in_ase(NativeCalculator(student), atoms, steps)
        student.in_precision("float32")
        if threads > 1:
            name = f"C++, single, {threads} threads by the clock"
            found[name] = in_ase(NativeCalculator(student), atoms, steps, threads)
    if "eager" not in skip:
        found["torch"] = in_ase(PotentialCalculator(student), atoms, few)
    if "compiled" not in skip:
        found["torch, compiled"] = in_ase(PotentialCalculator(student), atoms, few, compiled=True)
    if "graph-pes" not in skip and student.architecture == "painn":
        found["graph-pes"] = in_ase(of_graph_pes(student), atoms, few)
    return found


def measured(step: Step, repetitions: int, n_atoms: int) -> str:
    """Microseconds an atom and step, with the interval, as text."""
    times = 1e6 * np.array([step() for _ in range(repetitions)]) / n_atoms
    half = student_t.ppf(0.975, repetitions - 1) * times.std(ddof=1) / np.sqrt(repetitions)
    return f"{times.mean():.3g} ± {half:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a student that knows silicon")
    parser.add_argument("--cells", type=int, nargs="+", default=[2, 4], help="cubic cells along each side")
    parser.add_argument("--atom-steps", type=int, default=10000, help="atoms times steps of one repetition of the fast")
    parser.add_argument("--repetitions", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1, help="time C++ on so many as well")
    parser.add_argument("--skip", nargs="+", default=[], choices=["lammps", "c++", "eager", "compiled", "graph-pes"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{describe_machine(torch.device('cpu'))}; load {os.getloadavg()[0]:.1f}")
    rows: list[str] = []
    for name, student in students(options.model).items():
        for cells in options.cells:
            atoms = silicon(cells)
            steps = max(5, options.atom_steps // len(atoms))
            for way, step in ways(student, atoms, steps, options.threads, options.skip).items():
                rows.append(f"| {name} | {len(atoms)} | {way} | {measured(step, options.repetitions, len(atoms))} |")
                print(rows[-1], flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")
    print(table("| student | atoms | by | µs an atom and step |", rows))


if __name__ == "__main__":
    main()

"""A hundred thousand atoms in LAMMPS on several ranks: memory, time, and whether the energy is kept.

    python tests/benchmarks/lammps_large.py MODEL                       # silicon, 100 000 atoms, 1000 steps, two ranks
    python tests/benchmarks/lammps_large.py MODEL --cells 10 10 12 --steps 200

Diamond silicon is heated to 300 K and left alone, without a thermostat, in single precision. The drift is the slope of
the total energy by least squares through the means of ten blocks of the run, with its 95 % interval by Student's t; the
first fifth of the steps, in which the potential energy comes to what the temperature asks for, counts for time alone.
Memory is the largest resident size that one rank came to.
"""

from __future__ import annotations

import argparse
import re
import resource
from pathlib import Path

import numpy as np
import torch
from ase.build import bulk
from scipy.stats import linregress
from scipy.stats import t as student_t

from distill.dynamics.speed import describe_machine
from distill.exporting.lammps.build import find_lammps
from distill.exporting.lammps.compare import Setting, setup, write_data
from distill.exporting.lammps.run import run_lammps
from distill.exporting.lammps.styles import style_of
from distill.potentials.interface.saving import load

SEED, TEMPERATURE, TIMESTEP_PS, BLOCKS = 1, 300.0, 0.001, 10
SETTLING = 0.2
"""Of the steps, before the first block."""


def script(setting: Setting, data: str, steps: int) -> str:
    """An input: the crystal with twice the temperature's kinetic energy, half of which becomes potential energy."""
    return f"""{setup(setting, data)}velocity all create {2 * TEMPERATURE} {SEED}
fix 1 all nve
timestep {TIMESTEP_PS}
thermo 1
thermo_style custom step temp etotal press
thermo_modify flush yes format float %.12g
run {steps}
"""


def rows_of(log: str) -> np.ndarray:
    """Step, temperature, total energy and pressure of each step that a log has, ``[n, 4]``."""
    body = log.partition("TotEng")[2].partition("Loop time")[0].splitlines()[1:]
    return np.array([line.split() for line in body if len(line.split()) == 4], dtype=float)


def drift(rows: np.ndarray, n_atoms: int) -> tuple[float, float]:
    """Slope of the energy and half of its interval, eV an atom and ps."""
    settled = rows[int(SETTLING * len(rows)) :]
    blocks = np.array_split(settled, BLOCKS)
    times = [TIMESTEP_PS * block[:, 0].mean() for block in blocks]
    line = linregress(times, [block[:, 2].mean() / n_atoms for block in blocks])
    return line.slope, student_t.ppf(0.975, BLOCKS - 2) * line.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a student that knows silicon")
    parser.add_argument("--cells", type=int, nargs=3, default=[25, 25, 20], help="cubic cells, of eight atoms each")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--precision", default="single", choices=("single", "double"))
    parser.add_argument("--out", type=Path, default=Path("lammps-large"), help="folder of the run")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    student, lammps = load(options.model), find_lammps()
    style = style_of(student)
    style.write(student, options.out / style.file, options.precision)
    setting = Setting(lammps, style.command, style.plugin(lammps), (options.out / style.file).resolve(), (14,))
    atoms = bulk("Si", "diamond", a=5.43, cubic=True) * options.cells
    write_data(setting, atoms, options.out / "crystal.data")
    said = run_lammps(
        lammps, setting.plugin, script(setting, "crystal.data", options.steps), options.out, options.ranks
    )
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    rows = rows_of((options.out / "log.lammps").read_text())
    (seconds,) = re.findall(r"Loop time of (\S+) on", said)
    (used,) = re.findall(r"(\S+)% CPU use", said)
    slope, half = drift(rows, len(atoms))
    settled = rows[int(SETTLING * len(rows)) :]
    print(describe_machine(torch.device("cpu")))
    print(f"{len(atoms)} atoms, {options.steps} steps of {1000 * TIMESTEP_PS:g} fs, {options.ranks} ranks")
    print(f"wall time {float(seconds):.0f} s, {used} % of each core, {memory:.0f} MiB a rank")
    each = 1e6 * float(seconds) / options.steps / len(atoms)
    print(f"{each:.1f} µs of wall time an atom and step; {each * options.ranks * float(used) / 100:.1f} of one core")
    print(f"temperature {settled[:, 1].mean():.1f} K, drift {1e6 * slope:.2g} ± {1e6 * half:.1g} µeV an atom and ps")
    print(f"largest departure of the energy {1e6 * np.ptp(settled[:, 2]) / len(atoms):.2g} µeV an atom")


if __name__ == "__main__":
    main()

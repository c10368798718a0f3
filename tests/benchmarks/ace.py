"""ACE: AdamW in batches against BFGS from the same start, and a step of molecular dynamics against the teacher's.

    python tests/benchmarks/ace.py --label runs/.store/label/HASH --teacher runs/quickstart/models/teacher

The two fits have the same data, basis, weights, loss (kappa) and engine; what differs is how the coefficients move.
The table says from when on each stayed below which error on the validation families (or on the structures of --judge,
for instance a DFT test set), the compilation of the loss included. For the speed of a step everything runs on one core,
with 64 atoms of silicon; the teacher is also timed in its own package's calculator.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.build import bulk

from distill.potentials.interface.saving import load
from distill.potentials.students.ace import ACE
from distill.structures.read import read_frames
from distill.training.ace.settings import BFGS, Batches
from distill.training.ace.train import train_ace

NRADMAX, LMAX = (15, 5, 3, 2), (0, 2, 2, 1)
"""The basis of the recipe ``quickstart-ace``."""


def arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--label", type=Path, required=True, help="folder with train.xyz and valid.xyz of a finished run"
    )
    parser.add_argument("--teacher", type=Path, required=True, help="folder of the teacher")
    parser.add_argument("--judge", type=Path, help="labelled structures that the errors are of, instead of valid.xyz")
    parser.add_argument("--minutes", type=float, default=10.0, help="for BFGS")
    parser.add_argument("--kappa", type=float, default=0.95, help="share of the forces in the loss")
    parser.add_argument("--epochs", type=int, default=50, help="of AdamW")
    parser.add_argument("--batch", type=int, default=8, help="structures of a step of AdamW")
    parser.add_argument("--rate", type=float, default=0.01, help="learning rate of AdamW")
    parser.add_argument("--cutoff", type=float, default=5.0, help="Å")
    parser.add_argument("--errors", type=float, nargs="+", default=[100, 90, 80, 75, 72, 70, 68], help="meV/Å")
    return parser.parse_args()


def curve(options: argparse.Namespace, **phases: Any) -> tuple[Any, list[Any]]:
    """Return a fitted student and the learning curve of one way to fit."""
    train, valid = (read_frames(path)[0] for path in (options.label / "train.xyz", judged(options)))
    settings = ACE.Settings(cutoff=options.cutoff, nradmax=NRADMAX, lmax=LMAX)
    with tempfile.TemporaryDirectory() as folder:
        student, state = train_ace(
            settings,
            train,
            valid,
            seed=0,
            purpose=("benchmark",),
            force_scale=3.0,
            work=Path(folder),
            **phases,
        )
    return student, state.result.curve


def judged(options: argparse.Namespace) -> Path:
    """Return the file of the structures that the errors are of."""
    path: Path = options.judge or options.label / "valid.xyz"
    return path


def below(rows: list[Any], error: float) -> float | None:
    """Return the seconds from which on the force error stays below ``error``, meV/Å."""
    seconds = None
    for row in rows:
        if 1000 * row.valid_forces_mae >= error:
            seconds = None
        elif seconds is None:
            seconds = row.seconds
    return seconds


def step_ms(calculator: Any, steps: int = 40) -> float:
    """Return the median milliseconds of a step with 64 atoms of silicon."""
    atoms = bulk("Si", cubic=True).repeat((2, 2, 2))
    atoms.calc = calculator
    rng, times = np.random.default_rng(0), []
    for number in range(steps + 5):
        atoms.positions += 0.01 * rng.normal(size=atoms.positions.shape)
        begin = time.perf_counter()
        atoms.get_forces()
        if number >= 5:
            times.append(time.perf_counter() - begin)
    return 1000 * float(np.median(times))


def main() -> None:
    """Print both tables."""
    options = arguments()
    batches = Batches(epochs=options.epochs, batch_size=options.batch, learning_rate=options.rate, kappa=options.kappa)
    student, adamw = curve(options, batches=batches, bfgs=None)
    second = BFGS(iterations=10_000, kappa=options.kappa)
    _, bfgs = curve(options, batches=None, bfgs=second, max_time=options.minutes)
    print(f"errors of {judged(options)}, {torch.get_num_threads()} threads")
    print(f"{'forces below, meV/Å':>20} {'AdamW, s':>10} {'BFGS, s':>10} {'ratio':>7}")
    for error in options.errors:
        fast, slow = below(adamw, error), below(bfgs, error)
        ratio = f"{slow / fast:.1f}" if fast and slow else f"> {bfgs[-1].seconds / fast:.1f}" if fast else "-"
        shown = [f"{value:.0f}" if value else "not" for value in (fast, slow)]
        print(f"{error:>20.0f} {shown[0]:>10} {shown[1]:>10} {ratio:>7}")
    for name, rows in (("AdamW", adamw), ("BFGS", bfgs)):
        best = 1000 * min(row.valid_forces_mae for row in rows)
        print(f"{name}: {best:.1f} meV/Å at best, {rows[-1].seconds:.0f} s, {rows[-1].step} steps")
    steps(load(options.teacher), student)


def steps(teacher: Any, student: Any) -> None:
    """Print the milliseconds of a step, measured in turns on one core."""
    from chgnet.model import CHGNet, CHGNetCalculator

    torch.set_num_threads(1)
    student = copy.deepcopy(student)  # its process starts with as many threads
    calculators = {
        "the teacher's package": CHGNetCalculator(CHGNet.load(verbose=False, use_device="cpu"), use_device="cpu"),
        "teacher": teacher.calculator(),
        "ACE": student.calculator(),
    }
    times = [[step_ms(calculator) for calculator in calculators.values()] for _ in range(5)]
    medians = dict(zip(calculators, np.median(times, axis=0), strict=True))
    for name, milliseconds in medians.items():
        times_slower = milliseconds / medians["ACE"]
        print(f"64 atoms, one core: {name} {milliseconds:.2f} ms a step, {times_slower:.0f} times that of ACE")


if __name__ == "__main__":
    main()

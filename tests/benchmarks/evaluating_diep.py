"""DIEP by its own package and by distill: energies, forces and stresses of the same cells, in turns, both warmed up.

The package's calculator takes one structure at a time; distill does so too, and once more in batches. Seconds of CPU a
structure, fastest and slowest round, and the largest difference of the forces.

    python tests/benchmarks/evaluating_diep.py --threads 1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from diep.pretrained import make_calculator

from distill.base.arrays import Array
from distill.potentials import POTENTIALS
from distill.structures.read import read_frames

SILICON = Path(__file__).parents[2] / "data" / "silicon" / "test.xyz"


def cells(count: int) -> dict[str, list[Atoms]]:
    """Return silicon cells of 16 atoms, as they are labelled, and some of 128."""
    small = read_frames(SILICON)[0].to_atoms()[:count]
    return {"16 atoms": small, "128 atoms": [atoms.repeat((2, 2, 2)) for atoms in small[: max(1, count // 8)]]}


def ways() -> dict[str, Callable[[list[Atoms]], Array]]:
    """Return what is compared: a function of structures that gives their forces."""
    calculator = make_calculator()
    row = POTENTIALS["diep-2.0"]
    ours = row.build(row.Settings(), seed=0)

    def package(structures: list[Atoms]) -> Array:
        forces = []
        for atoms in structures:
            calculator.reset()  # or it would answer from memory
            atoms.calc = calculator
            forces.append(atoms.get_forces())
            atoms.get_stress()
        return np.concatenate(forces)

    return {
        "package": package,
        "distill, one by one": lambda them: np.concatenate([np.asarray(ours.evaluate([one]).forces) for one in them]),
        "distill": lambda them: np.asarray(ours.evaluate(them).forces),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    compared = ways()
    print(f"{'cell':>10} {'by':<20} {'s a structure':>22} {'faster':>7} {'forces differ by (eV/Å)':>24}")
    for size, structures in cells(options.structures).items():
        forces = {name: way(structures) for name, way in compared.items()}  # warms up
        times: dict[str, list[float]] = {name: [] for name in compared}
        for _ in range(options.rounds):
            for name, way in compared.items():
                begin = time.process_time()
                way([atoms.copy() for atoms in structures])
                times[name].append((time.process_time() - begin) / len(structures))
        base = float(np.median(times["package"]))
        for name, found in times.items():
            middle, difference = float(np.median(found)), np.abs(forces[name] - forces["package"]).max()
            spread = f"{middle:.3f} [{min(found):.3f}-{max(found):.3f}]"
            print(f"{size:>10} {name:<20} {spread:>22} {base / middle:>7.1f} {difference:>24.1e}")


if __name__ == "__main__":
    main()

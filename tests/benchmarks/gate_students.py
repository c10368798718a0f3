"""What mends students that fail the safety gate: the reach of the repulsion of nuclei, and structures that are grown.

    python tests/benchmarks/gate_students.py --run runs/quickstart
    python tests/benchmarks/gate_students.py --grown synthetic.xyz --steps 500

PaiNN students of default size, trained alike on the quickstart's 25 cells or on what a run has grown from them, without
repulsion, with the reach that it had before (in full at half of the sum of the covalent radii, none from three quarters
on), and as it is. Each goes through the gate, with the test set's structures, at 600 K.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from generation import table

from distill.exporting.gate import Gate, run_gate
from distill.potentials.networks.student import Student
from distill.potentials.networks.zbl import FORMER_RANGE, ZBLRepulsion
from distill.potentials.students.painn import PaiNN
from distill.structures.frames import Frames
from distill.structures.read import read_frames
from distill.training.gradient.fit import fit

SILICON = Path("data/silicon")
REPULSION = ("none", "former reach", "present reach")


def trained(repulsion: str, train: Frames, valid: Frames, steps: int, seed: int) -> Student:
    """A student of default size."""
    student = PaiNN.create(PaiNN.Settings(short_range_repulsion=repulsion != "none"), seed=seed)
    assert isinstance(student, Student)
    if repulsion == "former reach":
        assert isinstance(student.short_range_repulsion, ZBLRepulsion)
        student.short_range_repulsion.range.copy_(torch.tensor(FORMER_RANGE))
    student.initialise(train)
    with tempfile.TemporaryDirectory() as work:
        fit(student, train, valid, steps=steps, batch_size=8, learning_rate=0.01, seed=seed, work=Path(work))
    return student.eval()


def row(data: str, repulsion: str, seed: int, gate: Gate) -> str:
    """What the gate found, one line of a table."""
    failed = "; ".join(one.sentence for one in gate.failures) or "passes"
    return f"| {data} | {repulsion} | {seed} | {len(gate.failures)} of {len(gate.rows)} | {failed} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a run that has grown structures")
    parser.add_argument("--grown", type=Path, help="the file of these structures, where there is no run")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    grown = options.grown or options.run / "synthetic.xyz"
    sets = {"25 cells": read_frames(SILICON / "train.xyz")[0], "grown": read_frames(grown)[0]}
    valid, crystals = (read_frames(SILICON / f"{name}.xyz")[0] for name in ("valid", "test"))
    rows: list[str] = []
    for data, train in sets.items():
        for repulsion in REPULSION:
            for seed in range(options.seeds):
                student = trained(repulsion, train, valid, options.steps, seed)
                rows.append(row(data, repulsion, seed, run_gate(student, crystals, model="it", temperature=600)))
                print(rows[-1], flush=True)
    print(table("| learnt from | repulsion | seed | failed | how |", rows))


if __name__ == "__main__":
    main()

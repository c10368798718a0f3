"""What further labels of a teacher and other optimisers give a student: errors and phonons at equal steps.

Students learn from n synthetic structures of a finished run, drawn family by family, so that larger draws contain
smaller ones. Variants differ in one thing from the plain one: the teacher's energies of atoms, rows of its Hessian, its
Hessian times a random vector, another optimiser, pretrained weights. The table is of the validation structures,
families that no student has seen, labelled by the teacher: it is for choosing. With --test another is of the DFT test
set, for the very end.

    python tests/benchmarks/labels.py --run runs/labels --structures 100 300 --seeds 3 --results labels.jsonl

Fits that are in the file of results already are not done again.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk
from ase.phonons import Phonons
from generation import table
from smoothness import WAVENUMBER, parts

from distill.analysis.errors import mean_absolute_errors
from distill.base.arrays import Array
from distill.base.progress import Phase, Progress, Record
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import load
from distill.structures.frames import Frames
from distill.structures.read import read_frames
from distill.training.gradient.student import train_student
from distill.training.targets import Targets, make_targets


@dataclass(frozen=True)
class Variant:
    """How a student is trained: weights of further labels, the optimiser and its learning rate, where it starts."""

    loss: dict[str, float] = field(default_factory=dict)
    hessian: Any = None
    optimiser: str = "muon"
    learning_rate: float = 0.01
    start: Any = None


VARIANTS = {
    "plain": Variant(),
    "energies of atoms": Variant({"atomic_energy": 1.0}),
    "rows": Variant({"hessian": 10.0}, "rows"),
    "random": Variant({"hessian": 1.0}, "random"),
    "random and energies of atoms": Variant({"hessian": 1.0, "atomic_energy": 1.0}, "random"),
    "SOAP": Variant(optimiser="soap", learning_rate=0.004),
    "AdamW": Variant(optimiser="adamw", learning_rate=0.004),
    "pretrained": Variant(start="pretrained"),
    "pretrained, slower": Variant(start="pretrained", learning_rate=0.005),
}


def targets(teacher: Potential, frames: Frames, variant: Variant) -> Targets:
    """Return the further labels of structures."""
    wanted = {"atomic_energies": "atomic_energy" in variant.loss, "hessian": variant.hessian}
    return make_targets(teacher, frames, seed=0, phase=Phase(Progress(), Record()), **wanted)


def drawn(frames: Frames, n: int) -> Frames:
    """Return n structures from all families in turn, the first of each family first, and all that have none."""
    trees = np.array(frames.labels("tree"))
    place = np.array([np.count_nonzero(trees[:k] == tree) for k, tree in enumerate(trees)])
    return frames[np.sort(np.lexsort((trees, place))[:n])]


def frequencies(potential: Potential) -> Array:
    """Return the frequencies of diamond silicon at Γ, X, L, K and W, 1/cm; negative: imaginary."""
    points = np.array([[0, 0, 0], [0.5, 0, 0.5], [0.5, 0.5, 0.5], [3 / 8, 3 / 8, 3 / 4], [0.5, 0.25, 0.75]])
    with tempfile.TemporaryDirectory() as folder:
        calculator = copy.deepcopy(potential).double().calculator()
        phonons = Phonons(bulk("Si", a=5.43), calculator, supercell=(3, 3, 3), delta=0.01, name=f"{folder}/phonons")
        phonons.run()
        phonons.read(acoustic=True)
        found = phonons.band_structure(points, verbose=False)
    return np.asarray(found * WAVENUMBER)


def fitted(variant: Variant, train: Frames, valid: Frames, further: Any, steps: int, seed: int) -> Potential:
    """Return a student."""
    with tempfile.TemporaryDirectory() as work:
        student, _ = train_student(
            "painn",
            {"cutoff": 5.0},
            train,
            valid,
            seed=seed,
            purpose=("labels",),
            loss=variant.loss,
            start=variant.start,
            targets=further,
            steps=steps,
            batch_size=8,
            learning_rate=variant.learning_rate,
            optimiser=variant.optimiser,
            validation_interval=100,
            work=Path(work),
        )
    return student


def errors(potential: Potential, frames: Frames, prefix: str) -> dict[str, float]:
    """Return mean absolute errors of forces, meV/Å, and energies, meV/atom."""
    found = mean_absolute_errors(frames, potential.evaluate(frames))
    return {f"{prefix} forces": 1000 * found["forces"], f"{prefix} energy": 1000 * found["energy_per_atom"]}


def measured(potential: Potential, files: dict[str, Frames], bands: Array) -> dict[str, float]:
    """Return what is shown of a student."""
    apart = frequencies(potential) - bands
    return {
        **errors(potential, files["valid"], "valid"),
        **errors(potential, files["test"], "test"),
        "phonons": float(np.sqrt((apart**2).mean())),
        "lowest": float((apart + bands)[1:].min()),
    }


def shown(results: Iterable[dict[str, Any]], columns: dict[str, str]) -> str:
    """Return a table of means and standard deviations over seeds."""
    groups: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for one in results:
        groups.setdefault((one["structures"], one["variant"]), []).append(one)
    rows = []
    for (n, name), of in sorted(groups.items(), key=lambda item: item[0][0]):
        cells = [
            f"{np.mean(v):.1f} ± {np.std(v, ddof=min(1, len(v) - 1)):.1f}" for c in columns if (v := [o[c] for o in of])
        ]
        rows.append(f"| {n} | {name} | {len(of)} | {' | '.join(cells)} |")
    return table(f"| structures | variant | seeds | {' | '.join(columns.values())} |", rows)


def main() -> None:
    """Fit what is not in the file of results, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--run", type=Path, required=True, help="a finished run of silicon")
    parser.add_argument("--structures", type=int, nargs="+", default=[100, 300])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS, metavar="VARIANT")
    parser.add_argument("--weight", type=float, help="instead of the variants' own weights of further labels")
    parser.add_argument("--test", action="store_true", help="show the errors on the test set too, at the end of it all")
    parser.add_argument("--results", type=Path, required=True, help="file of results, one line a fit")
    arguments = parser.parse_args()
    where = parts(arguments.run)
    files = {name: read_frames(where[name])[0] for name in ("train", "valid", "test")}
    teacher = load(where["teacher"])
    bands = frequencies(teacher)
    print(f"teacher: {errors(teacher, files['test'], 'test')}, lowest frequency {bands[1:].min():.0f} 1/cm", flush=True)
    arguments.results.touch()
    for n in arguments.structures:
        train = drawn(files["train"], n)
        for name in arguments.variants:
            variant = VARIANTS[name]
            if arguments.weight is not None:
                variant = Variant(dict.fromkeys(variant.loss, arguments.weight), variant.hessian)
                name = f"{name}, weight {arguments.weight:g}"
            further = tuple(targets(teacher, part, variant) for part in (train, files["valid"]))
            for seed in range(arguments.seeds):
                done = [json.loads(line) for line in arguments.results.read_text().splitlines()]
                key = {"structures": n, "variant": name, "seed": seed, "steps": arguments.steps}
                if any(key.items() <= one.items() for one in done):
                    continue
                began = time.perf_counter()
                student = fitted(variant, train, files["valid"], further, arguments.steps, seed)
                key |= {"seconds": time.perf_counter() - began} | measured(student, files, bands)
                print({what: value for what, value in key.items() if not what.startswith("test")}, flush=True)
                with arguments.results.open("a") as file:
                    file.write(json.dumps(key) + "\n")
    results = [json.loads(line) for line in arguments.results.read_text().splitlines()]
    phonons = {"phonons": "phonons, rms against the teacher (1/cm)", "lowest": "lowest beside Γ (1/cm)"}
    print(shown(results, {"valid forces": "forces (meV/Å)", "valid energy": "energy (meV/atom)", **phonons}))
    if arguments.test:
        print(shown(results, {"test forces": "test forces (meV/Å)", "test energy": "test energy (meV/atom)"}))


if __name__ == "__main__":
    main()

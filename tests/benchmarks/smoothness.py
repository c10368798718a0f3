"""Force constants of PaiNN as published (graph-pes) and as distill has it, trained alike, beside their teacher's.

Both learn from the synthetic structures of a finished run, with the same sizes, steps, optimiser and seed. A table
gives force errors on the test set, force constants of one atom of diamond silicon at displacements of 0.001 to 0.1 Å,
and a frequency that a cone makes imaginary; the figure is that of docs/students.md.

    python tests/benchmarks/smoothness.py --run runs/quickstart --figure docs/images/smoothness.png
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.phonons import Phonons

from distill.base.arrays import Array
from distill.base.files import read_json
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import load
from distill.potentials.interface.smoothness import DISPLACEMENTS, force_constants
from distill.reporting.style import look, new_figure
from distill.structures.frames import Frames
from distill.structures.read import read_frames
from distill.training.gradient.student import train_student
from distill.workflow.store import DIGITS

SIZES = {"cutoff": 5.0, "channels": 32, "layers": 3, "radial_features": 20}
NETWORKS = {
    "PaiNN of graph-pes": ("graph_pes.models:PaiNN", {"parameters": SIZES}),
    "PaiNN of distill": ("painn", SIZES),
}
WAVENUMBER = 8065.54
"""1/cm in an eV."""


def parts(run: Path) -> dict[str, Path]:
    """Return the files of a finished run: training and validation structures, test set and teacher."""
    plan = read_json(run / "plan.json")
    label, check = (run / plan["store"] / stage / plan["tasks"][stage]["hash"][:DIGITS] for stage in ("label", "check"))
    return {
        "train": label / "train.xyz",
        "valid": label / "valid.xyz",
        "test": check / "test.xyz",
        "teacher": run / "models" / "teacher",
    }


def trained(arch: str, settings: dict[str, object], train: Frames, valid: Frames, steps: int, seed: int) -> Potential:
    """Return a student, trained as the quickstart does."""
    with tempfile.TemporaryDirectory() as work:
        student, _ = train_student(
            arch,
            settings,
            train,
            valid,
            seed=seed,
            purpose=("smoothness",),
            loss={},
            steps=steps,
            batch_size=8,
            learning_rate=0.01,
            optimiser="muon",
            validation_interval=100,
            work=Path(work),
        )
    return student


def lowest_at_x(potential: Potential) -> float:
    """Return the lowest frequency of diamond silicon at X, 1/cm, by displacements of 0.01 Å; negative: imaginary."""
    with tempfile.TemporaryDirectory() as folder:
        calculator = copy.deepcopy(potential).double().calculator()
        phonons = Phonons(bulk("Si", a=5.43), calculator, supercell=(3, 3, 3), delta=0.01, name=f"{folder}/phonons")
        phonons.run()
        phonons.read(acoustic=True)
        found = phonons.band_structure(np.array([[0.5, 0, 0.5]]), verbose=False)
    return float(found[0, 0] * WAVENUMBER)


def draw(constants: dict[str, Array], path: Path) -> None:
    """Draw force constants against the displacement."""
    figure = new_figure(6.4, 3.8)
    axes = figure.subplots()
    for k, (name, values) in enumerate(constants.items()):
        style = look(k)
        axes.plot(DISPLACEMENTS, values, color=style.color, marker=style.marker, ls=style.linestyle, label=name)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("displacement of one atom (Å)")
    axes.set_ylabel("force constant (eV/Å²)")
    axes.set_title("Displacing one atom of diamond silicon")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print the table and, where asked, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--run", type=Path, default=Path("runs/quickstart"), help="a finished run of silicon")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, help="a PNG file to write")
    arguments = parser.parse_args()
    files = parts(arguments.run)
    train, valid, test = (read_frames(files[name])[0] for name in ("train", "valid", "test"))
    models = {"teacher": load(files["teacher"])}
    for name, (arch, settings) in NETWORKS.items():
        models[name] = trained(arch, settings, train, valid, arguments.steps, arguments.seed)
    crystal = bulk("Si", a=5.43, cubic=True) * (2, 2, 2)
    constants = {}
    print(f"{'':20s} {'forces':>10s} " + " ".join(f"{u:>8g} Å" for u in DISPLACEMENTS) + f" {'X':>10s}")
    for name, model in models.items():
        error = 1000 * float(np.abs(model.evaluate(test, stress=False).forces - test.forces).mean())
        constants[name] = force_constants(copy.deepcopy(model).double().evaluate, crystal)
        text = " ".join(f"{k:>10.1f}" for k in constants[name])
        print(f"{name:20s} {error:>5.0f} meV/Å {text} {lowest_at_x(model):>6.0f} 1/cm", flush=True)
    if arguments.figure:
        draw(constants, arguments.figure)


if __name__ == "__main__":
    main()

"""Make the pretrained weights of students: prototypes of many elements, labelled by an embedded teacher, and one fit.

    python scripts/pretraining.py structures --to pretraining.xyz               # minutes
    python scripts/pretraining.py fit --structures pretraining.xyz --work work  # an hour; continues where it stopped

Structures are crystals of textbook prototypes and random packings, of one to four elements, stretched, strained and
rattled; the teacher is DIEP, whose weights come with its package. Elemental silicon and water are left out: they are
what the gain is measured on. The weights are written to ``src/distill/potentials/students/pretrained/``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import chemical_symbols, covalent_radii
from numpy.random import Generator

from distill.bar import Bar
from distill.base.arrays import Array
from distill.base.files import hash_file
from distill.base.random import stream
from distill.potentials.base import TeacherSource
from distill.potentials.interface.saving import save
from distill.potentials.students.pretrained import FOLDER
from distill.structures.frames import Frames
from distill.structures.read import read_frames
from distill.structures.write import write_frames
from distill.training.gradient.student import train_student

TEACHER = "diep-2.0"

LEFT_OUT = ({"Si"}, {"H", "O"})
"""Elements of the materials that no structure is made of: what is gained is measured on them."""

PROTOTYPES = {
    1: ("fcc", "bcc", "sc", "diamond", "hcp"),
    2: ("rocksalt", "cesiumchloride", "zincblende", "wurtzite", "fluorite"),
    3: ("perovskite",),
}
"""By number of elements; random packings are of one to four."""

ANIONS = ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Ge", "As", "Se", "Br", "Te", "I")
"""Half of all compounds have one of these."""

NOBLE = ("He", "Ne", "Ar", "Kr", "Xe")

DENSEST = 0.2
"""Atoms in an Å³; diamond has 0.18."""

LARGEST = 15.0
"""eV/Å: a structure with a larger force is left out; the teacher was not fitted to such."""


def crystal(kind: str, symbols: list[str], rng: Generator) -> Atoms:
    """Return 4 to 16 atoms of a prototype, of any size."""
    if kind == "perovskite":
        places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
        return Atoms([*symbols[:2], *symbols[2:] * 3], scaled_positions=places, cell=np.eye(3), pbc=True)
    names = {1: "X", 2: "NaCl"}[len(symbols)] if kind != "fluorite" else "CaF2"
    axis = {"c": rng.uniform(1.45, 1.75)} if kind in ("hcp", "wurtzite") else {}
    atoms = bulk(names, kind, a=1.0, **axis)
    given = dict(zip(dict.fromkeys(atoms.symbols), symbols, strict=True))
    atoms.symbols = [given[symbol] for symbol in atoms.symbols]
    repeats = {1: [(2, 2, 2), (3, 2, 1), (2, 2, 1)], 2: [(2, 2, 1), (2, 2, 2), (3, 1, 1)]}
    choices = repeats.get(len(atoms), [(2, 1, 1), (2, 2, 1), (1, 1, 1)])
    return atoms.repeat(choices[rng.integers(len(choices))])


def packing(symbols: list[str], rng: Generator) -> Atoms:
    """Return 4 to 12 atoms in a cell that is nearly cubic, driven apart from random places like soft spheres."""
    n = int(rng.integers(max(4, len(symbols)), 13))
    atoms = Atoms([*symbols, *rng.choice(symbols, n - len(symbols))], pbc=True)
    radii = covalent_radii[atoms.numbers]
    volume = max(rng.uniform(1.5, 3.5) * (4 / 3 * np.pi * radii**3).sum(), 7.0 * n)
    atoms.set_cell(volume ** (1 / 3) * (np.eye(3) + rng.normal(0, 0.1, (3, 3))))
    atoms.set_scaled_positions(rng.random((n, 3)))
    wanted = 1.15 * (radii[:, None] + radii)[..., None]
    for _ in range(40):
        vectors = separations(atoms)
        lengths = np.linalg.norm(vectors, axis=-1)
        overlap = np.clip(wanted - lengths, 0, None) / lengths
        atoms.positions -= 0.3 * (overlap[..., None] * vectors).sum((1, 2))
    return atoms


def separations(atoms: Atoms) -> Array:
    """Return the vectors from every atom to the images of every one within a cell, ``[N, N, 27, 3]`` Å.

    An atom is nowhere near itself.
    """
    images = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(27, 3) @ atoms.cell.array
    atoms.wrap()
    vectors = atoms.positions[None, :, None] - atoms.positions[:, None, None] + images
    vectors[np.arange(len(atoms)), np.arange(len(atoms)), 13] = 1e3
    return np.asarray(vectors)


def closest(atoms: Atoms) -> float:
    """Return the shortest distance of two atoms in units of the sum of their covalent radii."""
    radii = covalent_radii[atoms.numbers]
    lengths = np.linalg.norm(separations(atoms), axis=-1)
    return float((lengths / (radii[:, None] + radii)[..., None]).min())


def chosen(n: int, known: list[str], rng: Generator) -> list[str]:
    """Return n elements."""
    symbols = list(rng.choice(known, n, replace=False))
    if n > 1 and rng.random() < 0.7:
        anion = str(rng.choice([a for a in ANIONS if a not in symbols[:-1]]))
        symbols[-1] = anion
    return [str(symbol) for symbol in symbols]


def structure(known: list[str], rng: Generator) -> Atoms | None:
    """Return a structure, or None where it is of a material left out or atoms came too near each other."""
    n = int(rng.choice([1, 2, 3, 4], p=[0.25, 0.4, 0.25, 0.1]))
    symbols = chosen(n, known, rng)
    loose = n == 4 or rng.random() < 0.3
    kinds = PROTOTYPES.get(n, ())
    atoms = packing(symbols, rng) if loose else crystal(kinds[rng.integers(len(kinds))], symbols, rng)
    if not loose:
        atoms.set_cell(atoms.cell.array * rng.uniform(0.85, 1.3) / closest(atoms), scale_atoms=True)
    strain = rng.normal(0, 0.03, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    atoms.positions += rng.normal(0, rng.uniform(0, 0.2), atoms.positions.shape)
    if set(atoms.symbols) in LEFT_OUT or closest(atoms) < 0.7 or len(atoms) / atoms.get_volume() > DENSEST:
        return None
    return atoms


def structures(count: int, seed: int, to: Path) -> None:
    """Write structures with the teacher's labels."""
    teacher = TeacherSource(TEACHER).open()
    elements = teacher.elements or tuple(range(1, 95))
    known = [s for z in elements if (s := chemical_symbols[z]) not in NOBLE]
    drawn: list[Atoms] = []
    for k in range(2 * count):
        if len(drawn) < count and (one := structure(known, stream(seed, "pretraining", k))) is not None:
            drawn.append(one)
    with Bar() as bar, bar.phase("labelling", len(drawn), "structure") as phase:
        labelled = teacher.evaluate(Frames.from_atoms(drawn), progress=phase)
    assert labelled.forces is not None  # noqa: S101 - evaluate always gives forces
    largest = np.maximum.reduceat(np.abs(labelled.forces).max(1), labelled.offsets[:-1])
    kept = labelled[np.isfinite(largest) & (largest < LARGEST)]
    write_frames(to, kept)
    print(f"{len(kept)} of {len(drawn)} structures, {kept.n_atoms.sum()} atoms, {len(kept.elements)} elements")


def fit(arch: str, file: Path, steps: int, work: Path) -> None:
    """Fit a student to the structures and write its weights where the package looks for them."""
    frames = read_frames(file)[0]
    valid = np.arange(len(frames)) % 25 == 0
    with Bar() as bar:
        student, fitted = train_student(
            arch,
            {},
            frames[~valid],
            frames[valid],
            seed=0,
            purpose=("pretraining",),
            loss={"energy": 10.0, "forces": 10.0, "virial": 1.0},
            steps=steps,
            batch_size=32,
            learning_rate=0.01,
            optimiser="muon",
            average=0.999,
            validation_interval=500,
            work=work,
            progress=bar,
        )
    assert fitted.best is not None  # noqa: S101 - there is a validation after every interval
    made = {
        "made_by": "scripts/pretraining.py",
        "teacher": TEACHER,
        "structures": int((~valid).sum()),
        "sha256_of_structures": hash_file(file),
        "steps": steps,
        "valid_forces_mae": fitted.best.valid_forces_mae,
        "valid_energy_mae": fitted.best.valid_energy_mae,
    }
    save(student, FOLDER / arch, made)
    print(made)


def main() -> None:
    """Do one of the two parts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parts = parser.add_subparsers(dest="part", required=True)
    grow = parts.add_parser("structures", help="draw and label structures")
    grow.add_argument("--count", type=int, default=10_000)
    grow.add_argument("--seed", type=int, default=0)
    grow.add_argument("--to", type=Path, required=True)
    train = parts.add_parser("fit", help="fit a student to them")
    train.add_argument("--arch", default="painn")
    train.add_argument("--structures", type=Path, required=True)
    train.add_argument("--steps", type=int, default=10_000)
    train.add_argument("--work", type=Path, required=True, help="folder of checkpoints")
    given = parser.parse_args()
    if given.part == "structures":
        structures(given.count, given.seed, given.to)
    else:
        fit(given.arch, given.structures, given.steps, given.work)


if __name__ == "__main__":
    main()

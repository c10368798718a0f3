"""Positions and cells in every unit are recognised by nearest distances, and the remedy makes them what they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from distill.structures.checks.finding import FileFrames
from distill.structures.checks.length_units import check_lengths
from distill.structures.checks.lengths import (
    FRACTIONAL,
    LENGTHS,
    OTHERS,
    Lengths,
    explanations,
    impossible,
    in_a_corner,
)
from distill.structures.frames import Frames, concatenate
from distill.structures.read import read_frames

SILICON = Path(__file__).parents[3] / "data" / "silicon" / "train.xyz"


def rattled(atoms: Atoms, n: int = 4) -> Frames:
    """Return structures in thermal motion."""
    rng = np.random.default_rng(0)
    structures = [atoms.copy() for _ in range(n)]
    for one in structures:
        one.rattle(0.05, rng=rng)
    return Frames.from_atoms(structures)


def box(atoms: Atoms, size: float) -> Atoms:
    """Return a molecule in a periodic box."""
    atoms = Atoms(atoms.symbols, atoms.positions, cell=[size] * 3, pbc=True)
    atoms.center()
    return atoms


CONDENSED = {
    "silicon": lambda: read_frames(SILICON)[0][::5].with_labels(None, None, None),
    "water": lambda: rattled(box(molecule("H2O"), 3.1).repeat(2)),
    "MgO": lambda: rattled(bulk("MgO", "rocksalt", a=4.21).repeat(2)),
    "aluminium": lambda: rattled(bulk("Al", cubic=True).repeat(2)),
    "slab": lambda: rattled(fcc111("Al", (2, 2, 4), vacuum=8, periodic=True)),
}
OTHER = {
    "molecule": lambda: rattled(molecule("C2H6")),
    "molecule in a box": lambda: rattled(box(molecule("H2O"), 8.0)),
    "diatomic far apart": lambda: Frames.from_atoms([Atoms("OH", [[0, 0, 0], [0, 0, 3.0]])]),
    "argon": lambda: rattled(bulk("Ar").repeat(2)),
    "one atom": lambda: rattled(bulk("Al")),
    "expanded": lambda: rattled(bulk("Al", a=4.5).repeat(2)),
    "isolated atom": lambda: Frames.from_atoms([Atoms("O"), Atoms("O", cell=[15] * 3, pbc=False)]),
}


def written(frames: Frames, lengths: Lengths) -> Frames:
    """Return structures in other units, as a reader who takes them for Å has them."""
    cells = frames.cells / LENGTHS[lengths.cell]
    if lengths.positions == FRACTIONAL:
        positions = np.einsum("ni,nij->nj", frames.positions, np.linalg.inv(frames.cells)[frames.structure_of_atom])
    else:
        positions = frames.positions / LENGTHS[lengths.positions]
    return replace(frames, positions=positions, cells=cells)


@pytest.mark.parametrize("name", [*CONDENSED, *OTHER])
def test_right_lengths(name: str) -> None:
    """Also those of noble gases, of a stretched metal and of atoms far apart."""
    frames = (CONDENSED | OTHER)[name]()
    assert not impossible(frames).any()
    judged = check_lengths(FileFrames(frames, "x"), None, "")
    assert judged.findings == [] and judged.data.frames is frames


@pytest.mark.parametrize("lengths", OTHERS, ids=[one.words for one in OTHERS])
@pytest.mark.parametrize("name", CONDENSED)
def test_condensed_matter_in_every_unit(name: str, lengths: Lengths) -> None:
    """The unit is among what is named wherever the structures, as they are read, are none of matter.

    They are possible, but in a corner, if the cell alone is in Bohr; a cell 100 times too large is told as vacuum, and
    positions 100 times too large fall back into the cell anywhere.
    """
    frames = CONDENSED[name]()
    wrong = written(frames, lengths)
    if not impossible(wrong).all():
        assert "pm" in (lengths.positions, lengths.cell) or in_a_corner(wrong)
        return
    assert lengths in explanations(wrong)
    judged = check_lengths(FileFrames(wrong, "x"), None, "")
    assert [(f.severity, f.kind) for f in judged.findings] == [("error", "length-unit")]
    assert lengths.both_wrong or lengths.words in judged.findings[0].what
    assert lengths.both_wrong or lengths.remedy.lower() in judged.findings[0].remedy.lower()


@pytest.mark.parametrize("unit", ["Bohr", "nm", "pm"])
def test_molecules(unit: str) -> None:
    """Without a cell there is one unit."""
    lengths = Lengths(unit, unit)
    frames = OTHER["molecule"]()
    judged = check_lengths(FileFrames(written(frames, lengths), "x"), None, "")
    assert f"{LENGTHS[unit]:.6g}" in judged.findings[0].remedy
    assert judged.data.frames.positions == pytest.approx(frames.positions, rel=1e-12)  # a product and its quotient


def test_some_frames_alone() -> None:
    """Two of many are in Bohr: they are named, and the others stay as they are."""
    frames = read_frames(SILICON)[0][:6]
    wrong = written(frames, Lengths("Bohr", "Bohr"))
    mixed = [*frames[:4], *wrong[4:]]
    judged = check_lengths(FileFrames(concatenate(mixed), "x"), None, "")
    assert judged.findings[0].frames == (4, 5)
    assert judged.data.frames.positions == pytest.approx(frames.positions, rel=1e-12)  # as above


def test_virials_know_volumes_in_the_unit_of_the_file() -> None:
    """A stress that was read from a virial is right once the cell is."""
    frames = read_frames(SILICON)[0][:4]
    wrong = written(frames, Lengths("Bohr", "Bohr"))
    virials = frames.stress * frames.volumes[:, None, None]
    wrong = replace(wrong, stress=virials / wrong.volumes[:, None, None])
    judged = check_lengths(FileFrames(wrong, "x"), None, "", virial=True)
    assert judged.data.frames.stress == pytest.approx(frames.stress, rel=1e-9)  # exact but for rounding


def test_distances_of_no_unit() -> None:
    frames = CONDENSED["silicon"]()
    far = replace(frames, positions=3.3 * frames.positions, cells=3.3 * frames.cells)
    judged = check_lengths(FileFrames(far, "x"), None, "")
    assert [(f.severity, f.kind) for f in judged.findings] == [("warning", "far-atoms")] and not judged.sound.any()

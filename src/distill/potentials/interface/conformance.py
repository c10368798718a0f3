"""What every potential must obey, whatever is inside it.

The derivatives are compared with finite differences in double precision, where both are exact to many digits; the
symmetries are compared in the precision that the potential is used in.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from scipy.spatial.transform import Rotation

from distill.base.arrays import Array
from distill.base.random import stream
from distill.potentials.interface.derivatives import along_positions, along_strain, deform
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.saving import load, save
from distill.potentials.interface.smoothness import in_double, rough_crystals
from distill.structures.frames import Frames

DERIVATIVE = 1e-5
"""Relative error allowed of derivatives in double precision."""

SINGLE = 2e-4
"""Relative error allowed in single precision, several thousand roundings."""


PLACE = 1e-5
"""Relative error allowed of the same structure elsewhere: positions are the same to ten digits, and what is left are
sums of a network in another order. Positions rounded to single precision would be off by 1e-3 Å."""


def check_potential(potential: Potential) -> list[str]:
    """Return what is wrong with ``potential``, one sentence each; nothing when all is well.

    Checked are forces and stress against finite differences of the energy, that force constants of perfect crystals do
    not depend on the displacement, extensivity, invariance to translation, rotation, permutation and lattice
    translation, also far from the origin, batches against single structures, isolated atoms, molecules without a cell,
    and that a saved and loaded potential predicts the same to the last bit. Laws that a potential says it violates
    (``Potential.violated_symmetries``) are left out.
    """
    frames = example_frames(potential.elements)
    checks: list[Callable[[Potential, Frames], Iterator[str]]] = [
        check_derivatives,
        check_smoothness,
        check_extensivity,
        check_symmetry,
        check_place,
        check_batching,
        check_isolated,
        check_saving,
    ]
    return [failure for check in checks for failure in check(potential, frames)]


def keeps(potential: Potential, law: str) -> bool:
    """Return whether the potential claims a law: ``derivatives``, ``smoothness``, ``rotation`` or ``separation``."""
    return law not in potential.violated_symmetries


def example_frames(elements: tuple[int, ...] | None) -> Frames:
    """Return a rattled crystal of one element, a strained one of two elements, and a molecule of three atoms."""
    first, second = (14, 8) if elements is None or {8, 14} <= set(elements) else (elements[0], elements[-1])
    rng = stream(0, "check potential")
    crystal = bulk("Si", cubic=True)
    crystal.numbers[:] = first
    compound = bulk("NaCl", "rocksalt", a=4.6)
    compound.numbers[:] = [first, second]
    compound.set_cell(compound.cell.array @ (np.eye(3) + 0.04 * rng.normal(size=(3, 3))), scale_atoms=True)
    molecule = Atoms(numbers=[second, first, second], positions=[[0.0, 0, 0], [1.7, 0, 0], [2.4, 1.6, 0.2]])
    for atoms in (crystal, compound, molecule):
        atoms.positions += 0.08 * rng.normal(size=atoms.positions.shape)
    return Frames.from_atoms([crystal, compound, molecule])


def check_derivatives(potential: Potential, frames: Frames) -> Iterator[str]:
    """Compare forces and stress with central differences of the energy, both in double precision."""
    double = copy.deepcopy(potential).double()
    rng = stream(0, "check derivatives")
    for k, one in enumerate(double.evaluate(frames)):
        if not one.pbc.all() and np.isfinite(np.asarray(one.stress)).any():
            yield f"structure {k}: a stress is predicted although it is not periodic"
        if not keeps(potential, "derivatives"):
            continue
        slope = along_positions(double.evaluate, one, rng)
        if not np.isclose(slope.found, slope.said, rtol=DERIVATIVE, atol=DERIVATIVE):
            yield f"structure {k}: the energy changes by {slope.found:.8g} eV/Å, the forces say {slope.said:.8g}"
        if not one.pbc.all():
            continue
        slope = along_strain(double.evaluate, one, rng)
        if not np.isclose(slope.found, slope.said, rtol=DERIVATIVE, atol=DERIVATIVE):
            what = f"the energy changes by {slope.found:.8g} eV per strain"
            yield f"structure {k}: {what}, the stress says {slope.said:.8g}"


Labels = tuple[Array, Array, Array]
"""Energy ``[B]``, forces ``[N, 3]``, stress ``[B, 3, 3]``."""


def labels(potential: Potential, frames: Frames) -> Labels:
    """Return what ``potential`` predicts."""
    found = potential.evaluate(frames)
    return np.asarray(found.energy), np.asarray(found.forces), np.asarray(found.stress)


def compare(what: str, expected: Labels, found: Labels, allowed: float = SINGLE) -> Iterator[str]:
    """Say where predictions differ by more than rounding in single precision explains."""
    for name, a, b in zip(("energy", "forces", "stress"), expected, found, strict=True):
        size = max(float(np.abs(np.nan_to_num(a)).max(initial=0.0)), 1.0)
        if not np.allclose(a, b, rtol=0, atol=allowed * size, equal_nan=True):
            yield f"{what} changes the {name} by {np.nanmax(np.abs(a - b)):.3g}"


def check_smoothness(potential: Potential, frames: Frames) -> Iterator[str]:
    """Compare force constants of perfect crystals at small and large displacements, in double precision."""
    if keeps(potential, "smoothness"):
        yield from rough_crystals(in_double(potential).evaluate, *map(int, frames.numbers[[0, -1]]))


def check_extensivity(potential: Potential, frames: Frames) -> Iterator[str]:
    """Compare a doubled cell with the cell."""
    energy, forces, stress = labels(potential, frames[0])
    supercell = Frames.from_atoms([frames[0].to_atoms()[0].repeat((2, 1, 1))])
    yield from compare("doubling the cell", (2 * energy, np.tile(forces, (2, 1)), stress), labels(potential, supercell))


def check_symmetry(potential: Potential, frames: Frames) -> Iterator[str]:
    """Translate, rotate, permute, and move an atom by a lattice vector."""
    one = frames[1]
    energy, forces, stress = expected = labels(potential, one)
    moved = replace(one, positions=one.positions + np.array([0.3, -1.2, 2.5]))
    yield from compare("a translation", expected, labels(potential, moved))
    shift = np.zeros_like(one.positions)
    shift[0] = one.cells[0, 1] - 2 * one.cells[0, 2]
    yield from compare("a lattice vector", expected, labels(potential, replace(one, positions=one.positions + shift)))
    rotation = Rotation.from_rotvec([0.4, -0.9, 1.3]).as_matrix().T
    turned = (energy, forces @ rotation, rotation.T @ stress @ rotation)
    if keeps(potential, "rotation"):
        yield from compare("a rotation", turned, labels(potential, deform(one, rotation)))
    swapped = replace(one, positions=one.positions[::-1], numbers=one.numbers[::-1])
    yield from compare("a permutation", (energy, forces[::-1], stress), labels(potential, swapped))


def check_place(potential: Potential, frames: Frames) -> Iterator[str]:
    """Put structures 10 000 Å away, and unwrap their atoms by up to 1 000 cells."""
    expected = labels(potential, frames)
    moved = replace(frames, positions=frames.positions + np.array([1e4, -3e3, 7e3]))
    yield from compare("a place far from the origin", expected, labels(potential, moved), PLACE)
    cells = stream(0, "check place").integers(-1000, 1001, size=frames.positions.shape)
    by = np.einsum("ni,nij->nj", cells * frames.pbc[frames.structure_of_atom], frames.cells[frames.structure_of_atom])
    unwrapped = replace(frames, positions=frames.positions + by)
    yield from compare("unwrapping", expected, labels(potential, unwrapped), PLACE)


def check_batching(potential: Potential, frames: Frames) -> Iterator[str]:
    """Compare structures evaluated together with each alone."""
    alone = [labels(potential, one) for one in frames]
    together = tuple(np.concatenate(parts) for parts in zip(*alone, strict=True))
    yield from compare("batching", (together[0], together[1], together[2]), labels(potential, frames))


def check_isolated(potential: Potential, frames: Frames) -> Iterator[str]:
    """Compare two atoms that do not see each other with each alone."""
    pair = frames.numbers[[0, -1]]
    far = Atoms(numbers=pair, positions=[[0.0, 0, 0], [5 * potential.cutoff, 0, 0]])
    atoms = [Atoms(numbers=[z], positions=[[0.0, 0, 0]]) for z in pair]
    energy, forces, stress = labels(potential, Frames.from_atoms(atoms))
    found = labels(potential, Frames.from_atoms([far]))
    energy = energy.sum(keepdims=True) if keeps(potential, "separation") else found[0]
    forces = 0 * forces if keeps(potential, "derivatives") else found[1]
    yield from compare("distance", (energy, forces, stress[:1]), found)


def check_saving(potential: Potential, frames: Frames) -> Iterator[str]:
    """Save, load, and compare bit for bit."""
    with tempfile.TemporaryDirectory() as folder:
        save(potential, Path(folder), {})
        environment = getattr(potential.settings, "environment", None)
        loaded = load(Path(folder), potential.device, trust_code=True, environment=environment)
    before, after = labels(potential, frames), labels(loaded, frames)
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, after, strict=True)):
        yield "saving and loading changes the predictions"
    if (loaded.elements, loaded.settings) != (potential.elements, potential.settings):
        yield "saving and loading changes the description"

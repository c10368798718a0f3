"""Same structures are found in every disguise, and distances are what a plain comparison says."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk, molecule
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from distill.structures.duplicates import NEAR, SAME, close_pairs
from distill.structures.frames import Frames, concatenate

Make = Callable[..., Frames]


def salt(seed: int) -> Frames:
    """Return a rattled, sheared 16-atom cell of two elements."""
    rng = np.random.default_rng(seed)
    atoms = bulk("NaCl", "rocksalt", a=5.6).repeat(2)
    atoms.set_cell(atoms.cell.array + rng.normal(0, 0.1, (3, 3)), scale_atoms=True)
    atoms.rattle(0.1, rng=rng)
    return Frames.from_atoms([atoms])


def moved(frames: Frames, displacement: np.ndarray) -> Frames:
    """Return the structures with their atoms displaced."""
    return replace(frames, positions=frames.positions + displacement)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_disguises_of_one_structure(seed: int) -> None:
    """Wrapped, translated, reordered, rotated with its cell, rounded to five decimals: still the same."""
    rng = np.random.default_rng(seed)
    one = salt(seed)
    lattice = moved(one, rng.integers(-2, 3, (16, 3)) @ one.cells[0])
    translated = moved(one, rng.uniform(-5, 5, 3))
    order = rng.permutation(16)
    reordered = replace(one, positions=one.positions[order], numbers=one.numbers[order])
    turn = Rotation.random(random_state=seed).as_matrix()
    rotated = replace(one, positions=one.positions @ turn, cells=one.cells @ turn)
    rounded = replace(moved(reordered, rng.uniform(-5, 5, 3)), positions=np.round(reordered.positions, 5))
    everything = concatenate([one, lattice, translated, reordered, rotated, rounded])
    pairs, distances = close_pairs(everything)
    assert len(pairs) == 15
    assert distances.max() < SAME


def test_different_structures_are_told_apart() -> None:
    """Exchanged elements, another volume, a moved atom, and inversion are not duplicates."""
    one = salt(0)
    exchanged = replace(one, numbers=np.where(one.numbers == 11, 17, 11))
    scaled = replace(one, positions=one.positions * 1.02, cells=one.cells * 1.02)
    nudge = np.zeros((16, 3))
    nudge[3] = 0.3
    others = [exchanged, scaled, moved(one, nudge), replace(one, positions=-one.positions), salt(1)]
    assert len(close_pairs(concatenate([one, *others]))[0]) == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-4, 0.12))
def test_distance_is_the_root_mean_square_displacement(seed: int, size: float) -> None:
    """A displacement without common translation is found exactly when below the threshold, with its own size."""
    rng = np.random.default_rng(seed)
    one = salt(seed)
    displacement = rng.normal(size=(16, 3))
    displacement -= displacement.mean(axis=0)
    displacement *= size / np.sqrt((displacement**2).sum(axis=1).mean())
    disguise = rng.uniform(-5, 5, 3) + rng.integers(-1, 2, (16, 3)) @ one.cells[0]
    pairs, distances = close_pairs(concatenate([one, moved(one, displacement + disguise)]))
    if abs(size - NEAR) > 1e-6:
        assert len(pairs) == (size < NEAR)
    # rounding in fractional coordinates: a few 1e-16 of about 20 Å under a square root
    assert distances == pytest.approx([size] * len(pairs), abs=1e-6)


def test_small_symmetric_cells() -> None:
    """Where structure factors are stationary (perfect crystals), the atoms decide: 0.02 Å is not the same."""
    crystal = bulk("NaCl", "rocksalt", a=5.6)
    nudged = crystal.copy()
    nudged.positions[1] += [0.02, 0, 0]
    pairs, distances = close_pairs(Frames.from_atoms([crystal, nudged, crystal]))
    assert pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert (distances < SAME).tolist() == [False, True, False]


def test_molecules_and_slabs() -> None:
    """Without periods, wrapping means nothing, and moving and reordering still do."""
    water = molecule("H2O")
    shifted = water[[0, 2, 1]]
    shifted.translate([3.0, 1.0, 0.0])
    bent = water.copy()
    bent.set_angle(1, 0, 2, 95)
    slab = molecule("H2O", cell=[4, 4, 0], pbc=[True, True, False])
    wrapped = slab.copy()
    wrapped.positions[0] += [4, -8, 0]
    pairs, _ = close_pairs(Frames.from_atoms([water, shifted, bent]))
    assert pairs.tolist() == [[0, 1]]
    assert len(close_pairs(Frames.from_atoms([slab, wrapped]))[0]) == 1
    wrapped.positions[0] += [0, 0, 4]
    assert len(close_pairs(Frames.from_atoms([slab, wrapped]))[0]) == 0


def test_no_structures_one_structure_and_mixed_sizes(thermal: Make) -> None:
    assert close_pairs(Frames.empty())[0].shape == (0, 2)
    assert close_pairs(thermal(1))[0].shape == (0, 2)
    mixed = concatenate([thermal(2), salt(0), thermal(2)])
    assert close_pairs(mixed)[0].tolist() == [[0, 3], [1, 4]]


def test_agrees_with_comparing_every_pair() -> None:
    """On a random walk, whose pairs lie on both sides of the threshold."""
    rng = np.random.default_rng(1)
    start = bulk("Si", a=5.43).repeat(2)
    walk = start.positions + np.cumsum(rng.normal(0, 0.01, (60, 16, 3)), axis=0)
    frames = concatenate([moved(Frames.from_atoms([start]), step - start.positions) for step in walk])
    shift = walk[:, None] - walk[None]
    shift -= shift.mean(axis=2, keepdims=True)
    rms = np.sqrt((shift**2).sum(axis=3).mean(axis=2))
    expected = np.argwhere(np.triu(rms < NEAR, k=1))
    pairs, distances = close_pairs(frames)
    assert len(pairs) > 60 and pairs.tolist() == expected.tolist()
    assert distances == pytest.approx(rms[tuple(pairs.T)], abs=1e-6)


def test_thousands_of_structures_take_seconds(thermal: Make) -> None:
    """3000 structures of 16 atoms, 4.5 million pairs: about 0.5 s of one core; the limit allows for a slow machine."""
    frames = thermal(3000)
    start = time.process_time()
    assert len(close_pairs(frames)[0]) == 0
    assert time.process_time() - start < 6

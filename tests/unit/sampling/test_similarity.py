"""The displacement between members, and the least distance of two atoms, against brute force and ASE."""

import numpy as np
import pytest
from ase import Atoms
from hypothesis import assume, given
from hypothesis import strategies as st

from distill.sampling.rattle import random_deformation
from distill.sampling.separation import Separation
from distill.sampling.similarity import CHUNK, Pool, SeedFrame

seeds = st.integers(0, 2**31)
directions = st.tuples(st.booleans(), st.booleans(), st.booleans())


def random_cell(rng):
    cell = rng.normal(0, 3, (3, 3))
    assume(abs(np.linalg.det(cell)) > 0.15 * np.prod(np.linalg.norm(cell, axis=1)))
    assume(np.linalg.norm(cell, axis=1).min() > 1)
    return cell


def brute_force(vectors, cell, pbc, reach=8):
    ranges = [np.arange(-reach, reach + 1) if p else np.zeros(1) for p in pbc]
    images = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3) @ cell
    return np.linalg.norm(vectors[:, None] + images, axis=-1).min(axis=1)


@given(seeds, directions)
def test_distances_are_to_the_nearest_image(seed, pbc):
    rng = np.random.default_rng(seed)
    cell = random_cell(rng)
    frame = SeedFrame(cell, np.array(pbc))
    a, b = rng.uniform(0, 1, (2, 6, 3)) @ cell
    found = frame.distances(frame.coordinates(a), frame.coordinates(b))
    assert found == pytest.approx(brute_force(a - b, cell, pbc), abs=1e-9)


@given(seeds)
def test_wrapping_and_the_choice_of_cell_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    cell = random_cell(rng)
    a, b = rng.normal(0, 4, (2, 6, 3))
    other = np.array([[1, rng.integers(-1, 2), rng.integers(-1, 2)], [0, 1, rng.integers(-1, 2)], [0, 0, 1]])
    other = other[rng.permutation(3)] @ cell
    wrapped = b + rng.integers(-2, 3, (6, 3)) @ cell
    first, second = SeedFrame(cell, np.array([True] * 3)), SeedFrame(other, np.array([True] * 3))
    expected = first.distances(first.coordinates(a), first.coordinates(b))
    found = second.distances(second.coordinates(a), second.coordinates(wrapped))
    assert found == pytest.approx(expected, abs=1e-9)


@given(seeds, directions)
def test_an_undone_strain_is_no_displacement(seed, pbc):
    rng = np.random.default_rng(seed)
    cell = random_cell(rng)
    frame = SeedFrame(cell, np.array(pbc))
    positions = rng.normal(0, 4, (6, 3))
    deformation = random_deformation(0.05, cell, np.array(pbc), rng)
    strained = frame.coordinates(positions @ deformation, deformation)
    assert frame.distances(strained, frame.coordinates(positions)) == pytest.approx(np.zeros(6), abs=1e-9)


def test_without_a_cell_displacements_are_plain():
    frame = SeedFrame(np.zeros((3, 3)), np.array([False] * 3))
    a, b = np.random.default_rng(0).normal(0, 30, (2, 5, 3))
    expected = np.linalg.norm(a - b, axis=1)
    assert frame.distances(frame.coordinates(a), frame.coordinates(b)) == pytest.approx(expected)


@given(seeds, st.sampled_from([3, CHUNK, CHUNK + 1, 3 * CHUNK]))
def test_pool_finds_similar_members_as_brute_force_does(seed, n):
    rng = np.random.default_rng(seed)
    cell = np.diag([9.0, 10, 11])
    frame = SeedFrame(cell, np.array([True] * 3))
    origin = rng.uniform(0, 9, (n, 3))
    pool, members = Pool(frame, n, 8), []
    for _ in range(rng.integers(0, 8)):
        members.append(origin + rng.normal(0, 0.1, (n, 3)))
        pool.add(frame.coordinates(members[-1]))
    near = [brute_force(origin - m, cell, [True] * 3, reach=1).mean() < 0.16 for m in members]
    assert pool.holds_similar(frame.coordinates(origin), 0.16) == any(near)
    assert len(pool) == len(members)


def test_displacements_of_pairs():
    frame = SeedFrame(10 * np.eye(3), np.array([True] * 3))
    pool = Pool(frame, 2, 3)
    for shift in (0.0, 0.3, 9.9):
        pool.add(frame.coordinates(np.array([[shift, 0, 0], [5, 5, 5]])))
    assert pool.displacements(np.array([1, 2]), np.array([0, 1])) == pytest.approx([0.15, 0.2])


@given(seeds, directions, st.floats(0.3, 1.5))
def test_closest_pair_agrees_with_ase(seed, pbc, limit):
    rng = np.random.default_rng(seed)
    cell = random_cell(rng)
    assume(np.linalg.norm(1 / np.linalg.norm(np.linalg.inv(cell), axis=0)).min() > 1.5)  # no image of an atom itself
    atoms = Atoms("H4O2", rng.uniform(0, 1, (6, 3)) @ cell, cell=cell, pbc=pbc)
    distances = atoms.get_all_distances(mic=True) + 100 * np.eye(6)
    found = Separation(limit, (1, 8)).closest(atoms.numbers, atoms.positions, cell, atoms.pbc)
    if distances.min() >= limit:
        assert found is None
    else:
        i, j, distance = found
        assert distance == pytest.approx(distances.min(), abs=1e-9)
        assert distances[i, j] == pytest.approx(distance, abs=1e-9)


def test_default_limits_follow_the_covalent_radii():
    separation = Separation(None, (1, 8))
    apart = [np.array([[0, 0, 0], [d, 0, 0]]) for d in (0.59, 0.57)]  # 0.6 * (0.66 + 0.31) = 0.582
    oh, hh = np.array([8, 1]), np.array([1, 1])
    free = np.zeros((3, 3)), np.array([False] * 3)
    assert separation.closest(oh, apart[0], *free) is None
    assert separation.closest(oh, apart[1], *free) is not None
    assert separation.closest(hh, apart[1], *free) is None  # 0.6 * 0.62 = 0.372


def test_an_atom_may_be_too_close_to_its_own_image():
    found = Separation(2.6, (14,)).closest(np.array([14]), np.zeros((1, 3)), 2.5 * np.eye(3), np.array([True] * 3))
    assert found == (0, 0, pytest.approx(2.5))

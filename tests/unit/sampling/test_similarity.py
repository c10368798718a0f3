"""The displacement between members, against brute force."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from distill.sampling.rattle import random_deformation
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
def test_an_undone_strain_is_not_a_displacement(seed, pbc):
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
    pool, members = Pool(frame, n), []
    for _ in range(rng.integers(0, 8)):
        members.append(origin + rng.normal(0, 0.1, (n, 3)))
        pool.add(frame.coordinates(members[-1]))
    near = [brute_force(origin - m, cell, [True] * 3, reach=1).mean() < 0.16 for m in members]
    assert pool.holds_similar(frame.coordinates(origin), 0.16) == any(near)
    assert len(pool) == len(members)
    some = slice(rng.integers(0, 4), rng.integers(0, 9))
    assert pool.holds_similar(frame.coordinates(origin), 0.16, some) == any(near[some])


def test_displacements_of_pairs():
    frame = SeedFrame(10 * np.eye(3), np.array([True] * 3))
    pool = Pool(frame, 2)
    for shift in (0.0, 0.3, 9.9):
        pool.add(frame.coordinates(np.array([[shift, 0, 0], [5, 5, 5]])))
    assert pool.displacements(np.array([1, 2]), np.array([0, 1])) == pytest.approx([0.15, 0.2])

"""The least distance of two atoms, against ASE, and the limits that apply to a pair."""

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii
from hypothesis import assume, given
from hypothesis import strategies as st

from distill.base.errors import UserError
from distill.sampling.separation import REACH, Separation, pair_of

seeds = st.integers(0, 2**31)
directions = st.tuples(st.booleans(), st.booleans(), st.booleans())
FREE = np.zeros((3, 3)), np.array([False] * 3)


def at(distance):
    return np.array([[0, 0, 0], [distance, 0, 0]])


def random_atoms(rng, pbc):
    cell = rng.normal(0, 3, (3, 3))
    assume(abs(np.linalg.det(cell)) > 0.15 * np.prod(np.linalg.norm(cell, axis=1)))
    assume(np.min(1 / np.linalg.norm(np.linalg.inv(cell), axis=0)) > 1.5)  # no image of an atom itself is near
    return Atoms("H4O2", rng.uniform(0, 1, (6, 3)) @ cell, cell=cell, pbc=pbc)


@given(seeds, directions, st.floats(0.3, 1.5))
def test_closest_pair_agrees_with_ase(seed, pbc, limit):
    atoms = random_atoms(np.random.default_rng(seed), pbc)
    distances = atoms.get_all_distances(mic=True) + 100 * np.eye(6)
    found = Separation(limit, (1, 8)).closest(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    if distances.min() >= limit:
        assert found is None
    else:
        i, j, distance = found
        assert distance == pytest.approx(distances.min(), abs=1e-9)
        assert distances[i, j] == pytest.approx(distance, abs=1e-9)


@given(seeds, directions, st.sampled_from([None, 0.4, {"H-H": 0.9, "O-O": 0.2}]))
def test_clearance_agrees_with_ase(seed, pbc, minimum):
    atoms = random_atoms(np.random.default_rng(seed), pbc)
    separation = Separation(minimum, (1, 8))
    radii = covalent_radii[atoms.numbers]
    limits = 0.6 * (radii[:, None] + radii) if minimum != 0.4 else np.full((6, 6), 0.4)
    if isinstance(minimum, dict):
        limits[:4, :4], limits[4:, 4:] = 0.9, 0.2
    expected = min(REACH, np.min(atoms.get_all_distances(mic=True) - limits + 100 * np.eye(6)))
    clearance = separation.clearance(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    assert clearance == pytest.approx(expected, abs=1e-9)
    closest = separation.closest(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    assert (closest is None) == (clearance >= 0)


@given(seeds, directions, st.floats(0, 0.3))
def test_clearance_bounds_what_a_step_can_do(seed, pbc, length):
    rng = np.random.default_rng(seed)
    atoms = random_atoms(rng, pbc)
    step = rng.normal(size=(6, 3))
    moved = atoms.positions + length * step / np.linalg.norm(step, axis=1, keepdims=True)
    separation, cell = Separation(None, (1, 8)), atoms.cell.array
    before = separation.clearance(atoms.numbers, atoms.positions, cell, atoms.pbc)
    assert separation.clearance(atoms.numbers, moved, cell, atoms.pbc) >= before - 2 * length - 1e-9


def test_default_limits_follow_the_covalent_radii():
    separation = Separation(None, (1, 8))
    oh, hh = np.array([8, 1]), np.array([1, 1])
    assert separation.closest(oh, at(0.59), *FREE) is None  # 0.6 * (0.66 + 0.31) = 0.582
    assert separation.closest(oh, at(0.57), *FREE) is not None
    assert separation.closest(hh, at(0.57), *FREE) is None  # 0.6 * 0.62 = 0.372


@pytest.mark.parametrize("name", ["O-H", "H-O"])
def test_pairs_that_are_not_named_take_covalent_radii(name):
    separation = Separation({name: 0.7}, (1, 8))
    for pair, limit in (([8, 1], 0.7), ([1, 8], 0.7), ([1, 1], 0.372), ([8, 8], 0.792)):
        assert separation.closest(np.array(pair), at(limit - 1e-6), *FREE) is not None
        assert separation.closest(np.array(pair), at(limit + 1e-6), *FREE) is None


def test_a_limit_of_zero_allows_everything():
    separation = Separation(0.0, (1, 8))
    assert separation.closest(np.array([8, 1]), at(0.0), *FREE) is None
    assert separation.clearance(np.array([8, 1]), at(0.0), *FREE) == REACH


def test_an_atom_may_be_too_close_to_its_own_image():
    found = Separation(2.6, (14,)).closest(np.array([14]), np.zeros((1, 3)), 2.5 * np.eye(3), np.array([True] * 3))
    assert found == (0, 0, pytest.approx(2.5))


@pytest.mark.parametrize("name", ["O", "O-Xx", "X-H", "O-H-H", "", "o-h"])
def test_a_name_that_is_not_a_pair_is_refused(name):
    with pytest.raises(UserError, match=r"is not a pair of elements such as O-H") as refusal:
        Separation({name: 0.7}, (1, 8))
    assert repr(name) in str(refusal.value)


def test_a_pair_is_named_by_its_symbols():
    assert pair_of("O-H") == (8, 1)

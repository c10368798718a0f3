"""What may move: fixed components stay to the bit; where nothing is fixed, the centre of mass stays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.sampling.constraints import ConstraintMask
from distill.sampling.rattle import rattle
from distill.sampling.relax import relax_step

seeds = st.integers(0, 2**31)


def random_mask(rng, n):
    free = rng.random((n, 3)) < rng.choice([0.0, 0.6, 1.0], 3)  # along some directions all atoms free, along some none
    return ConstraintMask(free, rng.uniform(1, 200, n))


@given(seeds, st.integers(1, 12))
def test_fixed_components_stay_and_the_others_follow_the_step(seed, n):
    rng = np.random.default_rng(seed)
    mask, step = random_mask(rng, n), rng.normal(0, 1, (n, 3))
    allowed = mask.allowed(step)
    assert not allowed[~mask.free].any()
    for a in range(3):
        if mask.free[:, a].all():
            shift = mask.masses @ step[:, a] / mask.masses.sum()
            assert allowed[:, a] == pytest.approx(step[:, a] - shift, abs=1e-12)
            assert mask.masses @ allowed[:, a] == pytest.approx(0, abs=1e-9)  # of masses up to 200, 12 atoms
        else:
            assert np.array_equal(allowed[:, a], np.where(mask.free[:, a], step[:, a], 0))
    assert mask.any == mask.free.any()


@given(seeds, st.integers(1, 12))
def test_rattle_and_relaxation_leave_fixed_components_alone(seed, n):
    rng = np.random.default_rng(seed)
    mask, positions, forces = random_mask(rng, n), rng.normal(0, 5, (n, 3)), rng.normal(0, 5, (n, 3))
    for moved in (rattle(positions, 0.3, mask, rng), relax_step(positions, forces, 0.3, mask)):
        assert np.array_equal(moved[~mask.free], positions[~mask.free])


@given(seeds, st.integers(1, 12))
def test_forces_on_fixed_components_do_not_matter(seed, n):
    rng = np.random.default_rng(seed)
    mask, positions, forces = random_mask(rng, n), rng.normal(0, 5, (n, 3)), rng.normal(0, 5, (n, 3))
    other = np.where(mask.free, forces, 1e6)
    assert np.array_equal(relax_step(positions, forces, 0.3, mask), relax_step(positions, other, 0.3, mask))


def test_an_atom_that_may_slide_in_a_plane_moves_its_whole_step_there():
    mask = ConstraintMask(np.array([[True, True, False], [False, False, False]]), np.ones(2))
    moved = relax_step(np.zeros((2, 3)), np.array([[3.0, 4.0, 12.0], [1.0, 1.0, 1.0]]), 0.1, mask)
    assert moved == pytest.approx(np.array([[0.06, 0.08, 0], [0, 0, 0]]))

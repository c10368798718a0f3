"""One step each: rattle, strain, relax, acceptance. Fixed atoms are in test_constraints."""

import numpy as np
import pytest
from ase.units import kB
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from distill.sampling.constraints import ConstraintMask
from distill.sampling.rattle import MEAN_DISPLACEMENT, draw_sigma, random_deformation, rattle
from distill.sampling.relax import acceptance_probability, relax_step

PERIODIC = np.array([True, True, True])
seeds = st.integers(0, 2**31)


def all_free(masses):
    return ConstraintMask(np.ones((len(masses), 3), dtype=bool), np.asarray(masses))


@given(seeds, st.integers(1, 30))
def test_rattle_keeps_the_centre_of_mass(seed, n):
    rng = np.random.default_rng(seed)
    positions, masses = rng.normal(0, 5, (n, 3)), rng.uniform(1, 200, n)
    moved = rattle(positions, 0.3, all_free(masses), rng)
    assert masses @ moved / masses.sum() == pytest.approx(masses @ positions / masses.sum(), abs=1e-12)


def test_rattle_has_the_width_asked_for():
    n = 100_000
    moved = rattle(np.zeros((n, 3)), 0.2, all_free(np.ones(n)), np.random.default_rng(0))
    # Relative standard error of a standard deviation: 1/sqrt(2 * 300 000) = 0.13 %; of a mean length: 0.13 %.
    assert moved.std() == pytest.approx(0.2, rel=0.005)
    assert np.linalg.norm(moved, axis=1).mean() == pytest.approx(0.2 * MEAN_DISPLACEMENT, rel=0.005)


def test_sigma_is_log_uniform():
    rng = np.random.default_rng(0)
    drawn = np.array([draw_sigma((0.01, 1.0), rng) for _ in range(2000)])
    assert kstest(np.log10(drawn), "uniform", args=(-2, 2)).pvalue > 1e-3


def test_strain_is_symmetric_of_the_width_asked_for_and_prefers_no_direction():
    rng = np.random.default_rng(0)
    strains = np.array([random_deformation(0.02, np.eye(3), PERIODIC, rng) - np.eye(3) for _ in range(20_000)])
    assert np.array_equal(strains, strains.transpose(0, 2, 1))
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    for turned in (strains, axes.T @ strains @ axes):
        # Relative standard error: 1/sqrt(2 * 20 000) = 0.5 %.
        assert turned.std(axis=0) == pytest.approx(0.02 * (np.eye(3) + (1 - np.eye(3)) / np.sqrt(2)), rel=0.02)


def test_strain_acts_only_where_the_structure_is_periodic():
    rng = np.random.default_rng(0)
    tilted = np.array([[3.0, 0, 1], [0.5, 4, 0], [0, 0, 20]])
    slab = random_deformation(0.1, tilted, np.array([True, True, False]), rng)
    normal = np.cross(tilted[0], tilted[1])
    assert normal @ slab == pytest.approx(normal, abs=1e-12)
    assert np.abs(tilted[:2] @ slab - tilted[:2]).max() > 0.01
    molecule = random_deformation(0.1, np.zeros((3, 3)), np.array([False] * 3), rng)
    assert molecule == pytest.approx(np.eye(3), abs=1e-15)


@given(seeds, st.integers(1, 6))
def test_relax_step_moves_every_atom_by_its_length_but_not_the_whole(seed, n):
    rng = np.random.default_rng(seed)
    positions, forces, masses = rng.normal(0, 5, (n, 3)), rng.normal(0, 2, (n, 3)), rng.uniform(1, 200, n)
    step = relax_step(positions, forces, 0.2, all_free(masses)) - positions
    assert masses @ step / masses.sum() == pytest.approx(np.zeros(3), abs=1e-12)
    unit = forces / np.linalg.norm(forces, axis=1, keepdims=True)
    assert step - step[0] == pytest.approx(0.2 * (unit - unit[0]), abs=1e-12)


def test_relax_step_follows_opposite_forces_exactly_and_leaves_atoms_without_force():
    forces = np.array([[5.0, 0, 0], [-5, 0, 0], [0, 0, 0]])
    moved = relax_step(np.zeros((3, 3)), forces, 0.1, all_free(np.ones(3)))
    assert moved == pytest.approx(np.array([[0.1, 0, 0], [-0.1, 0, 0], [0, 0, 0]]))


@pytest.mark.parametrize(
    ("rise", "expected"), [(-100.0, 0.25), (0.0, 0.25), (kB * 300 * np.log(8), 1 / 8), (100.0, 0.0)]
)
def test_acceptance_probability(rise, expected):
    assert acceptance_probability(rise, 300.0) == pytest.approx(expected, rel=1e-12, abs=1e-300)

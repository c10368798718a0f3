"""Diffusion: Brownian motion, walks on a lattice, vibrations, free flight and rare jumps, each with a known answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from distill.analysis.diffusion import box_size_correction, diffusion
from distill.analysis.displacements import covariance, mean_squared_displacement, without_drift
from distill.analysis.replicas import judge_curves, judge_scalars
from distill.base.errors import UserError

STEP_FS = 50.0
STEP_PS = 0.05
LIQUID = 0.23
"""Å²/ps, about water."""


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def brownian(rng, samples: int, atoms: int, d: int = 3, noise: float = 0.0):
    steps = rng.normal(0, math.sqrt(2 * LIQUID * STEP_PS), (samples, atoms, d))
    return steps.cumsum(axis=0) + rng.normal(0, 1, steps.shape) * noise


def jumps(rng, rate: float, length: float, samples: int, atoms: int):
    """A walk on a cubic lattice: at most one jump a sample."""
    jumped = rng.random((samples, atoms)) < rate * STEP_PS
    steps = np.eye(3)[rng.integers(0, 3, jumped.shape)] * rng.choice([-1, 1], jumped.shape)[..., None]
    return length * (steps * jumped[..., None]).cumsum(axis=0)


def test_brownian_motion_is_found_with_true_errors(rng):
    """Of 200 runs each within 5 %, and 90 to 99 % of the intervals hold the truth."""
    found = [diffusion(brownian(rng, 300, 32), STEP_FS) for _ in range(200)]
    told = [one for one in found if not one.reason]
    assert len(told) >= 180
    assert all(abs(one.value / LIQUID - 1) < 0.05 for one in told if one.from_ps == pytest.approx(STEP_PS))
    assert 0.90 <= np.mean([one.low < LIQUID < one.high for one in told]) <= 0.99
    assert np.mean([one.error for one in told]) == pytest.approx(np.std([one.value for one in told]), rel=0.2)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_planes_and_lines_diffuse_as_well(rng, d):
    found = diffusion(brownian(rng, 2000, 100, d), STEP_FS)
    assert found.value == pytest.approx(LIQUID, abs=4 * found.error) and found.error < 0.02 * LIQUID


def test_vibration_about_the_path_is_an_offset(rng):
    found = diffusion(brownian(rng, 2000, 100, noise=0.2), STEP_FS)
    assert found.value == pytest.approx(LIQUID, abs=4 * found.error)
    assert found.offset == pytest.approx(6 * 0.2**2, rel=0.3) and found.from_ps > STEP_PS


def test_the_covariance_is_that_of_many_particles(rng):
    """20 000 noisy particles; a variance is known to sqrt(2 / n), so that 5 % are five standard errors."""
    lags, step, noise = np.array([1, 2, 5, 12]), 0.4, 0.15
    paths = rng.normal(0, math.sqrt(step), (60, 20_000)).cumsum(axis=0)
    paths += rng.normal(0, math.sqrt(noise), paths.shape)
    means = np.stack([((paths[lag:] - paths[:-lag]) ** 2).mean(axis=0) for lag in lags])
    assert means.mean(axis=1) == pytest.approx(lags * step + 2 * noise, rel=0.03)
    assert np.cov(means) / covariance(lags, 60, step, noise) == pytest.approx(np.ones((4, 4)), abs=0.05)


def test_atoms_that_move_together_count_once(rng):
    """32 paths, each of eight atoms: the error is that of 32, as blocks of time tell it, to a half."""
    paths = brownian(rng, 1500, 32)
    alone, together = diffusion(paths, STEP_FS), diffusion(np.repeat(paths, 8, axis=1), STEP_FS)
    assert together.value == pytest.approx(alone.value, rel=1e-6)
    assert together.error == pytest.approx(alone.error, rel=0.5)


def test_a_walk_on_a_lattice_diffuses_with_rate_times_length_squared_over_six(rng):
    """Jumps of rate Γ have a non-Gaussian parameter of 3 / (5 Γ t), less what a sample of one jump at most has not."""
    rate, length = 2.0, 2.5
    paths = jumps(rng, rate, length, 3000, 60)
    found, moved = diffusion(paths, STEP_FS), mean_squared_displacement(paths, STEP_FS)
    assert found.value == pytest.approx(rate * length**2 / 6, rel=0.03)
    known = 3 / (5 * rate * moved.time_ps) - 1 / moved.lags
    short = moved.time_ps < 1
    assert moved.non_gaussian[short] == pytest.approx(known[short], rel=0.05, abs=0.02)


def test_a_crystal_does_not_diffuse(rng):
    found = diffusion(rng.normal(0, 0.1, (1000, 64, 3)), STEP_FS)
    assert math.isnan(found.value) and "not diffusive" in found.reason
    assert found.slope == pytest.approx(0, abs=0.02)
    assert found.apparent < 0.01 * LIQUID
    assert "not diffusive" in diffusion(np.zeros((100, 8, 3)), STEP_FS).reason


def test_a_frozen_student_fails_although_its_forces_are_the_teachers(rng):
    """Harmonic wells about the sites of a lattice in both: the teacher's atoms jump between them, the student's not."""
    length, stiffness, width = 2.5, 4.0, 0.15

    def replicas(rate: float, many: int):
        paths = [jumps(rng, rate, length, 2000, 32) for _ in range(many)]
        return [path + rng.normal(0, width, path.shape) for path in paths]

    def off_site(positions):
        return positions - length * np.round(positions / length)

    teacher, student = replicas(1.0, 3), replicas(0.0, 4)
    wells = [np.histogram(off_site(run), 20, (-0.5, 0.5), density=True)[0] for run in (*student, *teacher)]
    assert judge_curves(np.array(wells[:4]), np.array(wells[4:]), tolerance=0.05).outcome == "pass"
    forces = stiffness * np.array([off_site(run).std() for run in (*student, *teacher)])
    assert judge_scalars(forces[:4], forces[4:], tolerance=0.01 * forces.mean()).outcome == "pass"
    moved = [mean_squared_displacement(run, STEP_FS).squared for run in (*student, *teacher)]
    assert judge_curves(np.array(moved[:4]), np.array(moved[4:]), tolerance=0.2 * moved[4][-1]).outcome == "fail"
    known, frozen = diffusion(teacher[0], STEP_FS), diffusion(student[0], STEP_FS)
    assert known.value == pytest.approx(length**2 / 6, rel=0.1)
    assert "not diffusive" in frozen.reason and frozen.apparent < 0.01 * known.low


def test_a_memory_of_the_path_is_waited_for(rng):
    """Steps that are taken back over 1 ps: <r²> = 6 D t + 6 w (1 - exp(-t)) grows nearly as t from the first time on,
    with a slope of D + w, a third too large."""
    kept, w = math.exp(-STEP_PS), LIQUID / 3
    back = lfilter([1], [1, -kept], rng.normal(0, math.sqrt(w * (1 - kept**2)), (2500, 200, 3)), axis=0)[500:]
    found = diffusion(brownian(rng, 2000, 200) + back, STEP_FS)
    assert found.value == pytest.approx(LIQUID, rel=0.04) and found.error < 0.02 * LIQUID
    assert found.from_ps > 1 and found.offset == pytest.approx(6 * w, rel=0.4)
    many = back[:1920].reshape(8, 240, 200, 3).transpose(1, 0, 2, 3).reshape(240, 1600, 3)
    assert "still changes with the time" in diffusion(brownian(rng, 240, 1600) + many, STEP_FS).reason


def test_free_flight_does_not_diffuse(rng):
    found = diffusion(np.arange(1000)[:, None, None] * rng.normal(size=(64, 3)), STEP_FS)
    assert found.slope == pytest.approx(2) and math.isnan(found.value)


def test_passing_from_flight_into_a_cage_is_no_diffusion(rng):
    """The slope falls from 2 to 0 and is 1 on its way; atoms that swing about their sites diffuse nowhere."""
    phases, time = rng.uniform(0, 2 * np.pi, (64, 3)), np.arange(2000)[:, None, None] * 0.01
    rates = rng.uniform(0.5, 2, (64, 3))
    assert math.isnan(diffusion(np.cos(rates * time * 4 + phases), 10.0).value)


def test_a_few_jumps_in_a_crystal_do_not_tell(rng):
    """One of 64 atoms walks: displacements grow as time does, and are nowhere near normal."""
    paths = rng.normal(0, 1e-3, (2000, 64, 3))
    paths[:, :1] += brownian(rng, 2000, 1)
    found = diffusion(paths, STEP_FS)
    assert math.isnan(found.value) and found.non_gaussian > 5


def test_a_short_run_tells_nothing(rng):
    with pytest.raises(UserError, match="20 samples"):
        diffusion(brownian(rng, 10, 4), STEP_FS)
    with pytest.raises(UserError, match="finite"):
        diffusion(np.full((30, 4, 3), np.nan), STEP_FS)
    assert "no range" in diffusion(brownian(rng, 100, 4), STEP_FS, from_ps=1.0).reason


def test_the_drift_of_the_whole_is_no_diffusion(rng):
    masses = np.array([16.0, 1.0, 1.0])
    rigid = rng.normal(size=(3, 3)) + rng.normal(size=(50, 1, 3)).cumsum(axis=0)
    still = without_drift(rigid, masses)
    assert np.ptp(still, axis=0) == pytest.approx(np.zeros((3, 3)), abs=1e-12)
    assert masses @ still[0] == pytest.approx(np.zeros(3), abs=1e-12)


def test_the_correction_for_the_size_of_the_box():
    """64 molecules of water, 12.42 Å, at 300 K and 0.85 mPa s: 0.059 Å²/ps."""
    assert box_size_correction(300, 0.85, 12.42) == pytest.approx(0.0590, rel=0.01)

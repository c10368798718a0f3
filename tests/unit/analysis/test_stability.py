"""The verdict on a run: canonical series survive, each way of dying is named."""

import numpy as np
import pytest
from ase import units

from distill.analysis.stability import BOLTZMANN, judge

N_ATOMS = 64
TARGET = 300.0


def canonical(seed: int = 0, samples: int = 500) -> dict:
    """A run of 5 ps whose temperatures are canonical (3N T / T0 follows chi² with 3N degrees of freedom)."""
    rng = np.random.default_rng(seed)
    return {
        "time_fs": np.linspace(0, 5000, samples),
        "temperature": TARGET * rng.chisquare(3 * N_ATOMS, samples) / (3 * N_ATOMS),
        "potential_energy": -300 + rng.normal(0, 0.3, samples),
        "min_distance": np.full(samples, 2.2),
        "min_ratio": np.full(samples, 1.0),
        "n_atoms": N_ATOMS,
        "degrees_of_freedom": 3 * N_ATOMS,
        "target_temperature": TARGET,
        "planned_fs": 5000.0,
    }


def test_boltzmann_agrees_with_ase():
    assert pytest.approx(units.kB, rel=1e-6) == BOLTZMANN  # ASE's default constants are CODATA 2014


@pytest.mark.parametrize("seed", range(20))
def test_canonical_runs_survive(seed):
    verdict = judge(**canonical(seed))
    assert verdict.survived
    assert verdict.reasons == ()
    # the mean of 400 independent samples of 10 % scatter: 5 standard errors
    assert verdict.mean_temperature == pytest.approx(TARGET, rel=5 * 0.102 / 20)
    assert verdict.temperature_band == pytest.approx(2 * TARGET * np.sqrt(2 / 192), rel=1e-12)


def test_a_structure_with_fixed_atoms_fluctuates_more() -> None:
    """Of 64 atoms all but four are fixed: the temperature follows chi² with 12 degrees of freedom."""
    run = canonical() | {
        "degrees_of_freedom": 12,
        "temperature": TARGET * np.random.default_rng(3).chisquare(12, 500) / 12,
    }
    verdict = judge(**run)
    assert verdict.survived, verdict.reasons
    assert verdict.temperature_band == pytest.approx(2 * TARGET * np.sqrt(2 / 12), rel=1e-12)
    assert not judge(**run | {"degrees_of_freedom": 3 * N_ATOMS}).survived  # as 64 free atoms it would be far too hot


def with_change(**changes) -> list[str]:
    verdict = judge(**canonical() | changes)
    assert not verdict.survived
    return list(verdict.reasons)


def test_collapsed_atoms_are_named_with_their_time():
    run = canonical()
    run["min_distance"][100:], run["min_ratio"][100:] = 0.8, 0.36
    (reason,) = with_change(**run)
    assert "within 0.80 Å" in reason
    assert "at 1002 fs" in reason


def test_an_early_end_is_a_failure():
    (reason,) = with_change(planned_fs=8000.0)
    assert reason == "it stopped after 5000 of 8000 fs"


def test_sparse_sampling_is_not_an_early_end():
    run = canonical()
    verdict = judge(**run | {"planned_fs": 5000 + np.diff(run["time_fs"])[0]})
    assert verdict.survived


def test_a_cold_and_an_exploding_run_are_reported():
    run = canonical()
    (reason,) = with_change(temperature=run["temperature"] * 0.7)
    assert "mean temperature" in reason
    peak = run["temperature"].copy()
    peak[300] = 3000
    (reason,) = with_change(temperature=peak)
    assert "rose to 3000 K" in reason


def test_the_start_of_the_run_is_not_held_against_it():
    run = canonical()
    run["temperature"][:50] = 900
    assert judge(**run).survived


def test_a_trend_of_the_energy_is_reported_and_measured():
    run = canonical()
    run["potential_energy"] = run["potential_energy"] + 0.02 * N_ATOMS * run["time_fs"] / 1000
    verdict = judge(**run)
    assert not verdict.survived
    assert "drifted by +50 meV/atom" in verdict.reasons[0]
    # 0.02 eV/atom/ps was put in; its own standard error bounds the difference (4 of them)
    assert verdict.energy_drift == pytest.approx(0.02, abs=4 * verdict.energy_drift_error)


def test_standard_error_of_the_drift_is_that_of_repeated_runs():
    verdicts = [judge(**canonical(seed)) for seed in range(200)]
    scatter = np.std([v.energy_drift for v in verdicts])
    stated = np.sqrt(np.mean([v.energy_drift_error**2 for v in verdicts]))
    # the scatter of 200 values is known to 5 %, the stated variance (8 degrees of freedom each) to better: 4 of them
    assert stated == pytest.approx(scatter, rel=0.2)


def test_not_a_number_and_an_empty_run_are_reported():
    run = canonical()
    run["temperature"][400:] = np.nan
    assert "not finite at 4008 fs" in with_change(**run)[0]
    empty = {k: np.zeros(0) for k in ("time_fs", "temperature", "potential_energy", "min_distance", "min_ratio")}
    assert with_change(**empty) == ["nothing was simulated"]


def test_short_runs_have_no_trend():
    verdict = judge(**canonical(samples=12))
    assert verdict.energy_drift is None
    assert verdict.energy_drift_error is None

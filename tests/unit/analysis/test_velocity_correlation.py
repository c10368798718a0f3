"""Correlations and spectra of velocities: oscillators of known frequency, free Langevin particles, equipartition."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units

from distill.analysis.velocity_correlation import SPEED_OF_LIGHT, velocity_correlation, vibrational_spectrum
from distill.base.errors import UserError


def thermal(rng, masses, temperature: float, shape):
    """Velocities of Maxwell and Boltzmann in ASE's unit, ``[*shape, N, 3]``."""
    return rng.normal(size=(*shape, len(masses), 3)) * np.sqrt(units.kB * temperature / masses)[:, None]


def test_an_oscillator_is_seen_at_its_frequency():
    """One atom on three springs; frequencies are computed in SI units."""
    springs, mass = np.array([5.0, 15.0, 40.0]), 12.0  # eV/Å², u
    rates = np.sqrt(springs * units._e * 1e20 / (mass * units._amu))  # 1/s
    velocities = np.cos(rates * np.arange(2500)[:, None] * 2e-15)
    found = vibrational_spectrum(velocities[:, None], 2.0, np.array([mass]), resolution=15)
    step = found.wavenumber[1]
    for rate in rates:
        line = rate / (2 * np.pi * 100 * units._c)
        near = np.abs(found.wavenumber - line) < 4 * step
        center = (found.wavenumber * found.values)[near].sum() / found.values[near].sum()
        assert center == pytest.approx(line, abs=0.1 * step)
        assert found.values[near].sum() * step == pytest.approx(1 / 3, abs=2e-3)  # equal amplitudes


def test_white_velocities_have_a_flat_spectrum_and_the_temperature_of_equipartition():
    rng, masses = np.random.default_rng(0), np.array([1.0, 16.0, 28.0])
    velocities = thermal(rng, masses, 300, (4000,))
    found = vibrational_spectrum(velocities, 10.0, masses, resolution=30)
    assert found.temperature == pytest.approx(300, rel=5 * np.sqrt(2 / velocities.size))
    assert found.values.sum() * found.wavenumber[1] == pytest.approx(1)
    assert found.wavenumber[-1] == pytest.approx(1 / (2 * SPEED_OF_LIGHT * 10), rel=0.02)
    inner = found.values[2:-2] * found.wavenumber[-1]  # 36 pieces of 9 components are known to 6 %
    assert inner.mean() == pytest.approx(1, abs=0.02) and np.abs(inner - 1).max() < 0.3


def test_free_langevin_particles_forget_and_diffuse_as_known():
    """Velocities of friction γ have <v(0) v(t)> = 3 k T / m exp(-γ t), and D = k T / (m γ)."""
    rng, mass, friction, step_ps, temperature = np.random.default_rng(1), 40.0, 2.0, 0.02, 100.0
    kept = np.exp(-friction * step_ps)
    speeds = thermal(rng, np.full(200, mass), temperature, (3000,))
    for k in range(1, len(speeds)):
        speeds[k] = kept * speeds[k - 1] + np.sqrt(1 - kept**2) * speeds[k]
    found = velocity_correlation(speeds, 1000 * step_ps, longest_ps=3.0)
    square = units.kB * temperature / mass * (1000 * units.fs) ** 2  # Å²/ps²
    assert found.values == pytest.approx(3 * square * np.exp(-friction * found.time_ps), abs=0.03 * square)
    assert found.diffusion[-1] == pytest.approx(square / friction, rel=0.03)
    direct = (speeds[50:] * speeds[:-50]).sum(axis=-1).mean() * (1000 * units.fs) ** 2
    assert found.values[50] == pytest.approx(direct, rel=1e-9)


def test_what_is_too_short_is_refused():
    still = np.zeros((100, 2, 3))
    with pytest.raises(UserError, match="20 samples"):
        velocity_correlation(still[:10], 1.0)
    with pytest.raises(UserError, match="no correlation over 1 ps"):
        velocity_correlation(still, 1.0, longest_ps=1)
    with pytest.raises(UserError, match=r"Give a resolution from 334 to 1.67e\+03"):
        vibrational_spectrum(still, 1.0, np.ones(2))
    with pytest.raises(UserError, match="nothing moves"):
        vibrational_spectrum(still, 1.0, np.ones(2), resolution=500)
    with pytest.raises(UserError, match="finite"):
        velocity_correlation(np.full((30, 1, 3), np.nan), 1.0)

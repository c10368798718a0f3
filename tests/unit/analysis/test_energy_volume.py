"""The Birch-Murnaghan fit: against ASE's iterative fit, against finite differences, and where there is no minimum."""

import numpy as np
import pytest
from ase.eos import EquationOfState
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.analysis.energy_volume import EnergyVolumeFit, birch_murnaghan, falls_at, fit_energy_volume
from distill.base.conventions import EV_PER_A3_IN_GPA


@settings(max_examples=50, deadline=None)
@given(st.floats(5, 60), st.floats(-10, 10), st.floats(5, 500), st.floats(2, 7))
def test_recovers_its_own_parameters(v0, e0, bulk, derivative):
    volumes = v0 * np.linspace(0.9, 1.1, 9)
    fit = fit_energy_volume(volumes, birch_murnaghan(volumes, v0, e0, bulk, derivative))
    # 1e-6: energies of order ten are stored to 1e-15, and B0' comes from a third derivative over ±10 % of volume
    assert fit.failure is None
    assert (fit.volume, fit.bulk_modulus) == pytest.approx((v0, bulk), rel=1e-6)
    assert fit.energy == pytest.approx(e0, abs=1e-9)
    assert fit.bulk_modulus_derivative == pytest.approx(derivative, abs=1e-4)


def test_agrees_with_ase_on_noisy_points():
    volumes = np.linspace(17, 24, 11)
    noise = np.random.default_rng(0).normal(0, 2e-3, 11)
    energies = birch_murnaghan(volumes, 20.3, -5.4, 90, 4.2) + noise
    fit = fit_energy_volume(volumes, energies)
    v0, e0, bulk = EquationOfState(volumes, energies, "birchmurnaghan").fit()
    # Same least-squares problem; ASE's optimiser stops at a relative change of 1e-8.
    assert fit.volume == pytest.approx(v0, rel=1e-7)
    assert fit.energy == pytest.approx(e0, rel=1e-7)
    assert fit.bulk_modulus == pytest.approx(bulk * EV_PER_A3_IN_GPA, rel=1e-6)
    assert fit.residual == pytest.approx(np.sqrt(np.mean((fit.energies(volumes) - energies) ** 2)), rel=1e-9)


def test_bulk_modulus_is_the_curvature():
    v0, bulk, h = 20.0, 100.0, 1e-2
    energies = birch_murnaghan(np.array([v0 - h, v0, v0 + h]), v0, 0.0, bulk, 4.0)
    curvature = (energies[0] - 2 * energies[1] + energies[2]) / h**2
    # central difference: relative error of order (h / V0)² times a small number
    assert v0 * curvature * EV_PER_A3_IN_GPA == pytest.approx(bulk, rel=1e-5)


def test_lattice_constant_of_a_cubic_cell():
    assert EnergyVolumeFit(volume=20.0).lattice_constant(8) == pytest.approx(160 ** (1 / 3), rel=1e-14)
    assert EnergyVolumeFit(failure="none").lattice_constant(8) is None


@pytest.mark.parametrize(
    ("volumes", "energies", "said"),
    [
        (np.linspace(21, 24, 7), None, "no minimum between 21.00 and 24.00"),
        (np.linspace(17, 20, 7), None, "no minimum"),
        (np.linspace(17, 24, 3), None, "at least 4"),
        (np.linspace(17, 24, 5), np.array([1, np.nan, 0, 1, np.inf]), "not finite at 2 of 5"),
        (np.linspace(17, 24, 7), -((np.linspace(17, 24, 7) - 20) ** 2), "no minimum"),
        (np.linspace(17, 24, 7), np.linspace(0, 1, 7), "no minimum"),
    ],
)
def test_failures_say_why(volumes, energies, said):
    if energies is None:
        energies = birch_murnaghan(volumes, 20.3, -5.4, 90, 4.2)
    fit = fit_energy_volume(volumes, energies)
    assert said in fit.failure
    assert fit.volume is None
    with pytest.raises(ValueError, match="no fit"):
        fit.energies(volumes)


def test_order_of_the_points_does_not_matter():
    volumes = np.linspace(17, 24, 8)
    energies = birch_murnaghan(volumes, 20.3, -5.4, 90, 4.2)
    order = np.random.default_rng(3).permutation(8)
    # 1e-9: sums in another order
    shuffled, plain = fit_energy_volume(volumes[order], energies[order]), fit_energy_volume(volumes, energies)
    assert shuffled.volume == pytest.approx(plain.volume, rel=1e-9)


def test_a_hole_is_the_first_volume_at_which_the_energy_falls() -> None:
    volumes = np.array([0.4, 1.0, 0.6, 0.8, 0.5])
    assert falls_at(volumes, np.array([9.0, 0.0, 3.0, 1.0, 5.0])) is None
    assert falls_at(volumes, np.array([9.0, 0.0, 3.0, 1.0, 2.0])) == 0.5
    assert falls_at(volumes, np.array([-9.0, 0.0, 3.0, 1.0, np.nan])) == 0.5, "what is not finite is a hole"
    assert falls_at(np.array([1.0, 0.95, 0.8]), np.array([0.0, -0.1, 1.0])) is None, "an expanded crystal"
    assert falls_at(volumes, np.array([3.5, 0.0, 3.0, 1.0, 2.0])) == 0.5, "also where it rises again"

"""Activation energies: exact lines, coverage of their intervals, bent lines, and a conductivity in SI units."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase import units

from distill.analysis.arrhenius import Estimate, arrhenius, conductivity
from distill.base.errors import UserError

KELVIN = np.array([600.0, 700, 800, 900, 1000])
ENERGY, PREFACTOR = 0.3, 50.0


def line(kelvin):
    return PREFACTOR * np.exp(-ENERGY / (units.kB * kelvin))


def test_an_exact_line_is_found_and_continued():
    found = arrhenius(KELVIN, line(KELVIN), 0.05 * line(KELVIN))
    assert found.energy.value == pytest.approx(ENERGY) and found.prefactor.value == pytest.approx(PREFACTOR)
    assert found.at(300).value == pytest.approx(line(300.0))
    assert found.at(300).high / found.at(300).low > found.at(800).high / found.at(800).low
    two = arrhenius(KELVIN[[0, -1]], line(KELVIN[[0, -1]]), 0.05 * line(KELVIN[[0, -1]]))
    assert two.energy.value == pytest.approx(ENERGY) and math.isnan(two.p)
    exact = 1.96 * 0.05 * math.sqrt(2) * units.kB / (1 / 600 - 1 / 1000)  # two points alone
    assert two.energy.high - ENERGY == pytest.approx(exact)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of 400 at least 92 %; errors are never made narrower than those given, so that some more is right."""
    rng, held = np.random.default_rng(0), []
    errors = np.array([0.15, 0.1, 0.08, 0.05, 0.05]) * line(KELVIN)
    for _ in range(400):
        found = arrhenius(KELVIN, rng.normal(line(KELVIN), errors), errors)
        cold = found.at(300)
        held.append([found.energy.low < ENERGY < found.energy.high, cold.low < line(300.0) < cold.high])
    assert (np.mean(held, axis=0) > 0.92).all() and (np.mean(held, axis=0) < 0.99).all()


def test_a_bent_line_says_so():
    bent = line(KELVIN) * np.exp([0, 0, 0, 0.5, 1.0])
    found = arrhenius(KELVIN, bent, 0.05 * bent)
    assert found.p < 1e-3
    straight = arrhenius(KELVIN, line(KELVIN), 0.05 * bent)
    assert found.energy.high - found.energy.low > 2 * (straight.energy.high - straight.energy.low)


def test_the_conductivity_is_that_of_nernst_and_einstein():
    """1 mol/l of ions with 1e-5 cm²/s at 298.15 K has F² c D / (R T) = 3.755 S/m, or 37.55 mS/cm."""
    volume = 1e27 / units._Nav  # of a litre, Å³, for one ion
    found = conductivity(Estimate(0.1, 0.08, 0.12), 298.15, 1, volume)
    faraday, gas = units._e * units._Nav, units._k * units._Nav
    assert found.value == pytest.approx(10 * faraday**2 * 1000 * 1e-9 / (gas * 298.15), rel=1e-9)
    assert found.value == pytest.approx(37.55, abs=0.01)
    assert (found.low, found.high) == pytest.approx((0.8 * found.value, 1.2 * found.value))
    together = conductivity(Estimate(0.1, 0.08, 0.12), 298.15, 1, volume, charge=2, haven_ratio=0.5)
    assert together.value == pytest.approx(8 * found.value)


def test_what_has_no_line_is_refused():
    with pytest.raises(UserError, match="two temperatures"):
        arrhenius([300], [1.0], [0.1])
    with pytest.raises(UserError, match=r"number 1 \(from 0\) has a D of nan"):
        arrhenius([300, 400], [1.0, math.nan], [0.1, 0.1])
    with pytest.raises(UserError, match="error of D of 0"):
        arrhenius([300, 400], [1.0, 2.0], [0.1, 0])
    with pytest.raises(UserError, match="positive temperature"):
        conductivity(Estimate(1, 1, 1), 300, 8, 0.0)

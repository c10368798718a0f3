"""Liquid argon, from dynamics to observables, as A. Rahman first simulated it (Phys. Rev. 136, A405 (1964))."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "argon.py"


@pytest.fixture(scope="module")
def argon() -> ModuleType:
    """The benchmark, which shows the same with more atoms and longer."""
    spec = spec_from_file_location("argon_of_rahman", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_forces_and_stress_are_gradients(argon):
    """Steps at the cut-off are 1e-4 eV/Å; no pair of this crystal is there."""
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * 2
    atoms.rattle(0.03, seed=0)
    atoms.calc = argon.LennardJones()
    assert atoms.get_forces()[:2] == pytest.approx(calculate_numerical_forces(atoms, 1e-4, iatoms=[0, 1]), abs=1e-6)
    assert atoms.get_stress() == pytest.approx(calculate_numerical_stress(atoms, 1e-5), abs=1e-6)


@pytest.mark.slow
def test_liquid_argon_is_that_of_rahman(argon, tmp_path):
    """256 atoms for 10 ps: maxima are known to some hundredths, D, from the longest time alone, to a tenth."""
    found = argon.liquid(argon.melt(4, tmp_path), tmp_path, equilibrate_ps=2, ps=10, seed=0)
    assert found.temperature == pytest.approx(94.4, abs=12)
    first, second = argon.peaks(found.g.radius, found.g.values)[:2]
    assert (first, second) == pytest.approx((3.7, 7.0), abs=0.2)
    waves = argon.SIGMA * argon.peaks(found.S.wavenumber, found.S.values)[:2]
    assert waves == pytest.approx([6.8, 12.5], abs=0.4)
    assert found.diffusion.apparent == pytest.approx(argon.RAHMAN["D"], rel=0.35)
    assert np.isfinite(found.diffusion.value) == (not found.diffusion.reason)

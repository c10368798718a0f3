"""Kinds of observables as a recipe names them, on crystals whose numbers are known."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from pydantic import ValidationError

from distill.analysis.samples import Samples
from distill.base.errors import UserError
from distill.observables import OBSERVABLES, network


def observable(kind: str, **settings):
    return OBSERVABLES[kind](kind=kind, run="liquid", **settings)


def samples(atoms: Atoms, times: int = 1, **arrays) -> Samples:
    """As many samples of one structure."""
    many = np.repeat(atoms.positions[None], times, axis=0)
    cells = np.repeat(atoms.cell.array[None], times, axis=0)
    return Samples(atoms.numbers, atoms.get_masses(), atoms.pbc, many, cells, step_fs=10.0, **arrays)


@pytest.fixture
def silicon() -> Atoms:
    return bulk("Si", a=5.431, cubic=True)


def test_networks_of_crystals(silicon):
    rings = observable("rings", element="Si", radius=2.6, longest=6).measure(samples(silicon, 3))
    assert rings.places.tolist() == [3, 4, 5, 6] and rings.values.tolist() == [0, 0, 0, 2]
    angles = observable("angles", triplet=("Si", "Si", "Si"), radius=2.6, width=4).measure(samples(silicon, 2))
    assert angles.places[angles.values > 0] == pytest.approx([110]) and angles.values.max() == pytest.approx(1 / 4)


def test_hydrogen_bonds_and_their_rings():
    """A dimer: one accepts, one donates."""
    dimer = Atoms("OH2OH2", [[0, 0, 0], [0.97, 0, 0], [-0.3, 0.9, 0], [2.8, 0, 0], [3.4, 0, 0.8], [3.4, 0, -0.8]])
    dimer.set_cell([30, 30, 30])
    dimer.pbc = True
    for molecules, share in (("A0D1", 0.5), ("A1D0", 0.5), ("A2D2", 0.0)):
        assert observable("hydrogen_bonds", molecules=molecules).measure(samples(dimer, 2)).values == share
    assert not observable("rings", element="O").measure(samples(dimer)).values.any()
    with pytest.raises(ValidationError, match="must be as A2D2"):
        observable("hydrogen_bonds", molecules="D2A2")
    with pytest.raises(ValidationError, match="greater than 0"):
        observable("angles", radius=(1.2, 0.0))
    with pytest.raises(ValidationError, match="pattern"):
        observable("powder_pattern", radiation="CuKA")


def test_rings_without_matscipy_are_refused_at_once(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(network, "version", missing)
    with pytest.raises(ValidationError, match=r"pip install 'mlip-distill\[physics\]'"):
        observable("rings")


def test_patterns_spectra_and_densities(silicon):
    pattern = observable("powder_pattern", range=(20, 40)).measure(samples(silicon))
    assert pattern.places[pattern.values.argmax()] == pytest.approx(28.44, abs=0.07)
    rate = 2 * np.pi * 100 * units._c * 500  # of 500 1/cm
    swing = np.cos(rate * np.arange(400)[:, None, None] * 1e-14) * np.array([1.0, -1] * 4)[:, None] * [1, 0, 0]
    moving = samples(silicon, 400, velocities=swing)
    spectrum = observable("spectrum").measure(moving)
    assert spectrum.places[spectrum.values.argmax()] == pytest.approx(500, abs=20)
    with pytest.raises(UserError, match="Set its velocities to true"):
        observable("spectrum").measure(samples(silicon, 30))
    heavy = Samples(silicon.numbers, 2 * silicon.get_masses(), silicon.pbc, moving.positions, moving.cells, 10.0)
    assert observable("density").measure(heavy).values == pytest.approx(2.329, abs=1e-3)

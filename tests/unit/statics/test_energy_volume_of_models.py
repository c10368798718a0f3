"""What a crystal says of a model besides its curve."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from springs import EDGE, STIFFNESS, Springs

from distill.analysis.energy_volume import COMPRESSED, falls_at
from distill.analysis.quantities import StaticResult
from distill.base.errors import UserError
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.smoothness import is_smooth
from distill.potentials.networks.painn import FORMER_SOFTENING
from distill.potentials.workers.calculator_potential import GivenCalculator
from distill.statics.energy_volume import energy_volume


def of_silicon(painn: Potential) -> StaticResult:
    return energy_volume(bulk("Si", a=5.43, cubic=True), painn, name="diamond Si", points=5, cubic_cell_atoms=8)


def test_a_hole_and_a_tip_are_named(painn: Potential) -> None:
    for update in painn.updates:
        update.softening.fill_(FORMER_SOFTENING)
    painn.short_range_repulsion = None  # nothing is left that rises
    found = of_silicon(painn)
    hole = falls_at(np.array(COMPRESSED), np.array(found.arrays["compressed"]["energies"]))
    assert hole is not None and not is_smooth(np.array(found.arrays["force_constants"]["values"]))
    first, second = found.flaws[-2:]
    assert f"the energy of diamond Si falls when it is compressed to {hole:g} of its volume" in first
    assert "the force constant of an atom of diamond Si depends on the displacement" in second
    assert not found.sound


def test_nothing_is_said_of_a_sound_potential(painn: Potential) -> None:
    painn.scales.data.fill_(0.01)  # the repulsion alone, which has no equilibrium
    with np.errstate(all="raise"):
        found = of_silicon(painn)
    (flaw,) = found.flaws
    assert flaw.startswith("there is no equilibrium volume of diamond Si (no minimum")
    assert [(one.value, one.why) for one in found.quantities] == 2 * [(None, flaw.partition("(")[2][:-1])]


def test_a_molecule_has_no_volume(painn: Potential, water: Atoms) -> None:
    with pytest.raises(UserError, match="water is not periodic in three directions: it has no volume"):
        energy_volume(water, painn, name="water")


def test_one_atom_alone_in_its_cell_leaves_its_site_too() -> None:
    """Which is no translation of the crystal: its force constant is 4 k, that of twelve springs."""
    found = energy_volume(bulk("Cu", "fcc", a=EDGE), GivenCalculator(Springs()), name="fcc Cu")
    assert found.arrays["force_constants"]["values"][:3] == pytest.approx(3 * [4 * STIFFNESS], rel=1e-3)


def test_springs_have_the_numbers_of_springs() -> None:
    """B = 4 k / 3 a; the fit of Birch and Murnaghan is off by the shape of another energy."""
    cell = bulk("Cu", "fcc", a=1.005 * EDGE, cubic=True)
    options = {"cubic_cell_atoms": 4, "strain": 0.02, "perfect": False}
    found = energy_volume(cell, GivenCalculator(Springs()), name="fcc Cu", **options)
    length, modulus = found.quantities
    assert (length.name, length.value) == ("lattice constant of fcc Cu", pytest.approx(EDGE, rel=1e-4))
    assert modulus.value == pytest.approx(4 * STIFFNESS / (3 * EDGE) * 160.21766, rel=0.01)
    assert StaticResult.from_json(found.as_json()).as_json() == found.as_json()

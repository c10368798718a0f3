"""The ASE calculator: the potential's own numbers, whatever list of neighbours is behind them."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.md.verlet import VelocityVerlet

from distill.base.errors import UserError
from distill.potentials.interface.calculator import PotentialCalculator
from distill.potentials.interface.potential import Potential
from distill.potentials.teachers.chgnet import CHGNet03
from distill.structures.frames import Frames


def run(potential: Potential, atoms: Atoms, skin: float, steps: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return energies and final positions of a short trajectory, and how many lists were made."""
    atoms = atoms.copy()
    atoms.set_momenta(np.random.default_rng(0).normal(size=(len(atoms), 3)))
    atoms.calc = calculator = PotentialCalculator(potential, skin)
    dynamics = VelocityVerlet(atoms, 2 * units.fs)
    energies = []
    for _ in range(steps):
        dynamics.run(1)
        energies.append(atoms.get_potential_energy())
    return np.array(energies), atoms.positions, calculator.lists_built


@pytest.mark.parametrize(("name", "steps"), [("painn", 60), ("chgnet", 10)])
def test_a_skin_changes_nothing(painn: Potential, silicon: Atoms, name: str, steps: int) -> None:
    potential = painn if name == "painn" else CHGNet03.build(CHGNet03.Settings(), seed=0)
    plain, ends, fresh = run(potential, silicon, 0.0, steps)
    skinned, ends_skinned, built = run(potential, silicon, 0.3, steps)
    # pairs come in another order: sums differ by roundings in single precision, which dynamics carries along
    np.testing.assert_allclose(skinned, plain, atol=2e-4)
    np.testing.assert_allclose(ends_skinned, ends, atol=1e-4)
    assert fresh >= steps and built < steps / 2
    assert name == "chgnet" or built > 1, "the trajectory is too short to test a second list"


def test_numbers_are_those_of_evaluate(painn: Potential, silicon: Atoms) -> None:
    expected = painn.evaluate(Frames.from_atoms([silicon]))
    silicon.calc = painn.calculator()
    assert isinstance(silicon.get_potential_energy(), float)
    assert silicon.get_potential_energy() == pytest.approx(float(expected.energy[0]), abs=1e-5)
    np.testing.assert_allclose(silicon.get_forces(), expected.forces, atol=1e-6)
    np.testing.assert_allclose(silicon.get_stress(voigt=False), expected.stress[0], atol=1e-7)


def test_changes_of_cell_number_and_place_are_noticed(painn: Potential, silicon: Atoms) -> None:
    calculator = painn.calculator()
    silicon.calc = calculator
    silicon.get_potential_energy()
    changed = [silicon.copy() for _ in range(4)]
    changed[0].set_cell(silicon.cell * 1.02, scale_atoms=True)
    changed[1].numbers[3] = 6
    changed[2].positions[5] += 1.0
    changed[3].pbc = [True, True, False]
    for atoms in changed:
        expected = painn.evaluate(Frames.from_atoms([atoms])).energy
        atoms.calc = calculator
        assert atoms.get_potential_energy() == pytest.approx(float(expected[0]), abs=1e-5)


def test_a_molecule_has_no_stress_and_strange_elements_are_refused(painn: Potential, water: Atoms) -> None:
    water.calc = painn.calculator()
    assert np.isfinite(water.get_forces()).all()
    with pytest.raises(PropertyNotImplementedError):
        water.get_stress()
    painn.elements = (1, 8)
    water.symbols[0] = "S"
    with pytest.raises(UserError, match="element S"):
        water.get_potential_energy()

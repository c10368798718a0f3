"""The ASE calculator: the potential's own numbers, whatever list of neighbours is behind them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.md.verlet import VelocityVerlet
from ase.neighborlist import neighbor_list

from distill.base.errors import UserError
from distill.potentials import POTENTIALS
from distill.potentials.interface.calculator import PotentialCalculator
from distill.potentials.interface.potential import Potential
from distill.potentials.teachers.chgnet import CHGNet03
from distill.structures.frames import Frames
from distill.structures.guard import UnphysicalResult, UnphysicalStructure


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
    with pytest.raises(PropertyNotImplementedError, match="periodic in three directions, and pbc is F F F"):
        water.get_stress()
    painn.predicts_stress = False
    with pytest.raises(PropertyNotImplementedError, match="predicts no stress"):
        water.get_stress()
    painn.elements = (1, 8)
    water.symbols[0] = "S"
    with pytest.raises(UserError, match="element S"):
        water.get_potential_energy()


def test_energies_of_atoms_add_up(painn: Potential, silicon: Atoms) -> None:
    with torch.no_grad():
        painn.reference_energies[14] = -3.0
    silicon.calc = painn.calculator()
    energies = silicon.get_potential_energies()
    assert energies.shape == (16,) and "energies" in silicon.calc.implemented_properties
    assert energies.sum() == pytest.approx(silicon.get_potential_energy(), rel=1e-12)
    assert np.ptp(energies) > 1e-4  # a rattled crystal has no equal atoms


@pytest.mark.parametrize("name", ["orb-v3-direct-20-omat", "ase"])
def test_energies_of_atoms_that_are_not_known_are_not_made_up(name: str, silicon: Atoms) -> None:
    row = POTENTIALS[name]
    potential: Potential = row.create(
        row.Settings(function="ase.calculators.lj:LennardJones") if name == "ase" else row.Settings()
    )
    silicon.calc = potential.calculator()
    assert "energies" not in silicon.calc.implemented_properties
    with pytest.raises(PropertyNotImplementedError, match="the energy of a structure, not of its atoms"):
        silicon.get_potential_energies()


def test_place_and_images_change_nothing(painn: Potential, silicon: Atoms) -> None:
    """Calculator, evaluation and training data, up to 1e5 Å away and 1e4 cells unwrapped."""
    where = {"here": 0 * silicon.positions}
    where |= {f"{d:g} Å away": np.full((16, 3), d) for d in (1e2, 1e5)}
    images = np.random.default_rng(0).integers(-10_000, 10_001, size=(16, 3))
    where["unwrapped"] = images @ silicon.cell.array
    found = {}
    for name, by in where.items():
        atoms = silicon.copy()
        atoms.positions += by
        frames = Frames.from_atoms([Atoms("Si"), atoms])
        evaluated = painn.evaluate(frames)
        prepared = painn.eval()(painn.prepare(frames).collate())
        atoms.calc = painn.calculator()
        found[name] = (
            (evaluated.forces[1:], prepared.forces.numpy()[1:], atoms.get_forces()),
            (evaluated.stress[1], prepared.stress.numpy()[1], atoms.get_stress(voigt=False)),
        )
    for name, (forces, stresses) in found.items():
        for kind in range(3):
            np.testing.assert_allclose(forces[kind], found["here"][0][0], rtol=0, atol=1e-6, err_msg=name)
            np.testing.assert_allclose(stresses[kind], found["here"][1][0], rtol=0, atol=1e-7, err_msg=name)


def test_dynamics_far_away_and_across_boundaries(painn: Potential, silicon: Atoms) -> None:
    """Between two lists atoms cross the boundary at which positions are wrapped, and the origin is far."""
    plain, ends, _ = run(painn, silicon, 0.3, 30)
    far = silicon.copy()
    # fractional coordinates of 0.5858 from the first atom are where positions are wrapped
    far.positions += np.random.default_rng(1).integers(-1000, 1001, size=(16, 3)) @ silicon.cell.array + 1e4
    away, far_ends, built = run(painn, far, 0.3, 30)
    np.testing.assert_allclose(away, plain, atol=2e-4)
    np.testing.assert_allclose(far_ends - far.positions, ends - silicon.positions, atol=1e-4)
    assert built < 15


def test_vectors_of_a_large_cell_have_all_digits(painn: Potential) -> None:
    """At 100 Å single precision has steps of 8e-6 Å; distances of the crystal come out to their own rounding."""
    atoms = bulk("Si", cubic=True) * (1, 1, 20)
    expected = neighbor_list("d", atoms, painn.cutoff)
    batch = painn.batch(Frames.from_atoms([atoms]))
    found = batch.vectors().norm(dim=1).numpy()
    np.testing.assert_allclose(np.sort(found), np.sort(expected)[::2], rtol=3e-7)


def spoil(atoms: Atoms, fault: str) -> Atoms:
    atoms = atoms.copy()
    if fault == "coincident":
        atoms.positions[5] = atoms.positions[2] + 3 * atoms.cell[1]
    elif fault == "cell":
        atoms.cell[0, 0] = np.nan
    elif fault == "collapsed":
        atoms.set_cell(0.05 * atoms.cell.array, scale_atoms=True)
    else:
        atoms.positions[3, 0] = np.inf
    return atoms


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ("coincident", r"Si16: atoms 2 and 5 \(counted from 0\) are at one place"),
        ("cell", "the cell is not finite"),
        ("collapsed", "denser than any matter"),
        ("position", "position of atom 3"),
    ],
)
@pytest.mark.parametrize("name", ["painn", "chgnet-0.3"])
def test_what_is_not_physical_is_an_error_that_says_so(name: str, fault: str, what: str, silicon: Atoms) -> None:
    potential: Potential = POTENTIALS[name].create(POTENTIALS[name].Settings())
    calculator = potential.calculator()
    silicon.calc = calculator
    before = silicon.get_forces()
    bad = spoil(silicon, fault)
    bad.calc = calculator
    for _ in range(2):  # the second time ASE might hand out what is stored
        with pytest.raises(UnphysicalStructure, match=what):
            bad.get_potential_energy()
    with pytest.raises(UnphysicalStructure, match=what):
        potential.prepare(Frames.from_atoms([silicon, bad]))
    silicon.calc = calculator
    np.testing.assert_allclose(silicon.get_forces(), before, atol=1e-6)


def test_one_structure_with_coincident_atoms_leaves_the_others_of_a_batch(painn: Potential, silicon: Atoms) -> None:
    alone = painn.evaluate(Frames.from_atoms([silicon]))
    together = painn.evaluate(Frames.from_atoms([spoil(silicon, "coincident"), silicon]))
    assert np.isnan(together.forces[:16]).all() and np.isnan(together.energy[0]) and np.isnan(together.stress[0]).all()
    np.testing.assert_allclose(together.forces[16:], alone.forces, atol=1e-6)
    assert np.isfinite(together.energy[1])


def test_numbers_that_are_not_finite_are_not_handed_out(painn: Potential, silicon: Atoms) -> None:
    with torch.no_grad():
        painn.read_out.second.bias.fill_(np.nan)
    silicon.calc = painn.calculator()
    with pytest.raises(UnphysicalResult, match=r"Si16: energy, forces or stress are not finite.*training diverged"):
        silicon.get_forces()
    silicon.positions[1] = silicon.positions[0] + [0.3, 0, 0]
    with pytest.raises(UnphysicalResult, match=r"Atoms 0 and 1 \(counted from 0\) are 0\.3 Å apart"):
        silicon.get_forces()
    with pytest.raises(UnphysicalStructure, match="atoms 0 and 1"):
        silicon.positions[1] = silicon.positions[0]
        silicon.get_forces()

"""Elastic constants of crystals of which they are known."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.calculators.lj import LennardJones
from springs import EDGE, STIFFNESS, Springs

from distill.analysis.elastic import deformation, fit_stiffness, is_cubic, strains
from distill.analysis.quantities import StaticResult
from distill.base.conventions import EV_PER_A3_IN_GPA
from distill.potentials.interface.potential import Potential
from distill.potentials.workers.calculator_potential import GivenCalculator
from distill.statics.elastic import elastic


def constants(result: StaticResult) -> dict[str, float | None]:
    return {one.name.partition(" of ")[0]: one.value for one in result.quantities}


def test_springs_between_nearest_neighbours() -> None:
    """C11 = 2 k / a = 2 C12 = 2 C44, from a cell that is 2 % too large; strains leave errors of their square."""
    found = elastic(bulk("Cu", "fcc", a=1.02 * EDGE), GivenCalculator(Springs()), name="fcc Cu", strain=1e-3)
    of = constants(found)
    c11 = 2 * STIFFNESS / EDGE * EV_PER_A3_IN_GPA
    assert [of["C11"], of["C12"], of["C44"]] == pytest.approx([c11, c11 / 2, c11 / 2], rel=1e-4)
    assert of["bulk modulus (elastic constants)"] == pytest.approx(2 / 3 * c11, rel=1e-4)
    assert not found.flaws and found.sound == "fcc Cu is elastically stable"
    assert found.arrays["asymmetry"] < 1e-4


def test_lennard_jones_agrees_with_second_derivatives_of_its_energy() -> None:
    """In any crystal of pairs at zero pressure C12 = C44 (Cauchy)."""
    calculator = LennardJones(sigma=2.3, epsilon=0.1, rc=5.5, smooth=True)
    found = constants(elastic(bulk("Ar", "fcc", a=3.6, cubic=True), GivenCalculator(calculator), name="fcc Ar"))
    atoms = bulk("Ar", "fcc", a=3.6, cubic=True)
    atoms.calc = calculator
    edges = np.linspace(3.4, 3.7, 31)
    energies = [energy(atoms, np.eye(3) * edge / 3.6) for edge in edges]
    rest = edges[np.argmin(energies)]
    edges = np.linspace(rest - 0.01, rest + 0.01, 7)
    fit = np.polyfit(edges, [energy(atoms, np.eye(3) * edge / 3.6) for edge in edges], 3)
    rest = next(x for x in np.roots(np.polyder(fit)) if abs(x - rest) < 0.02)
    atoms.set_cell(3 * [rest], scale_atoms=True)
    assert found["C11"] == pytest.approx(curvature(atoms, [1, 0, 0, 0, 0, 0]), rel=2e-3)
    assert found["C44"] == pytest.approx(curvature(atoms, [0, 0, 0, 1, 0, 0]), rel=2e-3)
    assert found["C12"] == pytest.approx(found["C44"], rel=2e-3)


def energy(atoms: Atoms, by: np.ndarray) -> float:
    copied = atoms.copy()
    copied.set_cell(atoms.cell.array @ by, scale_atoms=True)
    copied.calc = atoms.calc
    return float(copied.get_potential_energy())


def curvature(atoms: Atoms, strain: list[float]) -> float:
    """Second derivative of the energy by a strain, GPa."""
    step = 2e-3
    ahead, here, behind = (energy(atoms, deformation(h * np.array(strain))) for h in (step, 0, -step))
    return (ahead - 2 * here + behind) / step**2 / atoms.get_volume() * EV_PER_A3_IN_GPA


def test_any_stiffness_is_recovered_and_an_unstable_one_is_seen() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(6, 6))
    matrix = matrix @ matrix.T
    found = fit_stiffness(strains(0.01), 3.0 + strains(0.01) @ matrix + strains(0.01) ** 2 @ rng.normal(size=(6, 6)))
    assert found.matrix == pytest.approx(matrix)
    assert found.softest == pytest.approx(np.linalg.eigvalsh(matrix)[0]) and found.softest > 0
    assert fit_stiffness(strains(0.01), strains(0.01) @ (matrix - 10 * np.eye(6))).softest < 0


@pytest.mark.parametrize(
    ("atoms", "cubic"),
    [
        (bulk("Si"), True),
        (bulk("Fe", cubic=True) * (2, 2, 2), True),
        (bulk("NaCl", "rocksalt", a=5.6), True),
        (bulk("Si", cubic=True) * (2, 1, 1), False),
        (bulk("Mg"), False),
        (make_supercell(bulk("In", "bct", a=3.25, c=4.95), np.eye(3)), False),
    ],
)
def test_which_crystals_are_cubic(atoms: Atoms, cubic: bool) -> None:
    assert is_cubic(atoms) is cubic
    turned = atoms.copy()
    turned.rotate(10, "x", rotate_cell=True)
    assert not is_cubic(turned)


def test_without_a_stress_or_a_lattice_there_are_none(painn: Potential) -> None:
    slab = bulk("Si")
    slab.pbc = [True, True, False]
    assert {one.why for one in elastic(slab, painn, name="slab").quantities} == {
        "it is not periodic in three directions"
    }
    painn.predicts_stress = False
    assert {one.why for one in elastic(bulk("Si"), painn, name="Si").quantities} == {"painn predicts no stress"}


def test_a_relaxation_that_does_not_end_has_no_number() -> None:
    found = elastic(bulk("Cu", a=1.1 * EDGE), GivenCalculator(Springs()), name="fcc Cu", steps=1)
    assert all(one.value is None and "not relaxed after 1 steps" in one.why for one in found.quantities)
    assert not found.flaws and not found.sound

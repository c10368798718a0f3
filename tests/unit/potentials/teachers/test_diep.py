"""DIEP agrees with its package, in double precision, where neither rounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from distill.potentials import POTENTIALS
from distill.potentials.interface.potential import Potential
from distill.potentials.interface.smoothness import in_double


def structures() -> dict[str, Atoms]:
    """Crystals of one and two elements: in perfect ones, triangles have equal sides, and some lie in one line."""
    found = {
        "silicon": bulk("Si", "diamond", a=5.43, cubic=True),
        "rock salt": bulk("NaCl", "rocksalt", a=5.6, cubic=True),
        "an oblique cell of one atom": bulk("Cu", "fcc", a=3.6),
        "gallium arsenide, displaced": bulk("GaAs", "zincblende", a=5.65, cubic=True),
        "aluminium, displaced": bulk("Al", "fcc", a=4.05, cubic=True),
    }
    for name, atoms in found.items():
        if "displaced" in name:
            atoms.rattle(0.1, seed=1)
    return found


@pytest.fixture(scope="module")
def diep() -> Potential:
    row = POTENTIALS["diep-2.0"]
    return in_double(row.build(row.Settings(), seed=0))


@pytest.fixture(scope="module")
def published():
    """The calculator of the package, computing in double precision."""
    from diep import config
    from diep.pretrained import make_calculator

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "float_th", torch.float64)
        calculator = make_calculator()
        calculator.potential.double()
        yield calculator


@pytest.mark.parametrize("name", structures())
def test_it_is_the_published_model(diep: Potential, published, name: str) -> None:
    atoms = structures()[name]
    ours = diep.evaluate([atoms])
    atoms.calc = published
    assert ours.energy is not None and ours.forces is not None and ours.stress is not None
    assert ours.energy[0] == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    assert np.abs(ours.forces - atoms.get_forces()).max() < 1e-5
    assert np.abs(ours.stress[0] - atoms.get_stress(voigt=False)).max() < 1e-6


def test_a_molecule_and_an_atom_have_energies(diep: Potential) -> None:
    """Where nothing is within reach, the energy is that of the network's empty surroundings plus the free atom."""
    water, far = molecule("H2O"), Atoms("OH", positions=[[0, 0, 0], [30, 0, 0]])
    of_water, of_far, oxygen, hydrogen = diep.evaluate([water, far, Atoms("O"), Atoms("H")]).energy
    assert of_far == pytest.approx(oxygen + hydrogen, abs=1e-9)
    assert of_water < oxygen + 2 * hydrogen


def test_it_steps_where_two_sides_of_a_triangle_of_different_elements_are_equally_long(diep: Potential) -> None:
    """What its docstring says of smoothness, which users have to know, is true: oxygen passes the middle of Ir-W."""

    def energy(beside_the_middle: float) -> float:
        atoms = Atoms("IrWO", positions=[[-1.4, 0, 0], [1.4, 0, 0], [beside_the_middle, 1.4, 0]])
        return float(diep.evaluate([atoms]).energy[0])

    step = abs(energy(5e-6) - energy(-5e-6))
    nearby = abs(energy(15e-6) - energy(5e-6))
    assert step > 1e-5 + 3 * nearby, (step, nearby)

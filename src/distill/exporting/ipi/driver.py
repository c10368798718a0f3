"""A student as a potential of i-PI: all structures that come together are computed together."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.io import read
from ipi.pes.dummy import Dummy_driver
from ipi.utils.units import unit_to_internal, unit_to_user

from distill.base.arrays import Array
from distill.potentials.interface.saving import load
from distill.structures.frames import Frames

ANGSTROM = unit_to_user("length", "ase", 1.0)
"""One bohr in Å, with the number that i-PI reads structures with; its ``angstrom`` has eight digits."""
HARTREE = unit_to_internal("energy", "ase", 1.0)
"""One eV in hartree, the same."""

Computed = tuple[float, Array, Array, str]
"""Energy in hartree, forces in hartree/bohr, virial in hartree, and nothing."""


class StudentDriver(Dummy_driver):
    """What i-PI calls with cells and positions in bohr.

    Args:
        template: a structure with the elements of the simulation, in a format that ASE reads.

    Class attributes:
        folder: of the student.
        dtype: the precision that it computes in.
    """

    folder: ClassVar[Path]
    dtype: ClassVar[Literal["float32", "float64"]]

    def __init__(self, template: str, verbose: bool = False, **options: Any) -> None:
        self.template: Atoms = read(template)
        self.potential = load(self.folder).in_precision(self.dtype)
        super().__init__(verbose, **options)

    def compute_structure(self, cell: Array, pos: Array) -> Computed:
        """Return energy, forces and virial of a structure; lattice vectors are the columns of the cell."""
        return self._computed([cell], [pos])[0]

    def compute(self, cell: Array | list[Array], pos: Array | list[Array]) -> Computed | list[Computed]:
        """Return the same of one structure, or of each of a list."""
        if isinstance(cell, list):
            return self._computed(cell, list(pos))
        return self.compute_structure(cell, np.asarray(pos))

    def _computed(self, cells: list[Array], positions: list[Array]) -> list[Computed]:
        structures = [self._structure(cell, at) for cell, at in zip(cells, positions, strict=True)]
        found = self.potential.evaluate(Frames.from_atoms(structures))
        if found.energy is None or found.forces is None or found.stress is None:
            raise ValueError("a potential predicts energies, forces and stresses")
        forces = found.forces.reshape(len(structures), -1, 3) * (HARTREE * ANGSTROM)
        virials = -np.nan_to_num(found.stress) * found.volumes[:, None, None] * HARTREE
        energies = found.energy * HARTREE
        return [(float(e), f, v, "") for e, f, v in zip(energies, forces, virials, strict=True)]

    def _structure(self, cell: Array, positions: Array) -> Atoms:
        atoms = self.template.copy()
        atoms.positions = np.asarray(positions).reshape(-1, 3) * ANGSTROM
        if atoms.pbc.any():
            atoms.cell = np.asarray(cell).T * ANGSTROM
        return atoms

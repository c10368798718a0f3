"""Nearest-neighbour springs, of which everything is known by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from ase.stress import full_3x3_to_voigt_6_stress

LENGTH = 2.5  # Å
STIFFNESS = 4.0  # eV/Å²
DEPTH = 0.7  # eV
EDGE = LENGTH * np.sqrt(2)
"""Lattice constant of the fcc crystal without stress, Å."""


class Springs(Calculator):
    """Pairs nearer than 1.2 times the length have -depth + stiffness (r - length)² / 2.

    Args:
        kink: stretch in Å below which forces are up to twice as large; the energy does not follow.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, kink: float = 0.0) -> None:
        super().__init__()
        self.kink = kink

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        """Fill the results."""
        super().calculate(atoms, properties, system_changes)
        i, distance, vector = neighbor_list("idD", self.atoms, 1.2 * LENGTH)
        stretch = distance - LENGTH
        energy = float(np.sum(STIFFNESS * stretch**2 / 4 - DEPTH / 2))
        stiffer = 1 + self.kink**2 / (self.kink**2 + stretch**2) if self.kink else 1.0
        pull = (STIFFNESS * stiffer * stretch / distance)[:, None] * vector
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, i, pull)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if self.atoms.cell.rank == 3:
            stress = np.einsum("ni,nj->ij", pull, vector) / 2 / self.atoms.get_volume()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)

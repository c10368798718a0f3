"""Relax: the short way downhill that turns a rattled structure into a plausible one, and the acceptance test.

The steps shrink like 1/x (Robbins and Monro, Ann. Math. Stat. 22, 400 (1951)) and their length does not depend on the
size of the forces, so they stay harmless where the potential extrapolates.
"""

from __future__ import annotations

import numpy as np
from ase.units import kB

from distill.structures.frames import Array

MAX_ACCEPTANCE = 0.25
"""Most probable acceptance: even a good structure is usually relaxed further, so that trees hold relaxed and
unrelaxed structures alike."""


def relax_step(positions: Array, forces: Array, length: Array, masses: Array, structure: Array) -> Array:
    """Return positions after one step of many structures at once, each with its centre of mass put back.

    Args:
        positions: ``[N, 3]`` Å, all structures one after another.
        forces: ``[N, 3]`` eV/Å; an atom without force stays.
        length: how far each structure's atoms move along their unit forces, ``[B]`` Å.
        masses: ``[N]``.
        structure: index of the structure of each atom, ``[N]``, ascending; every structure has atoms.
    """
    size = np.linalg.norm(forces, axis=1, keepdims=True)
    direction = np.divide(forces, size, out=np.zeros_like(positions), where=size > 0)
    step = length[structure, None] * direction
    first = np.searchsorted(structure, np.arange(len(length)))
    drift = np.add.reduceat(masses[:, None] * step, first) / np.add.reduceat(masses, first)[:, None]
    return positions + step - drift[structure]


def acceptance_probability(energy_difference: float, temperature: float) -> float:
    """Return min(0.25, exp(-ΔE/kT)) for ΔE in eV per atom against the parent and a temperature in K."""
    return min(MAX_ACCEPTANCE, float(np.exp(-max(energy_difference, 0.0) / (kB * temperature))))

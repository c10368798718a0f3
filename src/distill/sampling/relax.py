"""Relax: the short way downhill that turns a rattled structure into a plausible one, and the acceptance test.

The steps shrink like 1/x (Robbins and Monro, Ann. Math. Stat. 22, 400 (1951)) and their length does not depend on the
size of the forces, so they stay harmless where the potential extrapolates.
"""

from __future__ import annotations

import numpy as np
from ase.units import kB

from distill.base.arrays import Array
from distill.sampling.constraints import ConstraintMask

MAX_ACCEPTANCE = 0.25
"""Most probable acceptance: even a good structure is usually relaxed further, so that trees hold relaxed and
unrelaxed structures alike."""


def relax_step(positions: Array, forces: Array, length: float, mask: ConstraintMask) -> Array:
    """Return positions after one step of a structure, as far as its atoms may move.

    Args:
        positions: ``[n, 3]`` Å.
        forces: ``[n, 3]`` eV/Å; an atom without force stays.
        length: how far each atom moves along its unit force, Å.
        mask: what may move.
    """
    pull = np.where(mask.free, forces, 0.0)
    size = np.sqrt(np.einsum("ij,ij->i", pull, pull))[:, None]
    return positions + mask.allowed(length * np.divide(pull, size, out=np.zeros_like(pull), where=size > 0))


def acceptance_probability(energy_difference: float, temperature: float) -> float:
    """Return min(0.25, exp(-ΔE/kT)) for ΔE in eV per atom against the parent and a temperature in K."""
    return min(MAX_ACCEPTANCE, float(np.exp(-max(energy_difference, 0.0) / (kB * temperature))))

"""Move a potential from its own level of theory to that of the data, by one energy per element.

Total energies of two codes or functionals differ mostly by a constant for every atom of an element; fitting these
constants first leaves the small and meaningful differences to fine-tuning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from ase.data import chemical_symbols

from distill.potentials.potential import Potential
from distill.structures.frames import Array, Frames


@dataclass(frozen=True)
class ReferenceShift:
    """What was added to the energy of each element.

    Attributes:
        shift: element symbol to eV per atom.
        determined: False where the compositions leave the single shifts undetermined (their sum is what counts).
        residual: energy per atom left unexplained, data minus shifted potential, ``[B]`` eV/atom.
    """

    shift: dict[str, float]
    determined: bool
    residual: Array


def element_shift(frames: Frames, difference: Array) -> ReferenceShift:
    """Fit one energy per element to energy differences by least squares per atom.

    Where compositions do not determine all elements, the solution closest to no shift is taken (minimum norm).

    Args:
        frames: the structures.
        difference: energy of the data minus that of the potential, ``[B]`` eV.
    """
    elements = frames.elements
    counts = np.zeros((len(frames), len(elements)))
    np.add.at(counts, (frames.structure_of_atom, np.searchsorted(elements, frames.numbers)), 1)
    fractions = counts / frames.n_atoms[:, None]
    target = difference / frames.n_atoms
    solution, _, rank, _ = np.linalg.lstsq(fractions, target, rcond=1e-8)
    shift = {chemical_symbols[z]: float(x) for z, x in zip(elements, solution, strict=True)}
    return ReferenceShift(shift, bool(rank == len(elements)), target - fractions @ solution)


def shift_reference(potential: Potential, frames: Frames) -> ReferenceShift:
    """Shift the per-element offsets of ``potential`` in place so that it meets the energies of ``frames``.

    Raises ValueError where the frames have no energies.
    """
    if frames.energy is None:
        raise ValueError("these structures have no energies")
    predicted = potential.evaluate(frames, stress=False)
    assert predicted.energy is not None  # noqa: S101 - evaluate always gives energies
    result = element_shift(frames, frames.energy - predicted.energy)
    with torch.no_grad():
        for symbol, value in result.shift.items():
            potential.offsets[chemical_symbols.index(symbol)] += value
    return result

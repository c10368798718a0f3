"""An ASE calculator that computes a student in C++."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import torch
from ase.stress import full_3x3_to_voigt_6_stress

from distill.base.arrays import Array
from distill.base.errors import DistillError
from distill.potentials.interface.calculator import CPP, SKIN, PotentialCalculator
from distill.potentials.interface.potential import MAX_Z, Potential
from distill.potentials.native.engine import Engine, library
from distill.potentials.native.model_file import model_content
from distill.structures.frames import Frames

ATOMS_OF_THREAD = 32
"""Fewer are not worth a thread of their own."""


class NativeCalculator(PotentialCalculator):
    """The calculator of a student, computed in C++ with the weights that it has now.

    Args:
        potential: a student of an architecture that the C++ knows, which says its elements.
        skin: how much further than the cutoff neighbours are listed, Å.

    Raises:
        UserError: there is no compiler, or the student cannot be computed.
        WorkError: the compiler failed.
    """

    computed_by = CPP

    def __init__(self, potential: Potential, skin: float = SKIN) -> None:
        super().__init__(potential, skin)
        self._engine = Engine(model_content(potential, "double" if potential.dtype == torch.float64 else "single"))
        self._place = np.zeros(MAX_Z + 1, dtype=np.int32)
        self._place[list(potential.elements or ())] = np.arange(len(potential.elements or ()))

    def _computed(self, frames: Frames) -> dict[str, float | Array]:
        if not self._list.holds(frames):
            self.potential.check(frames)
            self._list.rebuild(frames)
            pairs, translations = self._list.pairs
            self._engine.list(self._place[frames.numbers], pairs.numpy(), translations.numpy())
        threads = max(1, min(torch.get_num_threads(), len(frames.numbers) // ATOMS_OF_THREAD))
        energies, forces, by_strain = self._engine.evaluate(frames.positions, threads)
        total = float(energies.sum())
        results: dict[str, float | Array] = {"energy": total, "free_energy": total, "forces": forces}
        results["energies"] = energies
        if frames.pbc.all() and (volume := float(frames.volumes[0])) > 0:
            results["stress"] = full_3x3_to_voigt_6_stress((by_strain + by_strain.T) / (2 * volume))
        return results


def native_calculator(potential: Potential) -> NativeCalculator | None:
    """Return a calculator in C++, or None where there can be none; where the compiler is the reason, it is said once.

    Args:
        potential: of an architecture that the C++ knows, on any device.
    """
    if potential.device.type != "cpu" or not potential.elements or _why_not():
        return None
    return NativeCalculator(potential)


@cache
def _why_not() -> str:
    try:
        library()
    except (DistillError, OSError) as error:
        warnings.warn(f"students are not computed in C++: {error}", stacklevel=3)
        return str(error)
    return ""

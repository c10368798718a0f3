"""X-ray powder patterns, the mean over structures, to lay beside a diffractogram."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from distill.base.arrays import Array
from distill.base.errors import UserError, nearest
from distill.structures.frames import Frames

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class PowderPattern:
    """A powder pattern.

    Attributes:
        angle: 2θ, ``[A]`` degrees.
        values: intensity, ``[A]``; 100 at the highest.
    """

    angle: Array
    values: Array


def powder_pattern(
    frames: Frames,
    *,
    radiation: str | float = "CuKa",
    shortest: float = 10.0,
    longest: float = 90.0,
    step: float = 0.02,
    width: float = 0.2,
) -> PowderPattern:
    """Return the pattern of Bragg reflections with normal lines, the mean over structures.

    Reflections, with multiplicity, atomic form factors, Lorentz and polarisation factor, are pymatgen's
    ``XRDCalculator``. There is no temperature factor: of snapshots of dynamics the displacements are in the structures.

    Args:
        frames: structures that are periodic in all directions.
        radiation: name of the line, as CuKa, CuKa1 or MoKa, or the wavelength in Å.
        shortest: first angle 2θ, degrees.
        longest: last, degrees.
        step: of the angle, degrees.
        width: of a line at half of its height, degrees.

    Raises:
        UserError: structures are not periodic, no such radiation, or no reflection in range.
    """
    if not frames.pbc.all():
        raise UserError("reflections need a lattice: structures must be periodic in all directions")
    if not (0 <= shortest < longest <= 180 and step > 0 and width > 0):
        raise UserError(f"no pattern from {shortest:g} to {longest:g}° in steps of {step:g}° and lines of {width:g}°")
    reflections = _reflections(radiation)
    beyond = int(np.ceil(2 * width / step))  # lines that begin outside reach so far in
    angle = shortest + step * np.arange(round((longest - shortest) / step) + 1)
    heights = np.zeros(len(angle) + 2 * beyond + 1)
    for atoms in frames.to_atoms():
        try:
            places, intensities = reflections(atoms, max(0.0, shortest - 2 * width), min(180.0, longest + 2 * width))
        except ValueError as error:
            raise UserError(f"there is no powder pattern from {shortest:g} to {longest:g}° ({error})") from None
        left, part = np.divmod((places - shortest) / step + beyond, 1)
        for bins, weights in ((left, 1 - part), (left + 1, part)):
            inside = (bins >= 0) & (bins < len(heights))
            heights += np.bincount(bins[inside].astype(int), (weights * intensities)[inside], minlength=len(heights))
    line = np.exp(-4 * np.log(2) * (step * np.arange(-beyond, beyond + 1) / width) ** 2)
    values = np.convolve(heights[:-1], line, "valid")
    return PowderPattern(angle, 100 * values / values.max())


def _reflections(radiation: str | float) -> Callable[[Atoms, float, float], tuple[Array, Array]]:
    """Return what gives 2θ and intensities, over the number of atoms squared, of a structure's reflections."""
    from pymatgen.analysis.diffraction.xrd import WAVELENGTHS, XRDCalculator
    from pymatgen.io.ase import AseAtomsAdaptor

    if isinstance(radiation, str) and radiation not in WAVELENGTHS:
        raise UserError(f"there is no radiation {radiation!r}", remedy=nearest(radiation, WAVELENGTHS))
    calculator = XRDCalculator(radiation)

    def find(atoms: Atoms, shortest: float, longest: float) -> tuple[Array, Array]:
        structure = AseAtomsAdaptor.get_structure(atoms)
        found = calculator.get_pattern(structure, scaled=False, two_theta_range=(shortest, longest))
        return np.asarray(found.x), np.asarray(found.y) / len(atoms) ** 2

    return find

"""Observables of structure: radial distribution, coordination, structure factor, tetrahedral order, X-ray pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from distill.base.tolerances import Tolerance
from distill.observables.base import Measured, Observable

if TYPE_CHECKING:
    from distill.analysis.samples import Samples

FRAMES = 500
"""Structures of a replica at most that structure is averaged over: neighbouring samples say the same."""
PATTERNS = 50
"""The same of X-ray patterns, one of which takes tenths of a second."""


class RadialDistribution(Observable):
    """Radial distribution function g(r)."""

    place_unit: ClassVar[str] = "Å"
    place_name: ClassVar[str] = "distance"
    asymptote: ClassVar[float] = 1.0

    kind: Literal["rdf"]
    pair: tuple[str, str] | None = None
    """The two elements; absent: all atoms."""
    range: tuple[float, float] = (0.0, 6.0)
    """Distances that are judged, Å; they may exceed half of the cell."""
    width: float = Field(0.05, gt=0)
    """Of a bin, Å."""
    tolerance: Tolerance = Field(0.05, exclude=True)
    """Root mean square of the difference of g(r) over the range, or a share of that of g(r) - 1."""

    def measure(self, samples: Samples) -> Measured:
        """Return g(r) of one replica."""
        from distill.analysis.radial_distribution import radial_distribution

        first, second = self.pair or (None, None)
        frames = samples.every(FRAMES).frames
        found = radial_distribution(frames, first, second, longest=self.range[1], width=self.width)
        judged = found.radius >= self.range[0]
        return Measured(found.values[judged], found.radius[judged])


class Coordination(Observable):
    """Mean number of neighbours within a radius."""

    kind: Literal["coordination"]
    pair: tuple[str, str] | None = None
    """Neighbours of the second element around atoms of the first; absent: all atoms."""
    radius: float = Field(gt=0)
    """Up to which atoms are neighbours, Å."""
    tolerance: Tolerance = Field("5 %", exclude=True)
    """Difference of the number of neighbours, or a share of the teacher's."""

    def measure(self, samples: Samples) -> Measured:
        """Return the mean coordination number of one replica."""
        from distill.analysis.radial_distribution import radial_distribution

        first, second = self.pair or (None, None)
        frames = samples.every(FRAMES).frames
        found = radial_distribution(frames, first, second, longest=self.radius, width=self.radius)
        return Measured.number(found.neighbours(self.radius))


class StructureFactor(Observable):
    """Structure factor S(q)."""

    place_unit: ClassVar[str] = "1/Å"
    place_name: ClassVar[str] = "wavenumber"
    asymptote: ClassVar[float] = 1.0

    kind: Literal["structure_factor"]
    pair: tuple[str, str] | None = None
    """The two elements; absent: all atoms."""
    range: tuple[float, float] = (0.0, 8.0)
    """Wavenumbers that are judged, 1/Å."""
    width: float = Field(0.1, gt=0)
    """Of a bin, 1/Å."""
    tolerance: Tolerance = Field("15 %", exclude=True)
    """Root mean square of the difference of S(q) over the range, or a share of that of S(q) - 1."""

    def measure(self, samples: Samples) -> Measured:
        """Return S(q) of one replica at the wave vectors of its cell."""
        from distill.analysis.structure_factor import structure_factor

        first, second = self.pair or (None, None)
        frames = samples.every(FRAMES).frames
        found = structure_factor(frames, first, second, largest=self.range[1], width=self.width)
        judged = found.wavenumber >= self.range[0]
        return Measured(found.values[judged], found.wavenumber[judged])


class TetrahedralOrder(Observable):
    """Tetrahedral order parameter q, its mean."""

    kind: Literal["tetrahedral_order"]
    element: str | None = None
    """Of the atoms and of their neighbours, as O in water; absent: all atoms."""
    tolerance: Tolerance = Field(0.02, exclude=True)
    """Difference of the mean of q."""

    def measure(self, samples: Samples) -> Measured:
        """Return the mean of q over atoms with four neighbours and samples of one replica."""
        import numpy as np

        from distill.analysis.tetrahedral_order import tetrahedral_order

        orders = tetrahedral_order(samples.every(FRAMES).frames, self.element)
        return Measured.number(float(np.nanmean(orders)))


class PowderPattern(Observable):
    """X-ray powder pattern."""

    place_unit: ClassVar[str] = "degree"
    place_name: ClassVar[str] = "2θ"

    kind: Literal["powder_pattern"]
    radiation: Annotated[str, Field(pattern=r"^(Cu|Mo|Cr|Fe|Co|Ag)(Ka|Ka1|Ka2|Kb1)$")] | float = "CuKa"
    """Name of the line, as CuKa or MoKa, or the wavelength in Å."""
    range: tuple[float, float] = (10.0, 90.0)
    """Angles 2θ that are judged, degrees."""
    width: float = Field(0.5, gt=0)
    """Of a line at half of its height, degrees."""
    tolerance: Tolerance = Field("20 %", exclude=True)
    """Root mean square of the difference of intensities, of which the highest is 100, or a share of that of these."""

    def measure(self, samples: Samples) -> Measured:
        """Return the pattern of one replica, the mean over its structures."""
        from distill.analysis.powder import powder_pattern

        frames = samples.every(PATTERNS).frames
        first, last = self.range
        found = powder_pattern(
            frames, radiation=self.radiation, shortest=first, longest=last, step=self.width / 5, width=self.width
        )
        return Measured(found.values, found.angle)

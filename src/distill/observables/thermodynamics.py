"""Observables of thermodynamics: density, pressure, potential energy."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from distill.base.errors import UserError
from distill.base.tolerances import Tolerance
from distill.observables.base import Measured, Observable

if TYPE_CHECKING:
    from distill.analysis.samples import Samples


class Density(Observable):
    """Mass density at constant pressure."""

    unit: ClassVar[str] = "g/cm³"

    kind: Literal["density"]
    tolerance: Tolerance = Field("3 %", exclude=True)
    """Difference, or a share of the teacher's."""

    def measure(self, samples: Samples) -> Measured:
        """Return the mean density of one replica, with the masses of the elements even where dynamics had others."""
        from distill.analysis.density import density

        return Measured.number(float(density(samples.frames).mean()))


class Pressure(Observable):
    """Pressure at constant volume."""

    unit: ClassVar[str] = "GPa"

    kind: Literal["pressure"]
    tolerance: Tolerance = Field(0.2, exclude=True)
    """Difference, GPa."""

    def measure(self, samples: Samples) -> Measured:
        """Return the mean pressure of one replica, that of the ideal gas included."""
        if samples.pressure is None:
            raise UserError("the run has no pressures: the model predicts no stress, or the structure is not periodic")
        return Measured.number(float(samples.pressure.mean()))


class Energy(Observable):
    """Potential energy per atom."""

    unit: ClassVar[str] = "eV/atom"

    kind: Literal["energy"]
    tolerance: Tolerance = Field(0.01, exclude=True)
    """Difference, eV/atom."""

    def measure(self, samples: Samples) -> Measured:
        """Return the mean potential energy of one replica."""
        return Measured.number(float(samples.energy.mean()) / len(samples.numbers))

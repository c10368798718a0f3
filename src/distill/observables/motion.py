"""Observables of motion: diffusion coefficients, how far atoms go in a time, and spectra of vibrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from distill.base.tolerances import Tolerance
from distill.observables.base import Measured, Observable

if TYPE_CHECKING:
    from distill.analysis.samples import Samples


class Diffusion(Observable):
    """Self-diffusion coefficient D, where the motion is diffusive."""

    level: ClassVar[Literal[4, 5]] = 5
    unit: ClassVar[str] = "Å²/ps"

    kind: Literal["diffusion"]
    element: str | None = None
    """Whose; absent: of all atoms."""
    directions: Literal["xyz", "xy", "yz", "xz", "x", "y", "z"] = "xyz"
    """Components of the motion: all, those of a plane, or one."""
    from_ps: float | None = Field(None, gt=0)
    """Where the line through the mean squared displacement begins at the earliest, ps."""
    tolerance: Tolerance = Field("20 %", exclude=True)
    """Difference of D, or a share of the teacher's."""

    def measure(self, samples: Samples) -> Measured:
        """Return D of one replica; where it has none, why, and about the most that it can be."""
        from distill.analysis.diffusion import diffusion

        paths = samples.paths(self.element)[..., ["xyz".index(axis) for axis in self.directions]]
        found = diffusion(paths, samples.step_fs, self.from_ps)
        return Measured.number(found.value, found.apparent, found.reason)


class Displacement(Observable):
    """Mean squared displacement in a time: what is left of diffusion where a run is too short for D."""

    level: ClassVar[Literal[4, 5]] = 5
    unit: ClassVar[str] = "Å²"

    kind: Literal["displacement"]
    element: str | None = None
    """Whose; absent: of all atoms."""
    after_ps: float = Field(1.0, gt=0)
    """The time, ps; at most a quarter of the run."""
    tolerance: Tolerance = Field("20 %", exclude=True)
    """Difference, or a share of the teacher's."""

    def measure(self, samples: Samples) -> Measured:
        """Return the mean squared displacement of one replica, linear between two lags."""
        import numpy as np

        from distill.analysis.displacements import mean_squared_displacement
        from distill.base.errors import UserError

        moved = mean_squared_displacement(samples.paths(self.element), samples.step_fs)
        if self.after_ps > moved.time_ps[-1] * (1 + 1e-9):
            what = f"the run tells of displacements up to {moved.time_ps[-1]:.3g} ps, a quarter of its length"
            raise UserError(what, remedy=f"Make it longer, or after_ps less than {self.after_ps:g}")
        return Measured.number(float(np.interp(self.after_ps, moved.time_ps, moved.squared)))


class Spectrum(Observable):
    """Vibrational spectrum: how the kinetic energy is spread over wavenumbers."""

    level: ClassVar[Literal[4, 5]] = 5
    unit: ClassVar[str] = "cm"
    place_unit: ClassVar[str] = "1/cm"
    place_name: ClassVar[str] = "wavenumber"
    needs_velocities: ClassVar[bool] = True

    kind: Literal["spectrum"]
    element: str | None = None
    """Whose; absent: of all atoms."""
    resolution: float = Field(20.0, gt=0)
    """Step of the spectrum, 1/cm; 20 needs a run of 1.7 ps at least."""
    tolerance: Tolerance = Field("15 %", exclude=True)
    """Root mean square of the difference, or a share of that of the spectrum."""

    def measure(self, samples: Samples) -> Measured:
        """Return the spectrum of one replica."""
        from distill.analysis.displacements import without_drift
        from distill.analysis.velocity_correlation import vibrational_spectrum
        from distill.base.errors import UserError

        if samples.velocities is None:
            raise UserError("the run kept no velocities", remedy="Set its velocities to true")
        chosen = samples.of(self.element)
        velocities = without_drift(samples.velocities, samples.masses)[:, chosen]
        found = vibrational_spectrum(velocities, samples.step_fs, samples.masses[chosen], self.resolution)
        return Measured(found.values, found.wavenumber)

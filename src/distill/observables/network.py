"""Observables of networks of bonds: angles, rings, hydrogen bonds."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from distill.base.tolerances import Tolerance
from distill.observables.base import Measured, Observable

if TYPE_CHECKING:
    from distill.analysis.samples import Samples

Radius = Annotated[float, Field(gt=0)]
FRAMES = 500
"""Structures of a replica at most that are averaged over: neighbouring samples say the same."""
RING_FRAMES = 50
"""The same of rings, a frame of which takes tenths of a second."""


class Angles(Observable):
    """Distribution of bond angles."""

    unit: ClassVar[str] = "1/degree"
    place_unit: ClassVar[str] = "degree"
    place_name: ClassVar[str] = "angle"

    kind: Literal["angles"]
    triplet: tuple[str, str, str] | None = None
    """Elements, that of the atom with both bonds in the middle, as [O, Si, O]; absent: all atoms."""
    radius: Radius | tuple[Radius, Radius]
    """Up to which atoms are bonded, Å; or one radius for each of both ends."""
    width: float = Field(2.0, gt=0, le=90)
    """Of a bin, degrees."""
    tolerance: Tolerance = Field("15 %", exclude=True)
    """Root mean square of the difference of the distribution, or a share of that of the distribution."""

    def measure(self, samples: Samples) -> Measured:
        """Return the distribution of bond angles of one replica."""
        from distill.analysis.angles import bond_angles

        first, centre, second = self.triplet or (None, None, None)
        frames = samples.every(FRAMES).frames
        found = bond_angles(frames, first, centre, second, radius=self.radius, width=self.width)
        return Measured(found.values, found.angle)


class Rings(Observable):
    """Rings over atoms, by the number of their bonds."""

    place_unit: ClassVar[str] = "bonds"
    place_name: ClassVar[str] = "size of the ring"

    kind: Literal["rings"]
    element: str | None = None
    """Of the atoms that are bonded to each other, as Si in silica or O in water; absent: all atoms."""
    radius: float | None = Field(None, gt=0)
    """Up to which they are bonded, Å; absent: by hydrogen bonds, O-O within 3.5 Å and H-O-O below 30°."""
    longest: int = Field(10, ge=3)
    """Size of the longest rings; the time grows fast with it."""
    tolerance: Tolerance = Field("15 %", exclude=True)
    """Root mean square over sizes of the difference, or a share of that of the rings."""

    def model_post_init(self, _: object) -> None:
        """Refuse where there is nothing that finds rings."""
        try:
            version("matscipy")
        except PackageNotFoundError:
            raise ValueError("rings need matscipy: pip install 'mlip-distill[physics]'") from None

    def measure(self, samples: Samples) -> Measured:
        """Return the rings of one replica."""
        from distill.analysis.rings import bond_rings, hydrogen_bond_rings

        frames = samples.every(RING_FRAMES).frames
        if self.radius is None:
            found = hydrogen_bond_rings(frames, self.element or "O", longest=self.longest)
        else:
            found = bond_rings(frames, self.element, radius=self.radius, longest=self.longest)
        return Measured(found.mean, found.sizes)


class HydrogenBonds(Observable):
    """Share of molecules that accept and donate given numbers of hydrogen bonds."""

    kind: Literal["hydrogen_bonds"]
    molecules: str = "A2D2"
    """How many bonds they accept (A) and donate (D)."""
    element: str = "O"
    """Of donors and acceptors."""
    tolerance: Tolerance = Field(0.05, exclude=True)
    """Difference of the share, which is between 0 and 1."""

    @field_validator("molecules")
    @classmethod
    def _named(cls, molecules: str) -> str:
        if not re.fullmatch(r"A\dD\d", molecules):
            raise ValueError(f"is {molecules!r}, and must be as A2D2: accepted and donated bonds")
        return molecules

    def measure(self, samples: Samples) -> Measured:
        """Return the share of one replica."""
        from distill.analysis.hydrogen_bonds import hydrogen_bonds

        bonds = hydrogen_bonds(samples.every(FRAMES).frames, self.element)
        return Measured.number(bonds.share(int(self.molecules[1]), int(self.molecules[3])))

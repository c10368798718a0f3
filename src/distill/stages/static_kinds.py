"""What the recipe's ``simulate`` section can ask for without dynamics, one class a kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from distill.analysis.quantities import check_tolerance
from distill.base.settings import Settings
from distill.stages.start import Start

Tolerance = Annotated[Annotated[float, Field(strict=True)] | str, AfterValidator(check_tolerance)]
"""How far a number may be from the teacher's: a number in its unit, or a share of the teacher's, as in ``10%``."""


class Relaxation(Settings):
    """How structures are relaxed."""

    fmax: float = Field(0.001, gt=0)
    """Largest force at the end, eV/Å."""
    steps: int = Field(500, ge=1)
    """At most; what is not relaxed by then has no number."""


class Dimers(Settings):
    """Two atoms alone, of every pair of elements of the training structures."""

    kind: Literal["dimers"]
    shortest: float = Field(0.5, gt=0)
    """Shortest distance, Å; half of the sum of the covalent radii where that is shorter."""
    longest: float = Field(6.0, gt=1)
    """Longest distance, Å."""
    points: int = Field(100, ge=10)
    """Distances of each pair."""


class Gradients(Settings):
    """Forces and stress against differences of the energy."""

    kind: Literal["gradients"]
    frames: int = Field(3, ge=1)
    """Training structures that are looked at, evenly over the file."""
    structure: Start | None = None
    """One more."""


class EnergyVolume(Settings):
    """Energy against volume of a crystal scaled isotropically."""

    kind: Literal["energy_volume"]
    structure: Start
    """What to scale."""
    strain: float = Field(0.04, gt=0, lt=0.3)
    """Largest change of lengths, relative."""
    points: int = Field(11, ge=5)
    """Volumes."""
    lattice_constant_tolerance: Tolerance = "1%"
    """How far that may be from the teacher's, Å; of what is not a cubic cell the volume, three times as far."""
    bulk_modulus_tolerance: Tolerance = "10%"
    """How far that may be from the teacher's, GPa."""


class Elastic(Settings):
    """Elastic constants of a crystal, by stresses at strains to both sides with relaxed ions."""

    kind: Literal["elastic"]
    structure: Start
    """The crystal."""
    strain: float = Field(0.005, gt=0, lt=0.1)
    """Largest strain of each of the six components."""
    tolerance: Tolerance = "15%"
    """How far constants and moduli may be from the teacher's, GPa."""
    relax: Relaxation = Relaxation()
    """How cell and ions are relaxed."""


STATIC = (Dimers, Gradients, EnergyVolume, Elastic)
"""All of them; the teacher is asked them too."""

Static = Dimers | Gradients | EnergyVolume | Elastic

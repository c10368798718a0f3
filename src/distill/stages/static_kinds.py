"""What the recipe's ``simulate`` section can ask for without dynamics, one class a kind."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from distill.base.settings import Settings
from distill.base.tolerances import Tolerance
from distill.stages.start import Start


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
    ripple: float = Field(0.1, gt=0)
    """Where the energy goes back by less, the force has not changed its sign, eV; 0.1 is kT at 1160 K."""


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
    """Of each of the six components, to both sides; half of it must give the same constants, to 5 % of the largest."""
    tolerance: Tolerance = "15%"
    """How far constants and moduli may be from the teacher's, GPa."""
    relax: Relaxation = Relaxation()
    """How cell and ions are relaxed."""


class Phonons(Settings):
    """Phonons of a crystal by finite displacements, with phonopy."""

    kind: Literal["phonons"]
    structure: Start
    """The crystal, its primitive or its cubic cell."""
    supercell: tuple[int, int, int] | None = None
    """Repetitions of it; by default as many as bring opposite faces 10 Å apart, twice the usual cut-off."""
    displacement: float = Field(0.01, gt=0, lt=0.5)
    """Of one atom at a time, Å."""
    mesh: float = Field(60.0, gt=0)
    """Of the density of states: wave vectors are 2 pi / mesh apart, Å."""
    tolerance: Tolerance = "10%"
    """How far frequencies may be from the teacher's, THz."""
    relax: Relaxation = Relaxation()
    """How cell and ions are relaxed."""

    @field_validator("kind")
    @classmethod
    def _can_be_done(cls, kind: str) -> str:
        if find_spec("phonopy") is None:
            raise ValueError(f"{kind} needs phonopy, which is not installed: pip install 'mlip-distill[physics]'")
        return kind


class Barrier(Settings):
    """The energy barrier between two structures, by the nudged elastic band."""

    kind: Literal["barrier"]
    name: str
    """What happens on the way, for instance ``vacancy hop``."""
    file: str = Field(exclude=True)
    """Extended XYZ file: the first structure is the start, the last the end, those between them the first path."""
    images: int = Field(5, ge=1)
    """Images between the ends, where the file has two structures."""
    spring: float = Field(0.1, gt=0)
    """Of the band, eV/Å²."""
    tolerance: Tolerance = 0.05
    """How far barrier and difference of energy may be from the teacher's, eV."""
    fmax: float = Field(0.02, gt=0)
    """Largest force on an image at the end, eV/Å."""
    steps: int = Field(500, ge=1)
    """Of each relaxation, at most."""


class Formation(Settings):
    """Energies of defects, surfaces and grain boundaries against a bulk crystal."""

    kind: Literal["formation"]
    file: str = Field(exclude=True)
    """Extended XYZ file of structures, each with ``name=...`` in its comment line."""
    bulk: str
    """Name of the perfect crystal: it relaxes with its cell, and the others are strained as it is."""
    reservoirs: tuple[str, ...] = ()
    """Names of further references, one for each element that is added or taken away."""
    defects: tuple[str, ...] = ()
    """Names of structures whose energy is wanted, eV."""
    surfaces: tuple[str, ...] = ()
    """Names of slabs: energy over twice the area of the first two cell vectors, J/m²."""
    boundaries: tuple[str, ...] = ()
    """Names of cells with two grain boundaries, likewise."""
    tolerance: Tolerance = "10%"
    """How far energies may be from the teacher's."""
    relax: Relaxation = Relaxation()
    """How structures are relaxed."""

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        names = [*self.defects, *self.surfaces, *self.boundaries, self.bulk, *self.reservoirs]
        if len(names) == 1 + len(self.reservoirs):
            raise ValueError("must name 'defects', 'surfaces' or 'boundaries'")
        if doubled := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"names {doubled!r} twice")
        return self


STATIC = (Dimers, Gradients, EnergyVolume, Elastic, Phonons, Barrier, Formation)
"""All of them; the teacher is asked them too."""

WITH_FILE = (Barrier, Formation)
"""Those that are about structures of a file."""

Static = Dimers | Gradients | EnergyVolume | Elastic | Phonons | Barrier | Formation

"""Molecular dynamics as the ``simulate`` section asks for it: of the teacher and every student, in replicas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from distill.base.errors import UserError
from distill.base.settings import Settings, refuse_name
from distill.dynamics.programme import checked_programme
from distill.stages.base import Compile
from distill.stages.start import Start

MOST_REPEATS = 1000
"""Replicas of one run that anybody could look at."""


class TeacherDynamics(Settings):
    """How long and how often the teacher runs, which costs many times what a student does."""

    ps: float | None = Field(None, gt=0)
    """Length, ps; that of the students if absent."""
    repeats: int | None = Field(None, ge=1, le=MOST_REPEATS)
    """Replicas; as many as of each student if absent."""


class MolecularDynamics(Settings):
    """Molecular dynamics of the teacher and of every student, in replicas, with a trajectory that observables read."""

    kind: Literal["dynamics"]
    name: str = Field(exclude=True)
    """What observables and other runs call it."""
    structure: Start | None = None
    """What to simulate ..."""
    after: str | None = Field(None, exclude=True)
    """... or the name of an earlier run, from the end of which each replica goes on. Where repeats, teacher, variants
    and seeds are absent, they are that run's."""
    ensemble: Literal["nve", "nvt", "npt"] = "nvt"
    """nve: velocity Verlet; nvt: see thermostat; npt: Martyna-Tobias-Klein."""
    thermostat: Literal["langevin", "bussi"] = "langevin"
    """Of nvt: langevin (BAOAB) for averages of structures, bussi for diffusion and spectra, which friction disturbs."""
    thermostat_fs: float = Field(100.0, gt=0)
    """Time in which the thermostat acts, fs; the inverse of the friction."""
    temperature: float = Field(300.0, gt=0)
    """K; of nve that of the first velocities."""
    programme: tuple[tuple[float, float], ...] = ()
    """Of nvt and npt: times (ps) and temperatures (K) that follow, as in [[10, 600], [60, 300]], which heats in 10 ps
    and cools in 50: straight lines in between, a step where two have one time."""
    pressure: float = 0.0
    """Of npt, GPa."""
    barostat: Literal["isotropic", "full"] = "isotropic"
    """Of npt: isotropic for liquids, full (the whole cell) for crystals."""
    barostat_fs: float = Field(1000.0, gt=0)
    """Time in which the barostat acts, fs."""
    ps: float = Field(10.0, gt=0)
    """Length, ps; a longer one continues the run that is there."""
    equilibrate_ps: float = Field(0.0, ge=0)
    """Time before that, ps, which no observable sees: in the same ensemble, for nve with the Langevin thermostat."""
    timestep_fs: float = Field(1.0, gt=0)
    """Time step, fs."""
    repeats: int = Field(4, ge=1, le=MOST_REPEATS, exclude=True)
    """Replicas: runs with other velocities. A verdict needs 4 of a student and 3 of the teacher."""
    save_every_fs: float = Field(20.0, gt=0)
    """Time between two samples, fs; spectra need about 2."""
    checkpoint_ps: float = Field(1.0, gt=0)
    """Time between two checkpoints, ps: so much is lost by a kill."""
    velocities: bool = False
    """Whether velocities are kept with the samples, for spectra."""
    masses: dict[str, float] = {}
    """Other masses than the natural ones, by element, as in {H: 4}: heavier hydrogen allows longer time steps, and
    changes no average of structures."""
    teacher: TeacherDynamics | None = Field(TeacherDynamics(), exclude=True)
    """How long and how often the teacher runs; null leaves it out, and then no student is compared with it."""
    variants: tuple[Literal["distilled", "refined", "direct"], ...] = Field(("distilled", "refined"), exclude=True)
    """Which students run, by how they came to be."""
    seeds: int | None = Field(None, ge=1, exclude=True)
    """Of how many of its seeds a student runs; of all if absent."""
    compile: Compile = False
    """Have torch compile painn and tensornet where they are not computed in C++: on a GPU."""

    @model_validator(mode="after")
    def _begins_once(self) -> Self:
        if (self.structure is None) == (self.after is None):
            raise ValueError("must have either 'structure' or 'after'")
        return self

    @model_validator(mode="after")
    def _has_a_programme(self) -> Self:
        try:
            checked_programme(self.programme, self.ensemble)
        except UserError as error:
            raise ValueError(f"{error.what}: {error.remedy}") from None
        return self

    @field_validator("masses")
    @classmethod
    def _are_masses(cls, masses: dict[str, float]) -> dict[str, float]:
        from ase.data import atomic_numbers

        for element, mass in masses.items():
            if element not in atomic_numbers or not 0 < mass < math.inf:
                raise ValueError(f"{element}: {mass:g} is not the mass of an element")
        return masses


INHERITED = ("repeats", "teacher", "variants", "seeds")
"""What a run that goes on from another has from that one, where it says nothing of its own."""


def in_order(run: MolecularDynamics, before: Mapping[str, MolecularDynamics]) -> MolecularDynamics:
    """Return a run with what it has from the one that it goes on from, which is among those ``before``.

    Raises:
        ValueError: its name is none or stands twice, or there is no such run or too few replicas of it.
    """
    try:
        refuse_name(run.name, "simulation", "simulate")
    except UserError as error:
        raise ValueError(f"{error.what}: {error.remedy}") from None
    if run.name in before:
        raise ValueError(f"two runs are called {run.name!r}")
    if run.after is None:
        return run
    if run.after not in before:
        raise ValueError(f"{run.name} goes on after {run.after!r}, and no run before it is called so")
    first = before[run.after]
    update = {name: getattr(first, name) for name in INHERITED if name not in run.model_fields_set}
    run = run.model_copy(update=update)
    for of, mine, there in (
        ("repeats", run.repeats, first.repeats),
        ("teacher.repeats", replicas(run, "teacher"), replicas(first, "teacher")),
    ):
        if mine > there:
            raise ValueError(f"{run.name} has {of} {mine}, and {run.after}, which it goes on from, {there}")
    if not set(run.variants) <= set(first.variants):
        raise ValueError(f"{run.name} has variants that {run.after}, which it goes on from, has not")
    return run


def replicas(run: MolecularDynamics, student: str) -> int:
    """Return how many replicas of a run there are with a student, or with the ``teacher``."""
    if student != "teacher":
        return run.repeats
    if run.teacher is None:
        return 0
    return run.teacher.repeats or run.repeats

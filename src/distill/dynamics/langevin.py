"""Langevin dynamics with any ASE calculator, sampled at intervals for the verdict on stability.

The centre of mass moves with the rest: holding it, as ASE's ``fixcm`` does, would not sample the canonical ensemble.
Temperatures are those of the components that are free to move.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.structures.frames import Frames
from distill.structures.guard import FARTHEST, UnphysicalResult, UnphysicalStructure

if TYPE_CHECKING:
    from distill.base.progress import Phase

EXPLODED = 20.0
"""Times the target temperature at which a run is given up."""


@dataclass(frozen=True)
class Trajectory:
    """``T`` samples along a run; those that are not finite end it and are kept as NaN.

    Attributes:
        frames: the sampled structures.
        time_fs: ``[T]`` fs.
        temperature: ``[T]`` K.
        potential_energy: of all atoms, ``[T]`` eV.
        ms_per_step: wall time of a step, sampling included.
        grade: largest extrapolation grade of an atom, ``[T]``, or None where there is none.
        broke: why there was no energy or no force any more; empty where there always was.
    """

    frames: Frames
    time_fs: Array
    temperature: Array
    potential_energy: Array
    ms_per_step: float
    grade: Array | None = None
    broke: str = ""


def run_langevin(
    atoms: Atoms,
    calculator: Calculator,
    *,
    temperature: float,
    steps: int,
    timestep_fs: float,
    friction_per_ps: float,
    sample_every: int,
    rng: np.random.Generator,
    phase: Phase | None = None,
    grade: Callable[[Atoms], float | None] = lambda atoms: None,
    max_grade: float = math.inf,
) -> Trajectory:
    """Run Langevin dynamics at constant volume from Maxwell-Boltzmann velocities.

    Args:
        atoms: the starting structure; it is not changed.
        calculator: gives energy and forces.
        temperature: of the bath and the initial velocities, K.
        steps: time steps.
        timestep_fs: fs.
        friction_per_ps: coupling to the bath, 1/ps.
        sample_every: steps between samples; the start is sampled too.
        rng: random stream of velocities and noise.
        phase: progress, counted in steps.
        grade: gives the largest extrapolation grade of a structure's atoms, or None.
        max_grade: grade above which the run ends.

    Returns:
        The samples up to the end, or up to the point where the run broke: energy or temperature not finite, a structure
        that is no longer physical, more than 20 times the target temperature, or too high a grade.

    Raises:
        UserError: every atom is fixed, or the starting structure is not physical.
    """
    atoms = atoms.copy()
    atoms.calc = calculator
    if not atoms.get_number_of_degrees_of_freedom():
        raise UserError("every atom is fixed, and there is nothing to simulate", remedy="Let some of them move")
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    thermostat = {"temperature_K": temperature, "friction": friction_per_ps / (1000 * units.fs), "fixcm": False}
    dynamics = Langevin(atoms, timestep_fs * units.fs, rng=rng, **thermostat)
    samples = Samples(grade)
    try:
        samples.add(atoms, 0.0)
    except UnphysicalResult as error:
        samples.add_broken(atoms, 0.0, error)
    begin, done = time.perf_counter(), 0
    while done < steps and is_sane(samples.columns[-1], temperature) and (samples.grades[-1] or 0.0) <= max_grade:
        count = min(sample_every, steps - done)
        try:
            dynamics.run(count)
            done += count
            samples.add(atoms, done * timestep_fs)
        except (UnphysicalStructure, UnphysicalResult) as error:
            done = dynamics.nsteps
            samples.add_broken(atoms, done * timestep_fs, error)
        if phase is not None:
            phase.update(done, samples.text())
    return samples.trajectory(1000 * (time.perf_counter() - begin) / max(done, 1))


class Samples:
    """What is noted along a run.

    Args:
        grade: gives the largest extrapolation grade of a structure's atoms, or None.

    Attributes:
        snapshots: the structures.
        columns: time (fs), temperature (K) and potential energy (eV) of each.
        grades: of each, or None.
        broke: see :class:`Trajectory`.
    """

    def __init__(self, grade: Callable[[Atoms], float | None]) -> None:
        self.snapshots: list[Atoms] = []
        self.columns: list[tuple[float, float, float]] = []
        self.grades: list[float | None] = []
        self.broke = ""
        self._grade = grade

    def add(self, atoms: Atoms, time_fs: float) -> None:
        """Note a structure; raises what the calculator raises."""
        row = (time_fs, atoms.get_temperature(), atoms.get_potential_energy())
        grade = self._grade(atoms) if _is_whole(atoms) else None
        self._note(atoms, row, grade)

    def add_broken(self, atoms: Atoms, time_fs: float, why: UnphysicalStructure | UnphysicalResult) -> None:
        """Note a structure without energy, which ends the run."""
        self.broke = f"at {time_fs:.0f} fs {why.what}"
        self._note(atoms, (time_fs, math.nan, math.nan), None)

    def _note(self, atoms: Atoms, row: tuple[float, float, float], grade: float | None) -> None:
        self.snapshots.append(atoms.copy())
        self.columns.append(row)
        self.grades.append(grade)

    def text(self) -> str:
        """Return the last temperature and grade for a progress bar."""
        grade = self.grades[-1]
        return f"{self.columns[-1][1]:.0f} K" + (f", grade {grade:.1f}" if grade else "")

    def trajectory(self, ms_per_step: float) -> Trajectory:
        """Return what was noted, without structures whose distances cannot be looked at."""
        whole = [i for i, snapshot in enumerate(self.snapshots) if _is_whole(snapshot)]
        times, temperatures, energies = np.array(self.columns, dtype=float)[whole].T
        frames = Frames.from_atoms([self.snapshots[i] for i in whole], constraints=False)
        known = None if self.grades[0] is None else np.array(self.grades, dtype=float)[whole]
        return Trajectory(frames, times, temperatures, energies, ms_per_step, known, self.broke)


def _is_whole(atoms: Atoms) -> bool:
    """Whether all positions are numbers that a list of neighbours can be made of."""
    return bool(np.abs(atoms.positions).max(initial=0.0) <= FARTHEST)


def is_sane(sample: tuple[float, float, float], target: float) -> bool:
    """Whether a sample (time, temperature, energy) lets a run go on."""
    return bool(np.isfinite(sample).all()) and sample[1] < EXPLODED * max(target, 1.0)

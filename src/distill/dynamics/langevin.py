"""Langevin dynamics with any ASE calculator, sampled at intervals for the verdict on stability."""

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
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary

from distill.base.arrays import Array
from distill.structures.frames import Frames

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
    """

    frames: Frames
    time_fs: Array
    temperature: Array
    potential_energy: Array
    ms_per_step: float
    grade: Array | None = None


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
        The samples up to the end, or up to the point where the run broke: energy or temperature not finite, more than
        20 times the target temperature, or too high a grade.
    """
    atoms = atoms.copy()
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    Stationary(atoms)
    dynamics = Langevin(
        atoms, timestep_fs * units.fs, temperature_K=temperature, friction=friction_per_ps / (1000 * units.fs), rng=rng
    )
    snapshots, columns = [atoms.copy()], [(0.0, atoms.get_temperature(), atoms.get_potential_energy())]
    grades = [grade(atoms)]
    begin, done = time.perf_counter(), 0
    while done < steps and is_sane(columns[-1], temperature) and (grades[-1] or 0.0) <= max_grade:
        count = min(sample_every, steps - done)
        dynamics.run(count)
        done += count
        snapshots.append(atoms.copy())
        columns.append((done * timestep_fs, atoms.get_temperature(), atoms.get_potential_energy()))
        grades.append(grade(atoms) if np.isfinite(atoms.positions).all() else None)
        if phase is not None:
            phase.update(done, f"{columns[-1][1]:.0f} K" + (f", grade {grades[-1]:.1f}" if grades[-1] else ""))
    wall = time.perf_counter() - begin
    whole = [i for i, s in enumerate(snapshots) if np.isfinite(s.positions).all()]
    times, temperatures, energies = np.array(columns, dtype=float)[whole].T
    frames = Frames.from_atoms([snapshots[i] for i in whole], constraints=False)
    known = None if grades[0] is None else np.array(grades, dtype=float)[whole]
    return Trajectory(frames, times, temperatures, energies, 1000 * wall / max(done, 1), known)


def is_sane(sample: tuple[float, float, float], target: float) -> bool:
    """Whether a sample (time, temperature, energy) lets a run go on."""
    return bool(np.isfinite(sample).all()) and sample[1] < EXPLODED * max(target, 1.0)

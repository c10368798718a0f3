"""Whether a potential survives molecular dynamics: a Langevin run, its sampled series and a verdict.

A small test error says little about stability, so a potential must survive dynamics before it is trusted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from distill.analysis.geometry import closest_pairs
from distill.analysis.stability import Verdict, judge
from distill.base.arrays import Array
from distill.base.progress import Progress
from distill.dynamics.engines import calculator_for
from distill.dynamics.langevin import Trajectory, run_langevin
from distill.potentials.interface.potential import Potential
from distill.structures.frames import Frames


@dataclass(frozen=True)
class JudgedRun:
    """A run of dynamics and what is thought of it.

    Attributes:
        trajectory: its samples, ``T`` of them.
        series: ``[T]`` each: ``time_fs`` (fs), ``temperature`` (K), ``potential_energy`` (eV), ``min_distance`` (Å),
            ``min_ratio`` (of the covalent distance) and, where the potential has one, ``grade``.
        verdict: whether the potential survived.
        computed_by: what computed it, C++ or whatever is called from Python.
    """

    trajectory: Trajectory
    series: dict[str, Array]
    verdict: Verdict
    computed_by: str


def judged_langevin(
    atoms: Atoms,
    potential: Potential,
    *,
    temperature: float,
    ps: float,
    timestep_fs: float,
    friction_per_ps: float,
    sample_every: int,
    rng: np.random.Generator,
    max_grade: float | None = None,
    compiled: bool = False,
    progress: Progress | None = None,
) -> JudgedRun:
    """Run Langevin dynamics at constant volume and judge whether the potential survived it.

    Args:
        atoms: the starting structure; it is not changed.
        potential: gives energy, forces and, where it has them, extrapolation grades.
        temperature: K.
        ps: length, ps.
        timestep_fs: fs.
        friction_per_ps: coupling to the bath, 1/ps.
        sample_every: steps between samples.
        rng: random stream of velocities and noise.
        max_grade: extrapolation grade above which the run ends and the potential has failed; None: any.
        compiled: have torch compile a network that is not computed in C++, where that can be done.
        progress: where to report.
    """
    calculator = calculator_for(potential, compiled)
    steps, most = round(ps * 1000 / timestep_fs), max_grade or math.inf
    with (progress or Progress()).phase(f"dynamics at {temperature:g} K", steps, "step") as phase:
        trajectory = run_langevin(
            atoms,
            calculator,
            temperature=temperature,
            steps=steps,
            timestep_fs=timestep_fs,
            friction_per_ps=friction_per_ps,
            sample_every=sample_every,
            rng=rng,
            phase=phase,
            grade=grader(potential),
            max_grade=most,
        )
    closest = closest_pairs(trajectory.frames)
    series: dict[str, Array] = {
        "time_fs": trajectory.time_fs,
        "temperature": trajectory.temperature,
        "potential_energy": trajectory.potential_energy,
        "min_distance": closest.distance,
        "min_ratio": closest.ratio,
    }
    verdict = judge(
        time_fs=trajectory.time_fs,
        temperature=trajectory.temperature,
        potential_energy=trajectory.potential_energy,
        min_distance=closest.distance,
        min_ratio=closest.ratio,
        n_atoms=len(atoms),
        degrees_of_freedom=atoms.get_number_of_degrees_of_freedom(),
        target_temperature=temperature,
        planned_fs=steps * timestep_fs,
    )
    if trajectory.broke:
        verdict = replace(verdict, survived=False, reasons=(trajectory.broke, *verdict.reasons))
    if trajectory.grade is not None:
        series["grade"] = trajectory.grade
        if trajectory.grade[-1] > most:
            why = f"the extrapolation grade reached {trajectory.grade[-1]:.1f}, more than {most:g}"
            verdict = replace(verdict, survived=False, reasons=(why, *verdict.reasons))
    return JudgedRun(trajectory, series, verdict, calculator.computed_by)


def grader(potential: Potential) -> Callable[[Atoms], float | None]:
    """Return a function that gives the largest extrapolation grade of a structure, None where there is none."""

    def grade(atoms: Atoms) -> float | None:
        grades = potential.extrapolation_grades(Frames.from_atoms([atoms], constraints=False))
        return None if grades is None else float(grades.max())

    return grade

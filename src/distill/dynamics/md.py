"""Molecular dynamics that is written as it goes and continues where it was stopped, bit for bit on a processor.

At every checkpoint the samples since the last one become a part of the trajectory and the whole state is kept. The
calculator then forgets its neighbour list, in a run that goes on as in one that is continued: the order in which
neighbours are summed is part of the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.md import MolecularDynamics

from distill.base.arrays import Array
from distill.base.progress import Phase, Progress
from distill.base.random import stream
from distill.dynamics.course import EXPLODED, Course, Dynamics, description, first_velocities, refuse_other, show_break
from distill.dynamics.ensembles import Ensemble, integrator, put_back, put_back_hidden, retargeted, state_of
from distill.dynamics.trajectory_files import TrajectoryFolder
from distill.potentials.interface.calculator import PYTHON
from distill.structures.guard import UnphysicalResult, UnphysicalStructure


@dataclass
class _Samples:
    """Samples since the last checkpoint."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, step: int, atoms: Atoms, course: Course, moving_cell: bool, with_stress: bool) -> None:
        """Note the present structure."""
        row: dict[str, Any] = {
            "step": step,
            "positions": atoms.positions.astype(np.float32),
            "energy": atoms.get_potential_energy(),
            "kinetic_energy": atoms.get_kinetic_energy(),
            "temperature": atoms.get_temperature(),
        }
        if with_stress:
            row["pressure"] = -np.trace(atoms.get_stress(voigt=False, include_ideal_gas=True)) / 3 / units.GPa
        if moving_cell:
            row["cell"] = atoms.cell.array.copy()
        if course.velocities:
            row["velocities"] = atoms.get_velocities().astype(np.float32)
        self.rows.append(row)

    def arrays(self) -> dict[str, Array]:
        """Return all rows, one array a quantity."""
        return {name: np.array([row[name] for row in self.rows]) for name in self.rows[0]}


def run_md(
    atoms: Atoms,
    calculator: Calculator,
    ensemble: Ensemble,
    course: Course,
    folder: str | Path,
    *,
    model: str = "",
    keep_velocities: bool = False,
    progress: Progress | None = None,
) -> Dynamics:
    """Run molecular dynamics into a folder; one that is there already is continued, also to a longer time.

    First velocities are those of Maxwell and Boltzmann, without motion of the centre of mass.

    Args:
        atoms: the starting structure; it is not changed.
        calculator: gives energy, forces and, for NPT, stress.
        ensemble: what is held constant.
        course: how long, and what is kept.
        folder: where the trajectory goes.
        model: what the potential is, so that a run is not continued with another one.
        keep_velocities: begin with the velocities that the atoms have.
        progress: where to report.

    Returns:
        How it ended: a structure without finite energy or forces, or a temperature of more than 20 times that wanted,
        ends it early.

    Raises:
        UserError: the folder has a run of something else, every atom is fixed, or the ensemble does not suit.
    """
    trajectory = TrajectoryFolder(Path(folder))
    said = description(atoms, ensemble, course, model, computed_by=computed_by(calculator))
    if keep_velocities:
        said["momenta"] = atoms.get_momenta().tolist()
    earlier = trajectory.said()
    if earlier is not None:
        refuse_other(earlier, said, trajectory.path)
        if earlier["broke"]:
            return Dynamics(trajectory.path, earlier["steps"], earlier["broke"], None)
    else:
        trajectory.say(said | {"steps": 0, "broke": ""})
    run = _Run(atoms, calculator, ensemble, course, trajectory, keep_velocities)
    begin, first = time.perf_counter(), run.step
    with (progress or Progress()).phase(f"dynamics ({ensemble.kind})", course.steps, "step", first) as phase:
        broke = run.to_the_end(phase)
    trajectory.say(said | {"steps": run.step, "broke": broke})
    took = 1000 * (time.perf_counter() - begin) / (run.step - first) if run.step > first else None
    return Dynamics(trajectory.path, run.step, broke, took)


def run_one_by_one(
    atoms: Atoms,
    calculator: Calculator,
    ensembles: Sequence[Ensemble],
    courses: Sequence[Course],
    folders: Sequence[Path],
    *,
    model: str = "",
    progress: Progress | None = None,
) -> list[Dynamics]:
    """Return what :func:`run_md` does for each ensemble, course and folder, one after another.

    Raises:
        UserError: what :func:`run_md` says of a folder, before anything is run.
    """
    runs = list(zip(ensembles, courses, folders, strict=True))
    for ensemble, course, folder in runs:
        if (earlier := TrajectoryFolder(folder).said()) is not None:
            said = description(atoms, ensemble, course, model, computed_by=computed_by(calculator))
            refuse_other(earlier, said, folder)
    return [run_md(atoms, calculator, *one, model=model, progress=progress) for one in runs]


def computed_by(calculator: Calculator) -> str:
    """Return what does the arithmetic of a calculator, C++ or whatever is called from Python."""
    return str(getattr(calculator, "computed_by", PYTHON))


class _Run:
    """A run under way, begun or continued."""

    def __init__(
        self,
        atoms: Atoms,
        calculator: Calculator,
        ensemble: Ensemble,
        course: Course,
        trajectory: TrajectoryFolder,
        keep_velocities: bool,
    ) -> None:
        self.atoms, self.course, self.ensemble, self.trajectory = atoms.copy(), course, ensemble, trajectory
        self.calculator = self.atoms.calc = calculator
        self.rng = stream(course.seed, "dynamics")
        state = trajectory.state()
        self.step, self.n_parts = 0, 0
        if state is None and not keep_velocities:
            first_velocities(self.atoms, ensemble.temperature, self.rng)
        elif state is not None:
            self.step, self.n_parts = int(state["step"]), int(state["parts"])
            put_back(self.atoms, self.rng, state)
        self.dynamics: MolecularDynamics = self._begin(state)

    def _begin(self, state: dict[str, Array] | None) -> MolecularDynamics:
        """Return the integrator as it is at a checkpoint: with nothing known of forces and neighbours."""
        getattr(self.calculator, "forget", self.calculator.reset)()
        dynamics = integrator(self.atoms, self.ensemble, self.course.timestep_fs, self.rng)
        if state is not None:
            put_back_hidden(dynamics, state)
        return dynamics

    def to_the_end(self, phase: Phase) -> str:
        """Do the steps that are left; return why the run broke, nothing where it did not."""
        while self.step < self.course.steps:
            samples = _Samples()
            broke = self._to_checkpoint(samples, phase)
            if samples.rows:
                self.trajectory.add_part(self.n_parts, samples.arrays())
                self.n_parts += 1
            state = state_of(self.dynamics, self.rng)
            counted = {"step": np.array(self.step), "parts": np.array(self.n_parts)}
            if broke:
                self.trajectory.keep(counted)
                show_break(self.trajectory, self.atoms)
                return broke
            self.trajectory.keep(state | counted)
            if self.step < self.course.steps:
                self.dynamics = self._begin(state)
        return ""

    def _to_checkpoint(self, samples: _Samples, phase: Phase) -> str:
        """Do the steps up to the next checkpoint and note samples; return why the run broke, if it did."""
        end = min(self.course.steps, (self.step // self.course.checkpoint + 1) * self.course.checkpoint)
        try:
            if self.step == 0:
                self._note(samples)
            while self.step < end:
                self._follow_programme()
                self.dynamics.run(self.course.every)
                self.step += self.course.every
                self._note(samples)
                temperature = samples.rows[-1]["temperature"]
                if not temperature < EXPLODED * self.ensemble.hottest:
                    return f"at {self.course.time(self.step)} the temperature was {temperature:.0f} K"
                phase.update(self.step, f"{temperature:.0f} K")
        except (UnphysicalStructure, UnphysicalResult) as error:
            return f"after {self.course.time(self.step)} {error.what}"
        return ""

    def _follow_programme(self) -> None:
        """Set the temperature that is wanted between this sample and the next."""
        if self.ensemble.programme:
            kelvin = self.ensemble.temperature_at(self.course.middle_ps(self.step))
            self.dynamics = retargeted(self.dynamics, self.ensemble, kelvin, self.course.timestep_fs, self.rng)

    def _note(self, samples: _Samples) -> None:
        moving = self.ensemble.kind == "npt"
        stressed = bool(self.atoms.pbc.all()) and "stress" in self.calculator.implemented_properties
        samples.add(self.step, self.atoms, self.course, moving, stressed)


def drift(total_energy: Array, kinetic_energy: Array, time_fs: Array) -> float:
    """Return how far the total energy drifts in a run, over the thermal spread of the kinetic energy; below 1 is good.

    Args:
        total_energy: of the samples of an NVE run, ``[T]`` eV.
        kinetic_energy: of the same, ``[T]`` eV.
        time_fs: when they were taken, ``[T]`` fs.
    """
    slope = np.polyfit(time_fs, total_energy, 1)[0]
    return float(abs(slope) * (time_fs[-1] - time_fs[0]) / kinetic_energy.std())

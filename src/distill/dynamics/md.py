"""Molecular dynamics that is written as it goes and continues where it was stopped, bit for bit on a processor.

At every checkpoint the samples since the last one become a part of the trajectory and the whole state is kept. The
calculator then forgets its neighbour list, in a run that goes on as in one that is continued: the order in which
neighbours are summed is part of the last bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.md import MolecularDynamics
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.progress import Phase, Progress
from distill.base.random import stream
from distill.dynamics.ensembles import Ensemble, integrator, put_back, put_back_hidden, state_of
from distill.dynamics.trajectory_files import TrajectoryFolder
from distill.structures.guard import UnphysicalResult, UnphysicalStructure
from distill.structures.write import write_frames

EXPLODED = 20.0
"""Times the target temperature at which a run is given up."""
BROKEN = "broken.xyz"
"""The last sample and the structure at which a run broke."""


@dataclass(frozen=True)
class Course:
    """How long dynamics goes on, and what is kept of it.

    Attributes:
        ps: length, ps.
        timestep_fs: fs.
        save_every_fs: time between two samples, fs.
        checkpoint_ps: time between two checkpoints, ps: so much is lost by a kill.
        velocities: whether samples have velocities too, for spectra.
        seed: of the first velocities and the thermostat.
    """

    ps: float
    timestep_fs: float = 1.0
    save_every_fs: float = 20.0
    checkpoint_ps: float = 1.0
    velocities: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("ps", "timestep_fs", "save_every_fs", "checkpoint_ps"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UserError(f"{name} must be positive, and is {getattr(self, name):g}")

    @property
    def steps(self) -> int:
        """Steps of the whole run: a whole number of samples."""
        return max(1, round(1000 * self.ps / self.timestep_fs / self.every)) * self.every

    @property
    def every(self) -> int:
        """Steps between two samples."""
        return max(1, round(self.save_every_fs / self.timestep_fs))

    @property
    def checkpoint(self) -> int:
        """Steps between two checkpoints: a whole number of samples."""
        return max(1, round(1000 * self.checkpoint_ps / self.timestep_fs / self.every)) * self.every


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


@dataclass(frozen=True)
class Dynamics:
    """A finished run.

    Attributes:
        folder: with ``run.json``, the parts and, where the run broke, ``broken.xyz``.
        steps: that were done.
        broke: why it ended too early; empty where it did not.
        ms_per_step: wall time of a step of this call, sampling included; None where none was done.
    """

    folder: Path
    steps: int
    broke: str
    ms_per_step: float | None

    def __repr__(self) -> str:
        said = f"broke: {self.broke}" if self.broke else "finished"
        return f"Dynamics({str(self.folder)!r}: {self.steps} steps, {said})"

    @property
    def trajectory(self) -> TrajectoryFolder:
        """The samples."""
        return TrajectoryFolder(self.folder)


def run_md(
    atoms: Atoms,
    calculator: Calculator,
    ensemble: Ensemble,
    course: Course,
    folder: str | Path,
    *,
    model: str = "",
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
        progress: where to report.

    Returns:
        How it ended: a structure without finite energy or forces, or a temperature of more than 20 times that wanted,
        ends it early.

    Raises:
        UserError: the folder has a run of something else, every atom is fixed, or the ensemble does not suit.
    """
    trajectory = TrajectoryFolder(Path(folder))
    said = _said(atoms, ensemble, course, model)
    earlier = trajectory.said()
    if earlier is not None:
        _refuse_other(earlier, said, trajectory.path)
        if earlier["broke"]:
            return Dynamics(trajectory.path, earlier["steps"], earlier["broke"], None)
    else:
        trajectory.say(said | {"steps": 0, "broke": ""})
    run = _Run(atoms, calculator, ensemble, course, trajectory)
    begin, first = time.perf_counter(), run.step
    with (progress or Progress()).phase(f"dynamics ({ensemble.kind})", course.steps, "step", first) as phase:
        broke = run.to_the_end(phase)
    trajectory.say(said | {"steps": run.step, "broke": broke})
    took = 1000 * (time.perf_counter() - begin) / (run.step - first) if run.step > first else None
    return Dynamics(trajectory.path, run.step, broke, took)


class _Run:
    """A run under way, begun or continued."""

    def __init__(
        self, atoms: Atoms, calculator: Calculator, ensemble: Ensemble, course: Course, trajectory: TrajectoryFolder
    ) -> None:
        self.atoms, self.course, self.ensemble, self.trajectory = atoms.copy(), course, ensemble, trajectory
        self.calculator = self.atoms.calc = calculator
        if not self.atoms.get_number_of_degrees_of_freedom():
            raise UserError("every atom is fixed, and there is nothing to simulate", remedy="Let some of them move")
        self.rng = stream(course.seed, "dynamics")
        state = trajectory.state()
        self.step, self.n_parts = 0, 0
        if state is None:
            MaxwellBoltzmannDistribution(self.atoms, temperature_K=ensemble.temperature, rng=self.rng)
            if not self.atoms.constraints:
                Stationary(self.atoms)
        else:
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
                self._show_break(broke)
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
                self.dynamics.run(self.course.every)
                self.step += self.course.every
                self._note(samples)
                temperature = samples.rows[-1]["temperature"]
                if not temperature < EXPLODED * self.ensemble.temperature:
                    return f"at {self._time()} the temperature was {temperature:.0f} K"
                phase.update(self.step, f"{temperature:.0f} K")
        except (UnphysicalStructure, UnphysicalResult) as error:
            return f"after {self._time()} {error.what}"
        return ""

    def _note(self, samples: _Samples) -> None:
        moving = self.ensemble.kind == "npt"
        stressed = bool(self.atoms.pbc.all()) and "stress" in self.calculator.implemented_properties
        samples.add(self.step, self.atoms, self.course, moving, stressed)

    def _time(self) -> str:
        return f"{self.step * self.course.timestep_fs / 1000:.3f} ps"

    def _show_break(self, why: str) -> None:
        """Write the last sample and the structure at which the run broke."""
        from distill.structures.frames import Frames

        last = list(self.trajectory.snapshots())[-1:] if self.n_parts else []
        broken = [Atoms(one.numbers, one.positions, cell=one.cell, pbc=one.pbc) for one in (*last, self.atoms)]
        finite = [one for one in broken if np.isfinite(one.positions).all()]
        if finite:
            write_frames(self.trajectory.path / BROKEN, Frames.from_atoms(finite, constraints=False))


def _said(atoms: Atoms, ensemble: Ensemble, course: Course, model: str) -> dict[str, Any]:
    """Return what a run is, JSON-able."""
    return {
        "model": model,
        "formula": atoms.get_chemical_formula(),
        "numbers": atoms.numbers.tolist(),
        "masses": atoms.get_masses().tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
        "ensemble": ensemble.as_data(),
        "timestep_fs": course.timestep_fs,
        "every": course.every,
        "checkpoint": course.checkpoint,
        "velocities": course.velocities,
        "seed": course.seed,
    }


def _refuse_other(earlier: Mapping[str, Any], said: Mapping[str, Any], folder: Path) -> None:
    """Refuse to continue a run of something else."""
    changed = [name for name, value in said.items() if earlier.get(name) != value]
    if changed:
        shown = ", ".join(f"{name} {earlier.get(name)!s:.40} -> {said[name]!s:.40}" for name in changed[:3])
        raise UserError(f"has another run ({shown})", str(folder), "Name another folder, or move this one away")


def drift(total_energy: Array, kinetic_energy: Array, time_fs: Array) -> float:
    """Return how far the total energy drifts in a run, over the thermal spread of the kinetic energy; below 1 is good.

    Args:
        total_energy: of the samples of an NVE run, ``[T]`` eV.
        kinetic_energy: of the same, ``[T]`` eV.
        time_fs: when they were taken, ``[T]`` fs.
    """
    slope = np.polyfit(time_fs, total_energy, 1)[0]
    return float(abs(slope) * (time_fs[-1] - time_fs[0]) / kinetic_energy.std())

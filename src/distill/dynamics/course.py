"""What runs of dynamics have in common, whatever makes their steps: length, samples, beginning, description, end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary

from distill.base.errors import UserError
from distill.dynamics.ensembles import Ensemble
from distill.dynamics.trajectory_files import TrajectoryFolder
from distill.potentials.interface.calculator import PYTHON
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

    def time(self, step: int) -> str:
        """Return the time of a step in words, e.g. ``0.250 ps``."""
        return f"{step * self.timestep_fs / 1000:.3f} ps"

    @property
    def checkpoint(self) -> int:
        """Steps between two checkpoints: a whole number of samples."""
        return max(1, round(1000 * self.checkpoint_ps / self.timestep_fs / self.every)) * self.every

    def middle_ps(self, step: int) -> float:
        """Return the time half-way from the sample after a step to the next one, ps."""
        return (step + self.every / 2) * self.timestep_fs / 1000


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


def first_velocities(atoms: Atoms, temperature: float, rng: np.random.Generator) -> None:
    """Give atoms velocities of Maxwell and Boltzmann, with the centre of mass at rest where no atom is fixed.

    Raises:
        UserError: every atom is fixed.
    """
    if not atoms.get_number_of_degrees_of_freedom():
        raise UserError("every atom is fixed, and there is nothing to simulate", remedy="Let some of them move")
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    if not atoms.constraints:
        Stationary(atoms)


def description(
    atoms: Atoms, ensemble: Ensemble, course: Course, model: str, engine: str = "ase", computed_by: str = PYTHON
) -> dict[str, Any]:
    """Return what a run is, JSON-able.

    ``engine`` is what makes the steps, and the random numbers, of it; ``computed_by`` what computes the forces.
    """
    return {
        "engine": engine,
        "computed_by": computed_by,
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


def refuse_other(earlier: Mapping[str, Any], said: Mapping[str, Any], folder: Path) -> None:
    """Refuse to continue a run of something else."""
    earlier = {"engine": "ase", "computed_by": PYTHON} | dict(earlier)  # of runs from when there was no other
    changed = [name for name, value in said.items() if earlier.get(name) != value]
    if changed:
        shown = ", ".join(f"{name} {earlier.get(name)!s:.40} -> {said[name]!s:.40}" for name in changed[:3])
        raise UserError(f"has another run ({shown})", str(folder), "Name another folder, or move this one away")


def show_break(trajectory: TrajectoryFolder, atoms: Atoms) -> None:
    """Write the last sample and the structure at which the run broke."""
    from distill.structures.frames import Frames

    last = list(trajectory.snapshots())[-1:]
    broken = [Atoms(one.numbers, one.positions, cell=one.cell, pbc=one.pbc) for one in (*last, atoms)]
    finite = [one for one in broken if np.isfinite(one.positions).all()]
    if finite:
        write_frames(trajectory.path / BROKEN, Frames.from_atoms(finite, constraints=False))

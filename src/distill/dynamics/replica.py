"""One replica of a run with what comes before it: equilibration, or the end of an earlier run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from distill.analysis.geometry import closest_pairs
from distill.analysis.samples import Samples
from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.progress import Progress
from distill.base.random import stream_seed
from distill.dynamics.course import Course, Dynamics
from distill.dynamics.ensembles import Ensemble
from distill.dynamics.md import drift, run_md
from distill.dynamics.trajectory_files import TrajectoryFolder

EQUILIBRATION, PRODUCTION = "equilibration", "production"
"""Folders of a replica."""
CLOSEST_FRAMES = 500
"""Samples at most in which the closest pair of atoms is looked for."""


@dataclass(frozen=True)
class Replica:
    """How a replica ended.

    Attributes:
        equilibrated: how the time before it ended; None where there was none.
        produced: how the run itself ended; None where the time before it broke.
    """

    equilibrated: Dynamics | None
    produced: Dynamics | None

    @property
    def broke(self) -> str:
        """Why it ended too early, nothing where it did not."""
        if self.equilibrated is not None and self.equilibrated.broke:
            return f"while it was equilibrated, {self.equilibrated.broke}"
        return self.produced.broke if self.produced is not None else ""


def run_replica(
    atoms: Atoms,
    calculator: Calculator,
    ensemble: Ensemble,
    course: Course,
    folder: Path,
    *,
    equilibrate_ps: float = 0.0,
    keep_velocities: bool = False,
    model: str = "",
    progress: Progress | None = None,
) -> Replica:
    """Run a replica into the folders ``equilibration`` and ``production``; what is there already is continued.

    Args:
        atoms: the starting structure; it is not changed.
        calculator: gives energy, forces and, for NPT, stress.
        ensemble: what is held constant; before NVE it is the temperature, by Langevin's thermostat.
        course: how long, and what is kept.
        folder: where both go.
        equilibrate_ps: time before the run, ps, at the first temperature.
        keep_velocities: begin with the velocities that the atoms have.
        model: what the potential is, so that a run is not continued with another one.
        progress: where to report.

    Raises:
        UserError: as :func:`distill.dynamics.md.run_md` does.
    """
    equilibrated = None
    if equilibrate_ps > 0:
        held = replace(ensemble, programme=())
        if ensemble.kind == "nve":
            held = replace(held, kind="nvt", thermostat="langevin")
        seed = stream_seed(course.seed, EQUILIBRATION)
        before = replace(course, ps=equilibrate_ps, velocities=False, seed=seed)
        equilibrated = run_md(
            atoms,
            calculator,
            held,
            before,
            folder / EQUILIBRATION,
            model=model,
            keep_velocities=keep_velocities,
            progress=progress,
        )
        if equilibrated.broke:
            return Replica(equilibrated, None)
        atoms, keep_velocities = at_the_end(equilibrated.trajectory, atoms), True
    produced = run_md(
        atoms,
        calculator,
        ensemble,
        course,
        folder / PRODUCTION,
        model=model,
        keep_velocities=keep_velocities,
        progress=progress,
    )
    return Replica(equilibrated, produced)


def at_the_end(trajectory: TrajectoryFolder, like: Atoms) -> Atoms:
    """Return a copy of ``like`` with the positions, the cell and the momenta that a finished run ended with."""
    state = trajectory.state()
    if state is None or "positions" not in state:
        raise UserError("has no end to go on from", str(trajectory.path), "Run it to its end first")
    atoms = like.copy()
    atoms.set_cell(state["cell"])
    atoms.positions = state["positions"]
    atoms.set_momenta(state["momenta"], apply_constraint=False)
    return atoms


def samples_of(trajectory: TrajectoryFolder, skip_ps: float = 0.0) -> Samples:
    """Return the samples of a run, without those before ``skip_ps``.

    Raises:
        UserError: it has fewer than two of them.
    """
    said, parts = trajectory.said(), list(trajectory.parts())
    steps = np.concatenate([part["step"] for part in parts]) if parts else np.zeros(0)
    chosen = steps * (said["timestep_fs"] if said else 0) >= 1000 * skip_ps * (1 - 1e-9)
    if said is None or chosen.sum() < 2:
        raise UserError("has fewer than two samples", str(trajectory.path), "Make it longer, or skip_ps shorter")

    def column(name: str) -> Array:
        return np.concatenate([part[name] for part in parts])[chosen].astype(float)

    def if_there(name: str) -> Array | None:
        return column(name) if name in parts[0] else None

    cells = if_there("cell")
    return Samples(
        numbers=np.array(said["numbers"]),
        masses=np.array(said["masses"]),
        pbc=np.array(said["pbc"]),
        positions=column("positions"),
        cells=np.tile(np.array(said["cell"]), (int(chosen.sum()), 1, 1)) if cells is None else cells,
        step_fs=float(steps[1] - steps[0]) * said["timestep_fs"],
        temperature=column("temperature"),
        energy=column("energy"),
        kinetic_energy=column("kinetic_energy"),
        pressure=if_there("pressure"),
        velocities=if_there("velocities"),
    )


@dataclass(frozen=True)
class Health:
    """Whether a run that reached its end is sound.

    Attributes:
        mean_temperature: K.
        closest: shortest distance of two atoms over the sum of their covalent radii, in at most 500 samples.
        drift: of NVE, how far the total energy drifts over the thermal spread of the kinetic energy; else None.
    """

    mean_temperature: float
    closest: float
    drift: float | None


def health(trajectory: TrajectoryFolder, kind: str) -> Health:
    """Return what a finished run shows of itself; ``kind`` is its ensemble's."""
    samples = samples_of(trajectory)
    time_fs = samples.step_fs * np.arange(len(samples))
    drifted = drift(samples.energy + samples.kinetic_energy, samples.kinetic_energy, time_fs) if kind == "nve" else None
    closest = closest_pairs(samples.every(CLOSEST_FRAMES).frames).ratio.min()
    return Health(float(samples.temperature.mean()), float(closest), drifted)

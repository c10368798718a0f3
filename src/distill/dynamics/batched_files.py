"""One of several replicas that go on together: its folder, and what was noted since the last checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms, units

from distill.base.arrays import Array
from distill.base.random import stream
from distill.dynamics.course import (
    EXPLODED,
    Course,
    Dynamics,
    description,
    first_velocities,
    refuse_other,
    show_break,
)
from distill.dynamics.ensembles import Ensemble
from distill.dynamics.trajectory_files import TrajectoryFolder

ENGINE = "batched"
"""What ``run.json`` says of who makes the steps."""


class BatchedReplica:
    """One replica.

    Args:
        atoms: what it begins from; it is not changed.
        keep_velocities: begin with the velocities that the atoms have.
        ensemble: what is held constant.
        course: how long, what is kept, and its seed.
        trajectory: its folder.
        model: what the potential is.

    Attributes:
        positions: at the last checkpoint, ``[N, 3]`` Å.
        velocities: at the last checkpoint, ``[N, 3]``.
        step: of the last checkpoint or, where it broke, sample.
        broke: why it ended too early.
    """

    def __init__(
        self,
        atoms: Atoms,
        keep_velocities: bool,
        ensemble: Ensemble,
        course: Course,
        trajectory: TrajectoryFolder,
        model: str,
    ) -> None:
        self.atoms, self.ensemble, self.course, self.trajectory = atoms.copy(), ensemble, course, trajectory
        self.positions, self.velocities = atoms.positions.copy(), atoms.get_velocities()
        self.step, self.broke = 0, ""
        self._said = description(atoms, ensemble, course, model, ENGINE)
        self._keep_velocities = keep_velocities
        if keep_velocities:
            self._said["momenta"] = atoms.get_momenta().tolist()
        self._parts = self._begun = 0
        self._seconds = 0.0
        self._rows: list[dict[str, Any]] = []

    def open(self) -> None:
        """Take over what its folder has, or begin; nothing is written.

        Raises:
            UserError: the folder has a run of something else, or is damaged, or every atom is fixed.
        """
        earlier, state = self.trajectory.said(), self.trajectory.state()
        if earlier is not None:
            refuse_other(earlier, self._said, self.trajectory.path)
            self.step, self.broke = earlier["steps"], earlier["broke"]
        if self.broke:
            pass
        elif state is not None:
            self.step, self._parts = int(state["step"]), int(state["parts"])
            self.positions, self.velocities = state["positions"], state["velocities"]
        elif not self._keep_velocities:
            atoms = self.atoms.copy()
            first_velocities(atoms, self.ensemble.temperature, stream(self.course.seed, "dynamics"))
            self.velocities = atoms.get_velocities()
        self._begun = self.step

    def announce(self) -> None:
        """Write what is run, where that was not done before."""
        if self.trajectory.said() is None:
            self.trajectory.say(self._said | {"steps": 0, "broke": ""})

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do."""
        return bool(self.broke) or self.step >= self.course.steps

    def note(self, step: int, positions: Array, velocities: Array, numbers: dict[str, float]) -> None:
        """Note a sample.

        Args:
            step: that it was taken after.
            positions: ``[N, 3]`` Å.
            velocities: ``[N, 3]``.
            numbers: ``energy``, ``kinetic_energy`` (eV), ``temperature`` (K) and, if there is one, the trace of the
                stress of the potential, ``trace`` (eV/Å³).
        """
        row: dict[str, Any] = {"step": step, "positions": positions.astype(np.float32)}
        row |= {name: numbers[name] for name in ("energy", "kinetic_energy", "temperature")}
        if "trace" in numbers and self.atoms.pbc.all():
            ideal = 2 * numbers["kinetic_energy"] / (3 * self.atoms.get_volume())
            row["pressure"] = (ideal - numbers["trace"] / 3) / units.GPa
        if self.course.velocities:
            row["velocities"] = velocities.astype(np.float32)
        self._rows.append(row)

    def keep(self, step: int, positions: Array, velocities: Array, seconds: float) -> None:
        """Write what was noted as a part, and where the replica is, after so many more seconds of work."""
        self.step, self.positions, self.velocities = step, positions, velocities
        self._seconds += seconds
        self._add_part()
        state = {"positions": positions, "velocities": velocities, "cell": self.atoms.cell.array.copy()}
        state["momenta"] = (
            velocities * self.atoms.get_masses()[:, None]
        )  # as other engines have it, which go on from here
        self.trajectory.keep(state | self._counted())

    def end(self, step: int, why: str, positions: Array, seconds: float) -> None:
        """Write that the replica broke after the sample of a step, with the structure at which it did."""
        self.step, self.broke = step, why
        self._seconds += seconds
        self._add_part()
        self.trajectory.keep(self._counted())
        atoms = self.atoms.copy()
        atoms.positions = positions
        show_break(self.trajectory, atoms)

    def close(self) -> Dynamics:
        """Write how it ended, and return it."""
        self.trajectory.say(self._said | {"steps": self.step, "broke": self.broke})
        steps = self.step - self._begun
        return Dynamics(
            self.trajectory.path, self.step, self.broke, 1000 * self._seconds / steps if steps > 0 else None
        )

    def exploded(self, step: int, temperature: float) -> str:
        """Return why the replica is given up where its temperature is too high, nothing where it is not."""
        if temperature < EXPLODED * self.ensemble.hottest:
            return ""
        return f"at {self.course.time(step)} the temperature was {temperature:.0f} K"

    def _add_part(self) -> None:
        if self._rows:
            self.trajectory.add_part(
                self._parts, {name: np.array([row[name] for row in self._rows]) for name in self._rows[0]}
            )
            self._parts += 1
            self._rows = []

    def _counted(self) -> dict[str, Array]:
        return {"step": np.array(self.step), "parts": np.array(self._parts)}

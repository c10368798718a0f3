"""Ask the teacher about structures of the students' own dynamics: there a student is alone, and errs most."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from distill.base.artifact import Labels, LabelValue
from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary
from distill.stages.students import VARIANTS

if TYPE_CHECKING:
    from distill.dynamics.trajectory_files import TrajectoryFolder
    from distill.structures.frames import Frames


class Relabel(Stage):
    """Forces of student and teacher on structures of one replica of a student's run."""

    class Settings(StageSettings):
        """How many structures."""

        frames: int = Field(13, ge=0)
        """Structures of each replica, evenly over its time, that the teacher labels as well; 0: none."""

    section: ClassVar[str] = "relabel"
    each: ClassVar[str] = "dynamics"
    inputs: ClassVar[InputSpecs] = {
        "model": {variant: f"train.model@{variant}" for variant in VARIANTS},
        "teacher": "ensemble.model",
        "replica": "dynamics.replica",
    }
    outputs: ClassVar[dict[str, str]] = {"errors": "errors.csv"}

    @classmethod
    def fan_out(cls, section: Settings, followed: Labels) -> list[dict[str, LabelValue]]:
        """Return one task for each replica of a student; none for the teacher's."""
        return [] if followed["student"] == "teacher" or not section.frames else [{}]

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write ``errors.csv``: of each structure the errors of forces and energy against the teacher."""
        import numpy as np

        from distill.base.files import write_table
        from distill.dynamics.replica import PRODUCTION
        from distill.dynamics.trajectory_files import TrajectoryFolder
        from distill.potentials.interface.saving import open_saved

        structures = _chosen(TrajectoryFolder(inputs["replica"] / PRODUCTION), settings.frames)
        rows: list[dict[str, float]] = []
        if structures is not None:
            with job.progress.phase("asking the teacher", len(structures), "structure") as phase:
                teacher = open_saved(inputs["teacher"], job.device, job.consent)
                truth = teacher.evaluate(structures, stress=False, progress=phase)
            guess = open_saved(inputs["model"], job.device, job.consent).evaluate(structures, stress=False)
            rows = _rows(structures, truth, guess)
        write_table(job.out / "errors.csv", ("time_fs", "forces_mae_eV_per_A", "energy_error_eV_per_atom"), rows)
        mean = float(np.mean([row["forces_mae_eV_per_A"] for row in rows])) if rows else None
        said = f"{1000 * mean:.0f} meV/Å from the teacher" if mean is not None else "no structures"
        return {"structures": len(rows), "forces_mae": mean, "headline": said}


def _chosen(trajectory: TrajectoryFolder, most: int) -> Frames | None:
    """Return samples evenly over the time of a run, the first left out; None where there is none."""
    from distill.structures.frames import Frames

    if trajectory.said() is None:
        return None
    samples = sum(len(part["step"]) for part in trajectory.parts())
    chosen = list(trajectory.snapshots(every=max(1, (samples - 1) // most)))[1 : most + 1]
    return Frames.from_atoms(chosen, constraints=False) if chosen else None


def _rows(structures: Frames, truth: Frames, guess: Frames) -> list[dict[str, float]]:
    """Return the errors of each structure."""
    import numpy as np

    off = np.abs(np.asarray(guess.forces) - np.asarray(truth.forces)).mean(axis=1)
    forces = np.add.reduceat(off, structures.offsets[:-1])
    energies = guess.energy_per_atom - truth.energy_per_atom
    return [
        {
            "time_fs": float(structures.info[k]["time_fs"]),
            "forces_mae_eV_per_A": float(forces[k] / structures.n_atoms[k]),
            "energy_error_eV_per_atom": float(energies[k]),
        }
        for k in range(len(structures))
    ]

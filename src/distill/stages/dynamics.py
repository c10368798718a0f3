"""Molecular dynamics of the teacher and of every student, in replicas: one task a model, run and replica.

A longer run continues the one that is there, and a killed one its last checkpoint. A run that breaks is a result, not a
failure: it ends early and says why.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from distill.base.artifact import Labels, LabelValue
from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary
from distill.stages.kinds import Run, Runs
from distill.stages.molecular_dynamics import MolecularDynamics, replicas
from distill.stages.start import check_start, named_file, start
from distill.stages.students import VARIANTS

if TYPE_CHECKING:
    from ase import Atoms

    from distill.dynamics.course import Course
    from distill.dynamics.ensembles import Ensemble
    from distill.dynamics.replica import Replica
    from distill.potentials.interface.potential import Potential

REPLICA = "replica"
"""Folder of the trajectory in the artifact."""


class Dynamics(Stage):
    """One replica of one run with one model."""

    class Settings(StageSettings, MolecularDynamics):
        """The run."""

    version: ClassVar[int] = 2
    section: ClassVar[str] = "simulate"
    each: ClassVar[str] = "predict"
    inputs: ClassVar[InputSpecs] = {
        "model": {"finetuned": "ensemble.model"} | {variant: f"train.model@{variant}" for variant in VARIANTS},
        "frames": "check.train",
        "before": "dynamics.replica@",
    }
    outputs: ClassVar[dict[str, str]] = {"replica": REPLICA}
    publish: ClassVar[dict[str, str]] = {"replica": "dynamics/{student}{suffix}/{run}-{replica}"}
    hashed_labels: ClassVar[tuple[str, ...]] = ("replica",)
    extends: ClassVar[tuple[str, ...]] = ("ps",)

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        """Return the type of the list of simulations."""
        return Runs

    @classmethod
    def fan_out(cls, section: Sequence[Run], followed: Labels) -> list[dict[str, LabelValue]]:
        """Return one set of labels for each run and replica that there is with a model."""
        student, variant, seed = (followed[name] for name in ("student", "variant", "seed"))
        return [
            {"run": run.name, "replica": replica}
            for run in section
            if isinstance(run, MolecularDynamics)
            and (variant == "finetuned" if student == "teacher" else variant in run.variants)
            and (run.seeds is None or int(seed) < run.seeds)
            for replica in range(replicas(run, str(student)))
        ]

    @classmethod
    def files(cls, section: Sequence[Run], labels: Labels) -> dict[str, str]:
        """Return the user's structure that the run starts from."""
        run = _named(section, labels)
        return named_file(run.structure, f"simulate.{section.index(run)}")

    @classmethod
    def check_files(cls, files: Mapping[str, Path], settings: Settings) -> None:
        """Refuse a structure that cannot be read, before anything is computed."""
        check_start(files)

    @classmethod
    def linked(cls, section: Sequence[Run], labels: Labels) -> dict[str, Labels]:
        """Return the run that this one goes on from."""
        after = _named(section, labels).after
        return {} if after is None else {"before": {"run": after}}

    @classmethod
    def select(cls, section: Sequence[Run], labels: Labels) -> dict[str, Any]:
        """Return the labelled run, of the teacher with the length that it has there."""
        run = _named(section, labels)
        settings = {name: getattr(run, name) for name in type(run).model_fields}
        if labels["student"] == "teacher" and run.teacher is not None and run.teacher.ps is not None:
            settings["ps"] = run.teacher.ps
        return settings

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write the trajectory and say how the run ended."""
        from distill.dynamics.engines import calculator_for
        from distill.dynamics.replica import EQUILIBRATION, PRODUCTION, run_replica
        from distill.potentials.interface.saving import open_saved

        if (broken := _broken_before(inputs["before"])) is not None:
            (job.out / REPLICA).mkdir(exist_ok=True)
            return _ended(settings, f"{settings.after}, which it goes on from, broke: {broken}")
        atoms = _begin(inputs, settings)
        model = open_saved(inputs["model"], job.device, job.consent)
        _refuse_pressure(model, settings)
        course = _course(settings, job)
        _take_over(job, course)
        folders = [job.out / REPLICA / name for name in (EQUILIBRATION, PRODUCTION)]
        calculator = calculator_for(model, settings.compile, folders)
        replica = run_replica(
            atoms,
            calculator,
            _ensemble(settings),
            course,
            job.out / REPLICA,
            equilibrate_ps=settings.equilibrate_ps,
            keep_velocities=settings.after is not None,
            model=f"{job.labels['student']} {job.labels['variant']}",
            progress=job.progress,
        )
        return _summary(settings, replica, len(atoms)) | {"computed_by": calculator.computed_by}


def _named(section: Sequence[Run], labels: Labels) -> MolecularDynamics:
    """Return the run that labels name."""
    return next(run for run in section if isinstance(run, MolecularDynamics) and run.name == labels["run"])


def _broken_before(before: Path | None) -> str | None:
    """Return why the run broke that this one goes on from; None where it did not, or there is none."""
    from distill.dynamics.replica import PRODUCTION
    from distill.dynamics.trajectory_files import TrajectoryFolder

    if before is None:
        return None
    said = TrajectoryFolder(before / PRODUCTION).said()
    if said is None:
        return "it was never begun, or broke while it was equilibrated"
    return said["broke"] or None


def _begin(inputs: Paths, settings: Dynamics.Settings) -> Atoms:
    """Return the structure that the run begins with, with its masses and, after an earlier run, its velocities."""
    from distill.dynamics.replica import PRODUCTION, at_the_end
    from distill.dynamics.trajectory_files import TrajectoryFolder

    if settings.structure is not None:
        atoms = start(settings.structure, inputs["frames"], inputs.get("structure"))
    else:
        earlier = TrajectoryFolder(inputs["before"] / PRODUCTION)
        atoms = at_the_end(earlier, next(earlier.snapshots()))
    if settings.masses:
        given = zip(atoms.symbols, atoms.get_masses(), strict=True)
        atoms.set_masses([settings.masses.get(symbol, mass) for symbol, mass in given])
    return atoms


def _refuse_pressure(model: Potential, settings: Dynamics.Settings) -> None:
    """Refuse constant pressure with a model that knows no stress."""
    from distill.base.errors import UserError

    if settings.ensemble == "npt" and not model.predicts_stress:
        what = f"{settings.name}: constant pressure needs a model that predicts stress, and this one does not"
        raise UserError(what, "simulate", "Use ensemble: nvt, or a student that learns stress")


def _ensemble(settings: Dynamics.Settings) -> Ensemble:
    """Return what is held constant."""
    from distill.dynamics.ensembles import Ensemble

    return Ensemble(
        settings.ensemble,
        settings.temperature,
        settings.thermostat,
        settings.thermostat_fs,
        settings.pressure,
        settings.barostat,
        settings.barostat_fs,
        settings.programme,
    )


def _course(settings: Dynamics.Settings, job: Job) -> Course:
    """Return how long the run goes on, with velocities and noise of this replica, and of the teacher others."""
    from distill.base.random import stream_seed
    from distill.dynamics.course import Course

    whose = "teacher" if job.labels["student"] == "teacher" else "student"
    return Course(
        settings.ps,
        settings.timestep_fs,
        settings.save_every_fs,
        settings.checkpoint_ps,
        settings.velocities,
        stream_seed(job.seed, "replica", whose, job.labels["replica"]),
    )


def _take_over(job: Job, course: Course) -> None:
    """Copy the longest trajectory of an earlier task that this one continues, unless this one has begun already.

    It ends at a checkpoint that this run has too, so that the longer run is the same, however it came about.
    """
    from distill.base.files import copy_tree

    if (job.out / REPLICA).exists():
        return
    found = {earlier / REPLICA: _steps(earlier / REPLICA) for earlier in job.earlier}
    usable = [one for one, steps in found.items() if 0 < steps <= course.steps and steps % course.checkpoint == 0]
    for earlier in sorted(usable, key=lambda one: found[one], reverse=True):
        with suppress(OSError):  # another run may be at work there
            copy_tree(earlier, job.out / REPLICA)
        if _steps(job.out / REPLICA):
            return
        shutil.rmtree(job.out / REPLICA, ignore_errors=True)


def _steps(replica: Path) -> int:
    """Return how many steps of a run are there; 0 where there is none that could go on."""
    from distill.base.errors import UserError
    from distill.dynamics.replica import PRODUCTION
    from distill.dynamics.trajectory_files import TrajectoryFolder

    trajectory = TrajectoryFolder(replica / PRODUCTION)
    try:
        said, state = trajectory.said(), trajectory.state()
    except UserError:
        return 0
    return 0 if said is None or said["broke"] or state is None else int(state["step"])


def _summary(settings: Dynamics.Settings, replica: Replica, atoms: int) -> Summary:
    """Return how the run ended, and what it shows of itself where it did not break."""
    from dataclasses import asdict

    from distill.dynamics.replica import health

    if replica.broke or replica.produced is None:
        return _ended(settings, replica.broke, atoms)
    found = health(replica.produced.trajectory, settings.ensemble)
    said = f"{settings.ps:g} ps, {found.mean_temperature:.0f} K"
    said += f", drift {found.drift:.2f}" if found.drift is not None else ""
    times = {"ms_per_step": replica.produced.ms_per_step}
    return _ended(settings, "", atoms) | asdict(found) | times | {"headline": said}


def _ended(settings: Dynamics.Settings, broke: str, atoms: int | None = None) -> Summary:
    """Return what is said of every run."""
    named = {name: getattr(settings, name) for name in ("name", "ensemble", "temperature", "ps")}
    return named | {"atoms": atoms, "broke": broke, "headline": broke}

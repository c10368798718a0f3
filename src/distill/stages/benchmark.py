"""Time molecular dynamics with the teacher and with every student: milliseconds a step against the number of atoms.

Speed is what a student is made for, so it is measured where the run is made and not promised. It waits for the
evaluation and the simulations, so that nothing of the same run competes for the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from distill.base.files import write_table
from distill.base.settings import Settings
from distill.stages.base import Compile, InputSpecs, Job, Paths, Stage, StageSettings, Summary

if TYPE_CHECKING:
    from ase import Atoms

    from distill.base.progress import Phase
    from distill.dynamics.speed import Speed as ModelSpeed

SPEED = ("model", "variant", "atoms", "ms_per_step", "n_steps", "waiting", "note")
"""Columns of ``speed.csv``: one row a model and size; ``waiting`` is the share of the time for which a thread had no
core, the note of a model's last row says why none is larger."""

BUSY = 0.1
"""Share of the time without a core from which on the machine was busy, and times are longer than they need be."""

GIVEN = ("model", "atoms", "ms_per_step")
"""Columns of ``timings.csv``, the user's table in our units."""


class Timings(Settings):
    """A table of timings to draw beside ours: CSV with the columns model, atoms (or molecules) and ms_per_step (or
    mins_per_ps)."""

    file: str = Field(exclude=True)
    """The CSV file, relative to the recipe."""
    atoms_per_molecule: int | None = Field(None, ge=1)
    """Atoms of a molecule, e.g. 3 for water, where the table counts molecules."""
    timestep_fs: float | None = Field(None, gt=0)
    """Time step that was timed, fs, where the table has minutes per picosecond."""
    machine: str = ""
    """What the table was measured on, for the legend."""


class Benchmark(Stage):
    """Time steps of the fine-tuned teacher and of every distilled student (the first seed that was trained)."""

    class Settings(StageSettings):
        """What is timed, and for how long."""

        seconds: float = Field(10.0, ge=0)
        """Seconds for each model; a size that would not fit into what is left is not begun. 0 leaves all out."""
        largest: int | None = Field(4096, ge=1)
        """Atoms at most; null: until the time or the memory ends."""
        structure: str | None = Field(None, exclude=True)
        """Extended XYZ file whose first structure is repeated; absent: the first training structure that is periodic
        in most directions."""
        temperature: float = Field(300.0, gt=0)
        """K at the start; how fast atoms move decides how often the neighbour list is rebuilt."""
        timestep_fs: float = Field(1.0, gt=0)
        """Time step, fs; as for the temperature."""
        compile: Compile = False
        """Have torch compile painn and tensornet where they are not computed in C++: on a GPU; that is not timed."""
        timings: Timings | None = None
        """Timings of your own, drawn beside ours."""

    version: ClassVar[int] = 3
    section: ClassVar[str] = "benchmark"
    timed: ClassVar[bool] = True
    inputs: ClassVar[InputSpecs] = {
        "frames": "check.train",
        "structure": "recipe:benchmark.structure",
        "timings": "recipe:benchmark.timings.file",
        "teacher": "ensemble.model",
        "students": "train.model",
    }
    tolerates: ClassVar[tuple[str, ...]] = ("students",)
    waits: ClassVar[tuple[str, ...]] = (
        *("evaluate", "simulate", "dynamics", "observe", "relabel", "judge"),
        *("gate", "write", "certify"),
    )
    outputs: ClassVar[dict[str, str]] = {"speed": "speed.csv", "timings": "timings.csv"}
    publish: ClassVar[dict[str, str]] = {"speed": "speed.csv"}

    @classmethod
    def check_files(cls, files: Mapping[str, Path], settings: Settings) -> None:
        """Refuse a table of timings that could not be drawn, before anything is trained."""
        _given(files.get("timings"), settings.timings)

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write ``speed.csv``, and ``timings.csv`` with what the user's table says.

        Raises:
            UserError: the user's table cannot be read, before anything is timed.
        """
        from distill.dynamics.speed import timed_structure

        given = _given(inputs["timings"], settings.timings)
        models = _models(inputs) if settings.seconds else {}
        atoms = timed_structure(inputs["structure"], inputs["frames"])
        speeds: dict[str, ModelSpeed] = {}
        with job.progress.phase("timing", len(models), "model") as phase:
            for done, (name, path) in enumerate(models.items()):
                speeds[name] = _timed(path, name, atoms, settings, job, phase)
                phase.update(done + 1)
        rows = [row for name in speeds for row in _rows(name, speeds[name])]
        rows += [_row_without_numbers(name, "its training failed") for name in _lost(job, models)]
        write_table(job.out / "speed.csv", SPEED, rows)
        write_table(job.out / "timings.csv", GIVEN, given)
        busy = _busy(speeds)
        job.warnings += [busy] if busy else []
        return _summary(speeds, atoms, settings, job.device, bool(busy))


def _models(inputs: Paths) -> dict[str, Path]:
    """Return the folders of the teacher and of every distilled student, of several seeds the first that there is."""
    models: dict[str, Path] = {"teacher": inputs["teacher"]}
    for source in inputs["students"]:
        if source.variant == "distilled":
            models.setdefault(source.student, source.path)
    return models


def _lost(job: Job, models: Mapping[str, Path]) -> list[str]:
    """Return the students that would have been timed, had not the trainings of all their seeds failed."""
    failed = (one["student"] for one in job.missing.get("students", ()) if one["variant"] == "distilled")
    return [name for name in dict.fromkeys(map(str, failed)) if models and name not in models]


def _timed(path: Path, name: str, atoms: Atoms, settings: Benchmark.Settings, job: Job, phase: Phase) -> ModelSpeed:
    """Return the speed of one saved potential; a student whose dynamics break is worth a warning."""
    from distill.base.random import stream
    from distill.dynamics.speed import Timing, measure
    from distill.potentials.interface.saving import open_saved

    def report(timing: Timing) -> None:
        phase.advance(0, f"{name}, {timing.atoms} atoms: {timing.ms_per_step:.3g} ms a step")

    speed = measure(
        open_saved(path, job.device, job.consent),
        atoms,
        seconds=settings.seconds,
        largest=settings.largest,
        temperature=settings.temperature,
        timestep_fs=settings.timestep_fs,
        rng=stream(job.seed, "benchmark"),
        report=report,
        compiled=settings.compile,
    )
    if speed.broke:
        job.warnings.append(f"{name} was not timed further: {speed.stopped}")
    return speed


def _busy(speeds: Mapping[str, ModelSpeed]) -> str:
    """Return the sentence on other work that the machine did meanwhile; empty where it did not."""
    waiting = {name: speed.waiting for name, speed in speeds.items() if speed.waiting > BUSY}
    if not waiting:
        return ""
    shares = ", ".join(f"{name} for {100 * share:.0f} % of the time" for name, share in waiting.items())
    what = f"the machine was busy while steps were timed: threads had no core ({shares})"
    return f"{what}. Measure once more with --force benchmark"


def _given(path: Path | None, settings: Timings | None) -> list[dict[str, Any]]:
    """Return the user's timings in our units."""
    from dataclasses import asdict

    from distill.dynamics.timings import read_timings

    if path is None or settings is None:
        return []
    return [asdict(row) for row in read_timings(path, settings.atoms_per_molecule, settings.timestep_fs)]


def _rows(name: str, speed: ModelSpeed) -> list[dict[str, Any]]:
    """Return the rows of one model, the note on the last; a row without numbers where nothing could be timed."""
    from dataclasses import asdict

    if not speed.timings:
        return [_row_without_numbers(name, speed.stopped)]
    rows = [_head(name) | asdict(timing) | {"note": ""} for timing in speed.timings]
    rows[-1]["note"] = speed.stopped
    return rows


def _row_without_numbers(name: str, why: str) -> dict[str, Any]:
    """Return the row of a model that was not timed."""
    return _head(name) | {"atoms": "", "ms_per_step": "", "n_steps": 0, "waiting": "", "note": why}


def _head(name: str) -> dict[str, Any]:
    return {"model": name, "variant": "finetuned" if name == "teacher" else "distilled"}


def _summary(
    speeds: dict[str, ModelSpeed], atoms: Atoms, settings: Benchmark.Settings, device: str, busy: bool
) -> Summary:
    """Return what was timed where, and how many times faster each student is than the teacher."""
    import torch

    from distill.dynamics.speed import describe_machine, times_faster

    students: dict[str, Any] = {}
    for name, speed in speeds.items():
        found = times_faster(speeds["teacher"], speed) if name != "teacher" else None
        if found is not None:
            size, teacher, student = found
            students[name] = {
                "atoms": size,
                "teacher_ms_per_step": teacher,
                "ms_per_step": student,
                "times_faster": teacher / student,
            }
    said = [f"{name} {s['times_faster']:.3g} times at {s['atoms']} atoms" for name, s in students.items()]
    headline = f"faster than the teacher: {', '.join(said)}" if said else "no student was timed beside the teacher"
    headline += " (on a busy machine)" if busy else ""
    return {
        "structure": atoms.get_chemical_formula(),
        "machine": describe_machine(torch.device(device)),
        "device": device,
        "threads": torch.get_num_threads(),
        "timestep_fs": settings.timestep_fs,
        "temperature": settings.temperature,
        "timings_machine": settings.timings.machine if settings.timings else "",
        "stopped": {name: speed.stopped for name, speed in speeds.items()},
        "students": students,
        "waiting": {name: speed.waiting for name, speed in speeds.items()},
        "headline": headline if settings.seconds else "left out (benchmark.seconds: 0)",
    }

"""Time a student by itself, as soon as it is trained: what a search for a fast one compares.

The benchmark compares all models of a run at many sizes and waits for everything else; this asks one model at one size,
and only where the recipe says so.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, Field

from distill.base.artifact import Labels, LabelValue
from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary


class TimedAlone(StageSettings):
    """Whether students are timed by themselves."""

    atoms: int | None = Field(None, ge=1)
    """Also time every student by itself, once it is trained, in a cell of at least so many atoms; null: not. A search
    among whose objectives is ms_per_atom sets it."""


class Timing(Stage):
    """Time of a step of molecular dynamics with one student, for each atom."""

    class Settings(StageSettings):
        """How large the cell is and how fast its atoms move."""

        atoms: int
        """Atoms at least of the cell."""
        temperature: float
        """K at the start."""
        timestep_fs: float
        """Time step, fs."""

    version: ClassVar[int] = 2
    section: ClassVar[str] = "benchmark"
    reads: ClassVar[dict[str, str]] = {
        "temperature": "benchmark.temperature",
        "timestep_fs": "benchmark.timestep_fs",
    }
    timed: ClassVar[bool] = True
    each: ClassVar[str] = "train"
    inputs: ClassVar[InputSpecs] = {
        "model": "train.model",
        "frames": "check.train",
        "structure": "recipe:benchmark.structure",
    }

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        """Return what the recipe says besides the benchmark's settings."""
        return TimedAlone

    @classmethod
    def fan_out(cls, section: BaseModel, followed: Labels) -> list[dict[str, LabelValue]]:
        """Return one task for every student where they are timed by themselves, else none."""
        return [] if getattr(section, "atoms", None) is None else [{}]

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Return ``ms_per_atom``, None where the student's dynamics break."""
        from distill.base.random import stream
        from distill.dynamics.speed import time_of_atom, timed_structure
        from distill.potentials.interface.saving import open_saved

        found = time_of_atom(
            open_saved(inputs["model"], job.device, job.consent),
            timed_structure(inputs["structure"], inputs["frames"]),
            settings.atoms,
            temperature=settings.temperature,
            timestep_fs=settings.timestep_fs,
            rng=stream(job.seed, "timing"),
        )
        if found is None:
            job.warnings.append("the dynamics broke, so that no step could be timed")
            return {"ms_per_atom": None, "headline": "the dynamics broke"}
        each = found.ms_per_step / found.atoms
        return {
            "ms_per_atom": each,
            "atoms": found.atoms,
            "ms_per_step": found.ms_per_step,
            "waiting": found.waiting,
            "headline": f"{found.ms_per_step:.3g} ms a step of {found.atoms} atoms",
        }

"""Use each model for what it was made for: students for molecular dynamics, they and their teacher for static physics.

A small test error says little about stability, so a student must survive dynamics before it is trusted. A task has one
model, so that what the teacher says is computed once, and a student that is new asks nobody else again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from distill.base.artifact import Labels, LabelValue
from distill.base.files import write_json
from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary
from distill.stages.kinds import Langevin, Run, Runs, Simulation
from distill.stages.start import check_start, describe, named_file, start
from distill.stages.static_kinds import STATIC, WITH_FILE
from distill.stages.statics import Given, check_file, static_result
from distill.stages.students import VARIANTS

if TYPE_CHECKING:
    from ase import Atoms

    from distill.potentials.interface.potential import Potential


class Simulate(Stage):
    """One simulation of the recipe with one model."""

    class Settings(StageSettings):
        """The simulation."""

        run: Simulation
        """With its ``kind``."""

    version: ClassVar[int] = 8
    section: ClassVar[str] = "simulate"
    each: ClassVar[str] = "predict"
    inputs: ClassVar[InputSpecs] = {
        "model": {"finetuned": "ensemble.model"} | {variant: f"train.model@{variant}" for variant in VARIANTS},
        "frames": "check.train",
    }
    outputs: ClassVar[dict[str, str]] = {"result": "result.json"}

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        """Return the type of the list of simulations."""
        return Runs

    @classmethod
    def fan_out(cls, section: Sequence[Run], followed: Labels) -> list[dict[str, LabelValue]]:
        """Return the numbers in the recipe of the simulations of one model; the fine-tuned teacher has no dynamics."""
        kinds = {"zero_shot": (), "finetuned": STATIC}.get(str(followed["variant"]), (Langevin, *STATIC))
        return [{"run": index} for index, run in enumerate(section) if isinstance(run, kinds)]

    @classmethod
    def select(cls, section: Sequence[Run], labels: Labels) -> dict[str, Any]:
        """Return the labelled simulation."""
        return {"run": section[int(labels["run"])]}

    @classmethod
    def files(cls, section: Sequence[Run], labels: Labels) -> dict[str, str]:
        """Return the user's structures that the simulation reads."""
        run, place = section[int(labels["run"])], f"simulate.{labels['run']}"
        own = {"file": f"{place}.file"} if isinstance(run, WITH_FILE) else {}
        return own | named_file(getattr(run, "structure", None), place)

    @classmethod
    def check_files(cls, files: Mapping[str, Path], settings: Settings) -> None:
        """Refuse structures of the user's that cannot be what the recipe is about, before anything is computed."""
        check_start(files)
        if not isinstance(settings.run, Langevin):
            check_file(settings.run, files.get("file"))

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write the result, with its arrays; the summary leaves them out."""
        from distill.potentials.interface.saving import open_saved

        run = settings.run
        model = open_saved(inputs["model"], job.device, job.consent)
        if isinstance(run, Langevin):
            result = langevin(start(run.structure, inputs["frames"], inputs.get("structure")), model, run, job)
        else:
            files = {name: inputs.get(name) for name in ("structure", "file")}
            found = static_result(run, Given(model, job.progress, job.scratch, inputs["frames"], **files))
            if job.labels["student"] != "teacher":  # what is wrong with the teacher is said where it is opened
                job.warnings += found.flaws
            result = found.as_json()
        write_json(job.out / "result.json", result)
        return brief(result)


def langevin(atoms: Atoms, student: Potential, run: Langevin, job: Job) -> dict[str, Any]:
    """Run Langevin dynamics and return the sampled series and the verdict on stability."""
    from dataclasses import asdict

    from distill.base.random import stream
    from distill.dynamics.survival import judged_langevin

    done = judged_langevin(
        atoms,
        student,
        temperature=run.temperature,
        ps=run.ps,
        timestep_fs=run.timestep_fs,
        friction_per_ps=run.friction_per_ps,
        sample_every=run.sample_every,
        rng=stream(job.seed, "langevin", str(run.temperature)),
        max_grade=run.max_grade,
        compiled=run.compile,
        progress=job.progress,
    )
    grade = done.trajectory.grade
    return {
        "kind": "langevin",
        "structure": describe(run.structure, atoms),
        "temperature": run.temperature,
        "atoms": len(atoms),
        "ms_per_step": done.trajectory.ms_per_step,
        "computed_by": done.computed_by,
        "max_grade": None if grade is None else float(grade.max()),
        "series": {name: [x if math.isfinite(x) else None for x in of.tolist()] for name, of in done.series.items()},
        "verdict": asdict(done.verdict),
    }


def brief(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result without its arrays, with one line for the screen."""
    if result["kind"] == "langevin":
        verdict = result["verdict"]
        word = "survived" if verdict["survived"] else f"failed ({verdict['reasons'][0]})"
        text = f"{result['temperature']:g} K {word}"
        return {k: v for k, v in result.items() if k != "series"} | {"headline": text}
    said = [
        f"{one['name']} {one['value']:.4g} {one['unit']}" for one in result["quantities"] if one["value"] is not None
    ]
    text = "; ".join(result["flaws"]) or ", ".join(said[:3]) or result["sound"]
    listed = {name: result[name] for name in ("kind", "structure", "level", "quantities", "flaws")}
    return listed | {"headline": text or result["quantities"][0]["why"]}

"""Judge every student by physics: is it safe, does it agree with its teacher, and if not, where does it fail.

Nothing is computed here but statistics: what was simulated, observed and relabelled is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from distill.base.artifact import Labels
from distill.base.settings import as_data
from distill.observables import OBSERVABLES
from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary
from distill.stages.found import REFERENCE, STRUCTURES, Found, Who
from distill.stages.molecular_dynamics import MolecularDynamics
from distill.stages.observed import observables_of

if TYPE_CHECKING:
    from distill.analysis.verdicts import Verdict

COLUMNS = (
    *("model", "variant", "seed", "level", "quantity", "outcome", "value", "reference", "difference", "low", "high"),
    *("tolerance", "unit", "note", "why"),
)


def _kept(runs: Any) -> Any:
    """Return the names of runs of dynamics, and whether they keep velocities."""
    if isinstance(runs, Mapping):  # it arrives so where the task is done
        return runs
    return {run.name: run.velocities for run in runs if isinstance(run, MolecularDynamics)}


class Judge(Stage):
    """The verdict on every student, and the curves that it was judged by."""

    class Settings(StageSettings):
        """What differences pass, and what is known besides."""

        observables: dict[str, Any]
        """By name, as the recipe has them."""
        runs: Annotated[dict[str, bool], BeforeValidator(_kept)] = Field({}, exclude=True)
        """The runs of dynamics of the recipe's ``simulate`` section, and whether they keep velocities."""

        @model_validator(mode="after")
        def _runs_exist(self) -> Self:
            """Refuse an observable of a run that there is not, or that does not keep what it needs."""
            for name, one in self.observables.items():
                run = one["run"]
                if run not in self.runs:
                    there = (
                        f"the simulations of kind dynamics are {list(self.runs)}"
                        if self.runs
                        else "there is no dynamics"
                    )
                    raise ValueError(f"{name} is of the run {run!r}: {there}")
                if OBSERVABLES[one["kind"]].needs_velocities and not self.runs[run]:
                    raise ValueError(f"{name} needs velocities: give the run {run!r} 'velocities: true'")
            return self

    version: ClassVar[int] = 4
    section: ClassVar[str] = "observe"
    reads: ClassVar[Mapping[str, str]] = {"runs": "simulate"}
    inputs: ClassVar[InputSpecs] = {
        "metrics": "evaluate.metrics",
        "members": "finetune",
        "synthetic": "label.valid",
        "unseen": "unseen.labels",
        "simulate": "simulate",
        "dynamics": "dynamics",
        "observe": "observe.arrays",
        "relabel": "relabel",
    }
    tolerates: ClassVar[tuple[str, ...]] = ("members", "unseen", "simulate", "dynamics", "observe", "relabel")
    outputs: ClassVar[dict[str, str]] = {"verdict": "verdict.json", "table": "physics.csv", "curves": "curves.npz"}
    publish: ClassVar[dict[str, str]] = {"verdict": "verdict.json", "table": "physics.csv"}

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        """Return a model with one field an observable, typed by its kind."""
        return observables_of(raw)

    @classmethod
    def select(cls, section: BaseModel, labels: Labels) -> dict[str, Any]:
        """Return all observables, with what the tasks that compute them leave out."""
        return {"observables": {name: as_data(getattr(section, name)) for name in type(section).model_fields}}

    @classmethod
    def files(cls, section: BaseModel, labels: Labels) -> dict[str, str]:
        """Return the curves and structures that the recipe names as references."""
        named = {}
        for name in type(section).model_fields:
            reference = getattr(section, name).reference
            for kind, begins in (("file", REFERENCE), ("structures", STRUCTURES)):
                if reference is not None and getattr(reference, kind) is not None:
                    named[begins + name] = f"observe.{name}.reference.{kind}"
        return named

    @classmethod
    def check_files(cls, files: Mapping[str, Path], settings: Any) -> None:
        """Refuse a reference that is no curve or has no structures."""
        from distill.observables.files import read_curve, read_samples

        for name, path in files.items():
            if name.startswith(REFERENCE):
                read_curve(path)
            elif name.startswith(STRUCTURES):
                read_samples(path)

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write ``verdict.json``, ``physics.csv`` and ``curves.npz``."""
        from distill.analysis.verdicts import Verdict

        found = Found(inputs, settings.observables, job.missing)
        students = found.students()
        verdicts: dict[Who, Verdict] = {}
        with job.progress.phase("judging", len(students), "model") as phase:
            for who in students:
                criteria = sorted(found.criteria(who), key=lambda one: one.level)
                verdicts[who] = Verdict(tuple(criteria))
                phase.advance(note=" ".join(map(str, who)))
        _write(job.out, found, verdicts)
        said = [f"{who.student} {who.variant} {one.decision}" for who, one in verdicts.items()]
        return {
            "verdicts": [{**who._asdict(), "decision": one.decision} for who, one in verdicts.items()],
            "headline": ", ".join(said[:4]) + (" ..." if len(said) > 4 else ""),
        }


def _write(out: Path, found: Found, verdicts: Mapping[Who, Verdict]) -> None:
    """Write the three outputs."""
    from dataclasses import asdict

    import numpy as np

    from distill.base.files import replacing, write_json, write_table

    triangles = {who: found.triangle(who) for who in verdicts}
    students = [
        {**who._asdict(), **verdict.as_data(), "triangle": asdict(of) if (of := triangles[who]) else None}
        for who, verdict in verdicts.items()
    ]
    write_json(out / "verdict.json", {"students": students, "observables": found.described()})
    rows = [
        {"model": who.student, "variant": who.variant, "seed": who.seed, **criterion}
        for who, verdict in verdicts.items()
        for criterion in verdict.as_data()["criteria"]
    ]
    write_table(out / "physics.csv", COLUMNS, rows)
    with replacing(out / "curves.npz") as temporary:
        np.savez(temporary, **found.arrays())  # type: ignore[arg-type]

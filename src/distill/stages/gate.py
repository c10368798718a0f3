"""Look whether a student that is exported has holes where simulations get to; its teacher is asked where it has.

What fails is not an error here: it is for the recipe to say what becomes of such a student.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, computed_field

from distill.base.artifact import Labels, suffix
from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary
from distill.stages.exported import Export, exported


def _highest(runs: Any) -> Any:
    """Return the highest temperature of the recipe's simulations, K; None where none has one."""
    if not isinstance(runs, Sequence):  # it arrives so where the task is done
        return runs
    found = [run.temperature for run in runs if hasattr(run, "temperature")]
    found += [kelvin for run in runs for _, kelvin in getattr(run, "programme", ())]
    return max(found, default=None)


class Gate(Stage):
    """The safety gate of one student."""

    class Settings(StageSettings):
        """For which temperature."""

        temperature: float | None = Field(exclude=True)
        """As the recipe's export section has it."""
        simulated: Annotated[float | None, BeforeValidator(_highest)] = Field(exclude=True)
        """Of the simulations."""
        grown: float = Field(exclude=True)
        """Of generation."""

        @computed_field  # type: ignore[prop-decorator]
        @property
        def highest(self) -> float:
            """The highest that the student is meant for, K."""
            return self.temperature or self.simulated or self.grown

    section: ClassVar[str] = "export"
    reads: ClassVar[Mapping[str, str]] = {"simulated": "simulate", "grown": "synthetic.temperature"}
    each: ClassVar[str] = "train"
    inputs: ClassVar[InputSpecs] = {
        "model": "train.model",
        "structures": "label.all",
        "teacher": "ensemble.model",
    }
    outputs: ClassVar[dict[str, str]] = {"gate": "gate.json"}
    hashed_labels: ClassVar[tuple[str, ...]] = ("student", "variant", "seed")

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        """Return the type of the whole section."""
        return Export

    @classmethod
    def follows(cls, section: Export, every: Sequence[Labels]) -> Sequence[Labels]:
        """Return the students that are exported; none where the gate is off."""
        return [] if section.gate == "off" else exported(section, every)

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write ``gate.json``."""
        from distill.exporting.gate import run_gate
        from distill.potentials.interface.saving import open_saved
        from distill.structures.read import read_frames

        found = run_gate(
            open_saved(inputs["model"], job.device, job.consent),
            read_frames(inputs["structures"])[0],
            model=f"{job.labels['student']}{suffix(job.labels)}",
            temperature=settings.highest,
            teacher=open_saved(inputs["teacher"], job.device, job.consent),
            teacher_name="the teacher",
            progress=job.progress,
        )
        found.write(job.out)
        if not found.passed:
            job.warnings.append(f"the safety gate: {found.sentence}")
        return {"passed": found.passed, "sentence": found.sentence, "headline": found.sentence}

"""What every model says of the test set: one task a model, so that only a new one is work to do.

Teacher (as it came and fine-tuned) and students are judged by the same DFT structures. Predictions depend on the model
and on these alone: a student that was trained directly on DFT structures is not asked again where others were grown.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel

from distill.base.artifact import Labels, LabelValue
from distill.base.progress import Phase
from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary
from distill.stages.students import VARIANTS, trained

if TYPE_CHECKING:
    from distill.potentials.interface.potential import Potential
    from distill.structures.frames import Frames

TEACHERS = {"zero_shot": "ensemble.zero_shot", "finetuned": "ensemble.model"}
"""Variants of the teacher, and where they come from."""


class Predict(Stage):
    """Predictions of the test set by one model."""

    class Settings(StageSettings):
        """There are none."""

    version: ClassVar[int] = 3
    section: ClassVar[str] = "students"
    inputs: ClassVar[InputSpecs] = {
        "test": "check.test",
        "model": TEACHERS | {variant: f"train.model@{variant}" for variant in VARIANTS},
    }
    outputs: ClassVar[dict[str, str]] = {"test": "test.xyz", "labels": "labels"}
    publish: ClassVar[dict[str, str]] = {"test": "predictions/{student}-{variant}-{seed}.xyz"}

    @classmethod
    def fan_out(cls, section: BaseModel, followed: Labels) -> list[dict[str, LabelValue]]:
        """Return the labels of the teacher's two variants and of each student, variant and seed."""
        teachers: list[dict[str, LabelValue]] = [
            {"student": "teacher", "variant": variant, "seed": 0} for variant in TEACHERS
        ]
        return teachers + trained(section)

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write the test set as it is predicted, and in ``labels`` the bare numbers."""
        from distill.potentials.interface.saving import open_saved
        from distill.structures.labels import write_labels
        from distill.structures.read import read_frames
        from distill.structures.write import write_frames

        potential = open_saved(inputs["model"], job.device, job.consent)
        test = read_frames(inputs["test"])[0]
        (job.out / "labels").mkdir(exist_ok=True)
        with job.progress.phase("predicting", len(test), "structure") as phase:
            predicted = _predicted(potential, test, phase, job.out / "labels")
        write_labels(job.out / "labels" / "test.npz", predicted)
        write_frames(job.out / "test.xyz", potential.graded(predicted))
        return {"test": len(test), "headline": f"{len(test)} structures"}


def _predicted(potential: Potential, structures: Frames, phase: Phase, folder: Path) -> Frames:
    """Return structures as they are predicted; of several teachers, write what each says and how far they lie apart."""
    from distill.potentials.interface.ensemble import Ensemble
    from distill.structures.labels import write_labels

    if not isinstance(potential, Ensemble):
        return potential.evaluate(structures, progress=phase)
    each = potential.evaluate_each(structures, progress=phase)
    for member, labelled in zip(potential.members, each, strict=True):
        (folder / "test-members").mkdir(exist_ok=True)
        write_labels(folder / "test-members" / f"{member}.npz", labelled)
    mean, spread = potential.joined(each)
    spread.save(folder / "test-spread.npz")
    return mean

"""What every student says of unseen families: synthetic structures of trees that none of them was trained on.

They are judged there by their teacher's labels, which tells how well a student has learnt its teacher where no DFT
calculation was made.
"""

from __future__ import annotations

from typing import ClassVar

from distill.stages.base import InputSpecs, Job, Paths, Stage, StageSettings, Summary


class Unseen(Stage):
    """Predictions of the synthetic validation structures by one student."""

    class Settings(StageSettings):
        """There are none."""

    version: ClassVar[int] = 2
    each: ClassVar[str] = "train"
    inputs: ClassVar[InputSpecs] = {"structures": "label.valid", "model": "train.model"}
    outputs: ClassVar[dict[str, str]] = {"labels": "labels.npz"}

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write the bare numbers of what is predicted; the summary says how far they are from the teacher's."""
        from distill.analysis.objective import objective_errors
        from distill.potentials.interface.saving import open_saved
        from distill.structures.labels import write_labels
        from distill.structures.read import read_frames

        potential = open_saved(inputs["model"], job.device, job.consent)
        structures = read_frames(inputs["structures"])[0]
        with job.progress.phase("predicting", len(structures), "structure") as phase:
            predicted = potential.evaluate(structures, progress=phase)
        write_labels(job.out / "labels.npz", predicted)
        return {"structures": len(structures), "headline": f"{len(structures)} structures"} | objective_errors(
            structures, predicted
        )

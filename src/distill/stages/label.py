"""Label the synthetic structures with the teacher, add dimers, and keep whole families for validation.

Trees that grew from the DFT validation structures become the students' validation set, so that no family has members on
both sides.
"""

from __future__ import annotations

from typing import Any, ClassVar

from distill.stages.base import Job, Paths, Stage, StageSettings, Summary


class Label(Stage):
    """The teacher's energy, forces and stress on every structure, the seeds and the dimers included."""

    class Settings(StageSettings):
        """What is added to the grown structures."""

        dimers: bool = True
        """Add dimers of each pair of elements, so that students know isolated pairs."""
        include_seeds: bool = True
        """Add the DFT structures themselves, with the teacher's labels."""

    section: ClassVar[str] = "synthetic"
    inputs: ClassVar[dict[str, Any]] = {
        "teacher": "finetune.model",
        "structures": "generate.structures",
        "train": "check.train",
        "valid": "check.valid",
    }
    outputs: ClassVar[dict[str, str]] = {"train": "train.xyz", "valid": "valid.xyz", "all": "synthetic.xyz"}
    publish: ClassVar[dict[str, str]] = {"all": "synthetic.xyz"}

    def run(self, inputs: Paths, settings: Settings, job: Job) -> Summary:
        """Write the students' training and validation sets, and all synthetic structures together."""
        import numpy as np

        from distill.potentials.potential import load
        from distill.sampling.dimers import dimers
        from distill.structures.frames import Frames, concatenate
        from distill.structures.read import read_frames
        from distill.structures.write import write_frames

        teacher = load(inputs["teacher"], job.device)
        grown = read_frames(inputs["structures"])[0]
        seeds = self._seeds(inputs) if settings.include_seeds else Frames.empty()
        pairs = dimers(grown.elements) if settings.dimers else Frames.empty()
        parts = [grown, seeds, pairs.with_info(split=["train"] * len(pairs))]
        structures = concatenate([p.with_labels(None, None, None) for p in parts])
        with job.progress.phase("labelling", len(structures), "structure") as phase:
            labelled = teacher.evaluate(structures, progress=phase)
        side = np.array(labelled.labels("split"))
        train, valid = labelled[side == "train"], labelled[side == "valid"]
        write_frames(job.out / "train.xyz", train)
        write_frames(job.out / "valid.xyz", valid)
        write_frames(job.out / "synthetic.xyz", labelled)
        return {
            "structures": len(labelled),
            "train": len(train),
            "valid": len(valid),
            "dimers": len(pairs),
            "headline": f"{len(train)} structures to train on, {len(valid)} of unseen families to validate",
        }

    @staticmethod
    def _seeds(inputs: Paths) -> Any:
        from distill.structures.frames import concatenate
        from distill.structures.read import read_frames

        train, valid = read_frames(inputs["train"])[0], read_frames(inputs["valid"])[0]
        both = concatenate([train, valid])
        return both.with_info(
            split=["train"] * len(train) + ["valid"] * len(valid),
            tree=range(len(both)),
            generation=[0] * len(both),
            parent=[-1] * len(both),
        )
